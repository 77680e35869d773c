"""Every command of the README does what it says, and every list in it is complete."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT
from warm_runs import WarmRuns

README = ROOT / "README.md"
if not README.is_file():
    pytest.skip("there is no README.md", allow_module_level=True)
TEXT = README.read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


BLOCKS = re.findall(r"^```bash\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
COMMANDS = [
    line.strip()
    for block in BLOCKS
    if "my_rows" not in block  # test_readme_rows.py runs it as it stands
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip(" #") and line[0] != "#"
]
SMALL = ["evaluation.rows=6", "evaluation.val_items=4", "evaluation.max_new_tokens=4"]


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 8 and len(BLOCKS) >= 4
    assert any("-m lang=ko,sw data_size=3200,6400" in command for command in COMMANDS)


def test_every_make_target_exists() -> None:
    """The targets themselves are what runs this test, or take minutes; CI runs ``make test``."""
    asked = [word for command in COMMANDS if command.startswith("make ") for word in shlex.split(command)[1:]]
    assert asked and set(asked) <= TARGETS


def test_every_python_command_runs(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    """In the README's order, in one folder, with fewer and shorter items; a model from the hub is a tiny one here."""
    rows_of_the_readme(tmp_path / "rows_sw.jsonl")
    done = 0
    for command in COMMANDS:
        words = shlex.split(command, comments=True)
        if words[0] == "make":
            continue
        if words[:2] == ["python", "train.py"]:
            ended = warm.run(small(words[2:], tiny_folder), tmp_path)
        elif words[:2] in (["clo", "train"], ["clo", "plan"]):
            ended = warm.run(small(words[2:], tiny_folder), tmp_path, command=words[1])
        else:
            assert words[0] == "clo", command
            runs = [str(path.parent) for path in sorted(tmp_path.glob("outputs/runs/*-sw-*/results.json"))]
            named = [w.replace("outputs/runs/<run>", runs[0]).replace("outputs/runs/<other>", runs[-1]) for w in words]
            assert not any("<" in word for word in named), command
            ended = warm.run(named[2:], tmp_path, command=words[1])
        assert ended.code == 0, f"{command}\n{ended.err}"
        done += 1
    assert done >= 6
    assert (tmp_path / "outputs" / "paper_nano" / "report").is_dir()
    assert len(list(tmp_path.glob("outputs/runs/*/results.json"))) >= 5


def small(arguments: list[str], tiny_folder: Path) -> list[str]:
    """The same command over items that take seconds; where it names a hub's model or a GPU, a tiny model on a CPU."""
    sizes = {"data_size=3200,6400": "data_size=16,24"}
    words = [sizes.get(word, re.sub("^data_size=[0-9]+$", "data_size=16", word)) for word in arguments]
    if any(word.startswith("study=") for word in words):
        words += ["method=sft,clo", "data_size=16", "seed=0"]
    if not any(word.startswith("model=") for word in words):
        words.append("model.recipe.steps=4")
    if "model=llama3_8b" in words:
        words += [f"model.path={tiny_folder}", "model.dtype=float32", "model.max_length=200"]
        words += ["data.held_out=4"] if "data=files" in words else []
        words += ["trainer.accelerator=cpu", "trainer.precision=32-true", "batch_size=8"]
    return [*words, *SMALL]


def rows_of_the_readme(path: Path) -> None:
    """The README's two lines, as 30 examples."""
    block = re.search(r"```json\n(.*?)```", TEXT, re.DOTALL)
    assert block is not None
    lines = [json.loads(line) for line in block[1].splitlines()]
    assert [line["lang"] for line in lines] == ["en", "sw"]
    many = [{**line, "id": str(k), "prompt": f"{line['prompt']} {k}"} for k in range(30) for line in lines]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in many), encoding="utf-8")


GROUPS = [line for line in TEXT.splitlines() if re.match(r"^\| `[a-z]+` \|.*`", line)]


def test_the_table_of_groups_is_complete() -> None:
    tables = {}
    for line in GROUPS:
        cells = line.split("|")
        tables[cells[1].strip(" `")] = set(re.findall(r"`([a-z0-9_]+)`", cells[2]))
    for group in ("model", "lang", "method", "tuning", "data", "trainer", "logger", "task", "study", "scale", "preset"):
        options = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}
        assert tables.get(group) == options, f"README's row of {group}"


PAGES = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *PAGES])
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
