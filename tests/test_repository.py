"""What a visitor meets first: CI runs the documented command, issue forms ask for what is needed, badges are true."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from packaging.specifiers import SpecifierSet

GITHUB = ROOT / ".github"
if not GITHUB.is_dir():
    pytest.skip("not a checkout of the repository", allow_module_level=True)
WORKFLOW = yaml.safe_load((GITHUB / "workflows" / "tests.yml").read_text(encoding="utf-8"))
(JOB,) = WORKFLOW["jobs"].values()
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FORMS = [GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml" for name in ("bug", "feature")]


def fields(path: Path) -> dict[str, dict[str, Any]]:
    """id -> field of an issue form, those that the reader fills in."""
    return {f["id"]: f for f in yaml.safe_load(path.read_text(encoding="utf-8"))["body"] if f["type"] != "markdown"}


def test_ci_runs_make_test_and_only_targets_that_exist() -> None:
    commands = [step["run"].strip() for step in JOB["steps"] if "run" in step]
    assert commands[-1] == "make test"
    targets = set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE))
    assert {command.removeprefix("make ") for command in commands} <= targets
    assert set(WORKFLOW[True]) == {"push", "pull_request"}  # YAML 1.1 reads the key "on" as true
    assert WORKFLOW["permissions"] == {"contents": "read"}


def test_ci_covers_the_oldest_python_and_installs_what_is_pinned() -> None:
    pythons = JOB["strategy"]["matrix"]["python"]
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert all(isinstance(python, str) and python in allowed for python in pythons), pythons  # 3.10 unquoted is 3.1
    assert f">={min(pythons, key=lambda p: int(p.split('.')[1]))}" == PROJECT["requires-python"]
    (setup,) = (step["with"] for step in JOB["steps"] if step.get("uses", "").startswith("actions/setup-python@"))
    assert setup["python-version"] == "${{ matrix.python }}" and setup["cache"] == "pip"
    assert all((ROOT / name).is_file() for name in setup["cache-dependency-path"].split())


@pytest.mark.parametrize("index", ["", "https://index.example/cpu"])
def test_make_takes_torch_from_the_index_that_is_named(index: str, tmp_path: Path) -> None:
    """Of the commands that ``make`` would run, torch's line alone names the index."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    command = ["make", "--no-print-directory", "-n", "setup", f"TORCH_INDEX={index}"]
    lines = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.splitlines()
    (torch,) = (line for line in lines if " torch " in line)
    assert torch.split().count("--index-url") == bool(index) and (f"--index-url {index} torch" in torch) == bool(index)
    assert torch.endswith("-c constraints.txt")
    assert not any("--index-url" in line for line in lines if line != torch)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_are_valid_and_ask_for_the_configuration(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    form = yaml.safe_load(text)
    assert form["name"] and form["description"]
    assert {field["type"] for field in form["body"]} <= {"markdown", "textarea", "input"}
    assert all(field["attributes"].get("label") for field in fields(path).values())
    labels = [field["attributes"]["label"] for field in fields(path).values()]
    assert len(labels) == len(set(labels)) and len(fields(path)) == len(form["body"]) - 1
    for asked in ("config.yaml", "`versions`", "results.json", "no keys"):
        assert asked in text, asked


def test_a_bug_needs_command_configuration_and_versions() -> None:
    asked = fields(FORMS[0])
    assert {name for name, field in asked.items() if field.get("validations", {}).get("required")} == {
        "happened", "command", "config", "versions"
    }  # fmt: skip
    (program,) = re.findall(r'python -c "([^"]+)"', asked["versions"]["attributes"]["description"])
    space: dict[str, Any] = {}
    exec(program.replace("print(versions())", "found = versions()"), space)  # what the form tells the reader to run
    assert {"python", "torch"} <= set(space["found"])


def test_issue_chooser_and_pull_request_template() -> None:
    chooser = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / "config.yml").read_text(encoding="utf-8"))
    assert set(chooser) <= {"blank_issues_enabled", "contact_links"}
    assert "make test" in (GITHUB / "pull_request_template.md").read_text(encoding="utf-8")
    assert "make test" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_badges_say_what_is_true() -> None:
    badges = re.findall(r"^\[!\[([^\]]+)\]\(([^)]+)\)\]\(([^)]+)\)$", (ROOT / "README.md").read_text("utf-8"), re.M)
    assert len(badges) == 2
    assert all((ROOT / target).is_file() for _, _, target in badges)
    (licence, python) = badges
    assert licence[0] == f"Licence: {PROJECT['license']}"
    assert f"licence-{PROJECT['license'].replace('-', '--')}-" in licence[1]
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert python[0] == f"Python {oldest} or newer" and f"%E2%89%A5%20{oldest}-" in python[1]
