"""What a grid shows while it works."""

from __future__ import annotations

import io
import time
from functools import cache
from pathlib import Path

import pytest
from composed import run_of
from rich.console import Console

import clo.study.board
from clo.storage.files import write_json
from clo.study.board import Board, told
from clo.study.cell import Cell

default = cache(run_of)


def seen(board: Board) -> str:
    screen = io.StringIO()
    Console(file=screen, width=150).print(board._table())
    return screen.getvalue()


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    clock = [1000.0]
    monkeypatch.setattr("clo.study.board.time.monotonic", lambda: clock[0])
    found = Board([Cell(name, tmp_path / name, [], default()) for name in ("a", "b", "c", "d")], slots=2)
    found.clock = clock  # type: ignore[attr-defined]
    return found


def tick(board: Board, seconds: float) -> None:
    board.clock[0] += seconds  # type: ignore[attr-defined]


def at_step(cell: Cell, step: int) -> None:
    write_json(cell.path / "status.json", {"state": "running", "stage": "train clo", "step": step, "total_steps": 10})


def test_the_table_has_states_stages_steps_and_time_left(board: Board) -> None:
    a, b, c, d = board.cells.values()
    board.started(a)
    c.elsewhere = "process 7 on far"
    board.passed(c)
    at_step(a, 2)
    assert "1 running, 1 elsewhere, 2 queued" in seen(board)
    tick(board, 30)
    at_step(a, 5)
    (line,) = [line for line in seen(board).splitlines() if line.startswith("a ")]
    assert line.split() == ["a", "running", "train", "clo", "5", "of", "10", "50", "s"]
    assert "at process 7 on far" in seen(board)
    board.started(b)
    board.again(b)
    d.elsewhere = None
    board.failed(d)
    assert "1 running, 1 elsewhere, 1 again, 1 failed" in seen(board)


def test_time_left_goes_by_the_cells_that_are_done(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, c, _ = board.cells.values()
    assert board.left() is None
    board.started(a)
    tick(board, 100)
    board.finished(a)
    assert board.left() == 150  # three more of 100 s, two at a time
    board.started(b)
    tick(board, 40)
    assert board.left() == 130
    board.passed(c)
    assert board.left() == pytest.approx(260 / 3)
    tick(board, 200)
    assert board.left() == pytest.approx(200 / 3)  # one that takes longer than others is due any moment
    assert "done a, 3 to go, about 2 min left" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "words"), [(5.4, "5 s"), (89, "89 s"), (91, "2 min"), (5399, "1 h 30 min"), (7260, "2 h 01 min")]
)
def test_durations(seconds: float, words: str) -> None:
    assert told(seconds) == words


def test_a_terminal_gets_the_table(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clo.study.board, "PAUSE", 0.0)
    monkeypatch.setenv("FORCE_COLOR", "1")
    screen = io.StringIO()
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    shown = Board(list(board.cells.values()), slots=1)
    shown.console.file = screen
    with shown:
        shown.started(next(iter(shown.cells.values())))
        shown.moved()
    assert "1 running, 3 queued" in screen.getvalue()
    assert time.monotonic() == 1000.0
