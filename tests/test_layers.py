"""Imports only point down; what answers the command line imports nothing heavy; files stay short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from warm_runs import cold

ROOMS = (
    "run export answer evaluate judge report grid messages",
    "plan translate stages marks outcome evaluation.benchmarks module loggers tracking strategy zero",
    "checkpoint optimizer stage_plan reference checks objective throughput scores head step_sums progress",
    "evaluation model attention nano",
    "data.datamodule data.batch data.items data.prompt data.splits data.cldr data.instructions data.rows",
    "data.tables data run_folder config settings choices errors",
)
"""From top to bottom: a module imports only what comes after it."""
LAYERS = [name for room in ROOMS for name in room.split()]

LONGEST = 300
"""Lines of a file; lower it when you can."""

FILES = sorted((ROOT / "clo").rglob("*.py"))


def layer(module: str) -> int:
    """Place of a module in the list, by its longest listed prefix."""
    parts = module.removeprefix("clo.").split(".")
    names = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next(LAYERS.index(name) for name in names if name in LAYERS)


def imports(path: Path) -> Iterator[str]:
    """Every clo module that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if is_module(name) else str(node.module) for name in whole]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name for name in names if name.startswith("clo.") and name != "clo")


def is_module(name: str) -> bool:
    path = ROOT / Path(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    if module == "clo":
        assert not list(imports(path))
        return
    wrong = [name for name in imports(path) if layer(name) < layer(module)]
    assert not wrong, f"{module} imports {wrong}, which lie above it"


def test_no_file_is_long() -> None:
    long = {str(path): lines for path in FILES if (lines := len(path.read_text().splitlines())) > LONGEST}
    assert not long


HEAVY = (
    *("torch", "transformers", "pytorch_lightning", "peft", "pandas", "matplotlib", "datasets", "wandb", "babel"),
    "openai",
)


@pytest.mark.parametrize(
    "modules",
    [
        *("clo.run", "clo.grid", "clo.evaluate", "clo.report.__main__", "clo.judge.__main__"),
        "clo.checks, clo.data.items, clo.data.splits",
    ],
)
def test_the_command_line_is_light(modules: str, tmp_path: Path) -> None:
    code = f"import {modules}, sys; print(*(name for name in {HEAVY} if name in sys.modules))"
    ended = cold(["-c", code], tmp_path)
    assert (ended.code, ended.out.split()) == (0, []), ended.err


def test_reports_know_no_torch(tmp_path: Path) -> None:
    names = [f"clo.report.{path.stem}" for path in (ROOT / "clo" / "report").glob("*.py") if path.stem != "__init__"]
    code = f"import {', '.join(names)}, sys; print('torch' in sys.modules, 'transformers' in sys.modules)"
    ended = cold(["-c", code], tmp_path)
    assert ended.out.split() == ["False", "False"], ended.err
