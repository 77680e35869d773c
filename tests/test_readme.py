"""Every command of the README does what it says, and every list in it is complete."""

from __future__ import annotations

import re
import shlex
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT
from warm_runs import WarmRuns, cold

README = ROOT / "README.md"
if not README.is_file():
    pytest.skip("there is no README.md", allow_module_level=True)
TEXT = README.read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@dataclass(frozen=True)
class Command:
    """One command line of a fenced block."""

    line: str
    reason: str
    """Why it is not run, from a comment ``<!-- not run: … -->`` before the block; empty where there is none."""


def commands() -> list[Command]:
    found = []
    blocks = re.finditer(r"(?:<!-- not run: (.*?) -->\n)?```bash\n(.*?)```", TEXT, re.DOTALL)
    for block in blocks:
        lines = block[2].replace("\\\n", " ").splitlines()
        found += [Command(line.strip(), block[1] or "") for line in lines if line.strip() and line.strip()[0] != "#"]
    return found


COMMANDS = commands()


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 5
    assert len(re.findall(r"^```bash", TEXT, re.MULTILINE)) >= 3
    assert any("-m lang=ko,sw data_size=3200,6400" in command.line for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.line)
def test_command(command: Command, warm: WarmRuns, tmp_path: Path) -> None:
    words = shlex.split(command.line, comments=True)
    if words[0] == "make":
        # The targets themselves are what runs this test, or take minutes.
        assert set(words[1:]) <= TARGETS and words[1:]
    elif words[:2] == ["python", "train.py"]:
        runs(words[2:], warm, tmp_path)
    elif words[:2] == ["python", "-m"]:
        explains(words[2], words[3:], tmp_path)
    else:
        assert command.reason, f"no test knows how to check {command.line!r}; mark its block <!-- not run: reason -->"


def runs(arguments: list[str], warm: WarmRuns, place: Path) -> None:
    """A single run is run, at a tiny size; a grid is composed and checked to its last cell, up to the first start."""
    if "data=files" in arguments:
        ended = warm.run([*arguments, "--cfg", "job"], place)
        assert ended.code == 0, ended.err
    elif "-m" in arguments or any(a.startswith("study=") for a in arguments):
        ended = warm.run(arguments, place, kill={"at": "clo.run:run_grid", "call": 1})
        assert ended.code == -signal.SIGKILL, ended.err
    else:
        tiny = ["evaluation.rows=4", "evaluation.val_items=4", "evaluation.max_new_tokens=4"]
        arguments = [re.sub("^data_size=.*", "data_size=16", a) for a in arguments]
        ended = warm.run([*arguments, *tiny], place)
        assert ended.code == 0, ended.err
        assert list(place.glob("outputs/runs/*/results.json"))


def explains(module: str, arguments: list[str], place: Path) -> None:
    """The module exists, and knows these arguments."""
    help_text = cold(["-m", module, "--help"], place)
    assert help_text.code == 0, help_text.err
    for argument in arguments:
        assert argument.partition("=")[0] in help_text.out, f"{module} --help does not mention {argument}"


GROUPS = [line for line in TEXT.splitlines() if re.match(r"^\| `[a-z]+` \|.*`", line)]


def test_the_table_of_groups_is_complete() -> None:
    tables = {}
    for line in GROUPS:
        cells = line.split("|")
        tables[cells[1].strip(" `")] = set(re.findall(r"`([a-z0-9_]+)`", cells[2]))
    for group in ("model", "lang", "method", "tuning", "data", "trainer", "logger", "study"):
        options = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}
        assert tables.get(group) == options, f"README's row of {group}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/results.md"])
def test_links_and_images_exist(name: str) -> None:
    path = ROOT / name
    for target in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


def test_files_and_targets_that_the_prose_names_exist() -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"`make ([a-z-]+)`", text):
            assert target in TARGETS, f"{name}: make {target}"
        for path in re.findall(r"`((?:clo|tests|conf|sweeps|docs)/[\w/.-]+)`", text):
            assert (ROOT / path).exists(), f"{name}: {path}"


def test_the_layout_names_what_there_is() -> None:
    block = re.search(r"## Layout\n\n```text\n(.*?)```", TEXT, re.DOTALL)
    assert block is not None
    for line in block[1].splitlines():
        name = line.strip().split()[0]
        below = ROOT / "clo" if line.startswith("  ") else ROOT
        assert (below / name).exists(), name
