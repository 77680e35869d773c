"""The house: imports point down, never in a circle; files are short; the command line is light."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT
from warm_runs import cold

FLOORS = (
    "commands",
    "study",
    "training",
    "translate judge report",
    "evaluation server",
    "square nano",
    "model data",
    "config storage",
    "errors",
)
"""From the roof to the ground: a room imports itself and rooms on lower floors, nothing else."""
FLOOR = {room: number for number, rooms in enumerate(reversed(FLOORS)) for room in rooms.split()}

LONGEST = 300
"""Lines of a file; lower it when you can."""

FILES = sorted(path for path in (ROOT / "clo").rglob("*.py"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    return module.split(".")[1]


def is_module(name: str) -> bool:
    path = ROOT / Path(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def imports(path: Path, everywhere: bool = True) -> Iterator[tuple[str, str]]:
    """(module, name) of every import from clo in a file; those for type checkers alone do not count.

    Args:
        path: the file.
        everywhere: also inside functions.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        node for test in ast.walk(tree) if isinstance(test, ast.If) and "TYPE_CHECKING" in ast.dump(test.test)
        for node in ast.walk(test)
    }  # fmt: skip
    nodes = list(ast.walk(tree)) if everywhere else tree.body
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node not in typing_only:
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole, "") if is_module(whole) else (str(node.module), alias.name)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def of_clo(path: Path, everywhere: bool = True) -> list[tuple[str, str]]:
    return [(module, name) for module, name in imports(path, everywhere) if module.startswith("clo.")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    module = module_of(path)
    if module in ("clo", "clo.__main__"):
        return
    room = room_of(module)
    others = {other for other, _ in of_clo(path) if room_of(other) != room}
    wrong = [other for other in others if FLOOR[room_of(other)] >= FLOOR[room]]
    assert not wrong, f"{module} imports {wrong}, which lie no lower"


def test_every_room_has_a_floor_and_says_what_it_is() -> None:
    rooms = {path.parent.name: path for path in (ROOT / "clo").glob("*/__init__.py")}
    assert {*rooms, "errors"} == set(FLOOR)
    for room, path in rooms.items():
        said = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split())
        assert all(word in said for word in ("Enters:", "Leaves:", "Never here:")), f"clo/{room}/__init__.py"


@pytest.mark.parametrize("room", sorted(FLOOR))
def test_no_circles_inside_a_room(room: str) -> None:
    """Also through functions: what is imported late to break a circle is one still."""
    inside = {}
    for path in FILES:
        module = module_of(path)
        if module.startswith("clo.") and room_of(module) == room:
            inside[module] = {other for other, _ in of_clo(path) if room_of(other) == room and other != module}
    try:
        TopologicalSorter(inside).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_private_names_of_others(path: Path) -> None:
    private = [f"{m}.{n}" for m, n in of_clo(path) if any(part.startswith("_") for part in f"{m}.{n}".split("."))]
    assert not [name for name in private if "__main__" not in name]


def test_no_file_is_long() -> None:
    long = {str(path): lines for path in FILES if (lines := len(path.read_text().splitlines())) > LONGEST}
    assert not long


MOST_PARAMETERS = 6


def test_no_function_takes_many_things() -> None:
    many = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                count = len(names) - (names[:1] in (["self"], ["cls"]))
                if count > MOST_PARAMETERS:
                    many.append(f"{path.relative_to(ROOT)}:{node.name} ({count})")
    assert not many


HEAVY = (
    *("torch", "transformers", "pytorch_lightning", "peft", "pandas", "matplotlib", "datasets", "wandb", "babel"),
    *("openai", "scipy", "jinja2"),
)
COMMANDS = [module_of(path) for path in sorted((ROOT / "clo" / "commands").glob("*.py"))]


@pytest.mark.parametrize("modules", [*COMMANDS, "clo.training.checks, clo.data.items, clo.data.splits"])
def test_the_command_line_is_light(modules: str, tmp_path: Path) -> None:
    code = f"import {modules}, sys; print(*(name for name in {HEAVY} if name in sys.modules))"
    ended = cold(["-c", code], tmp_path)
    assert (ended.code, ended.out.split()) == (0, []), ended.err


def test_reports_know_no_torch(tmp_path: Path) -> None:
    names = [module_of(path) for path in (ROOT / "clo" / "report").rglob("*.py")]
    code = f"import {', '.join(names)}, sys; print('torch' in sys.modules, 'transformers' in sys.modules)"
    ended = cold(["-c", code], tmp_path)
    assert ended.out.split() == ["False", "False"], ended.err
