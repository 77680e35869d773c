"""Cells side by side: on cores, or each on GPUs of its own."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest
from composed import run_of

import clo.study.grid
import clo.study.slots
from clo.config import TrainerConfig
from clo.study.cell import Cell, Ends
from clo.study.slots import Places, slots_of, visible_gpus


@pytest.mark.parametrize(
    ("gpus", "devices", "asked", "slots"),
    [
        ("0,1,2,3", 1, None, ["0", "1", "2", "3"]),
        ("0,1,2,3", 2, None, ["0,1", "2,3"]),
        ("5,7,9", 2, None, ["5,7"]),
        ("0,1", 1, 1, ["0"]),
        ("0,1", 1, 3, ["0", "1", "0"]),
        ("", 1, None, [None]),
        ("0", 2, None, [None]),
        ("GPU-8932f937", 1, None, ["GPU-8932f937"]),
    ],
)
def test_gpus(
    gpus: str, devices: int, asked: int | None, slots: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    assert slots_of(asked, TrainerConfig(accelerator="gpu", devices=devices)) == slots


def test_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8))
    assert slots_of(None, TrainerConfig(threads=2)) == [None] * 4
    assert slots_of(3, TrainerConfig(threads=2)) == [None] * 3
    assert slots_of(7, TrainerConfig(threads=2)) == [None] * 4
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert not visible_gpus() and slots_of(None, TrainerConfig(accelerator="auto", threads=4)) == [None] * 2


def test_a_machine_without_the_vendor_s_tool_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert list(visible_gpus()) == []


def gpus_of(cell: Cell) -> str | None:
    return None if cell.place is None else cell.place.gpus


class Recorder(Cell):
    """A cell whose process does nothing."""

    def start(self, ends: Ends) -> None:
        """Sleep a little."""
        self.process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0.3,))
        self.process.start()


def test_no_two_cells_at_a_time_share_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, used = run_of(), list[str | None]()
    cells = [Recorder(str(k), tmp_path / str(k), [], run) for k in range(5)]
    start = Recorder.start

    def watched(self: Recorder, ends: Ends) -> None:
        live = [gpus_of(c) for c in cells if c.process is not None and c.process.is_alive()]
        assert gpus_of(self) not in live
        used.append(gpus_of(self))
        start(self, ends)

    monkeypatch.setattr(Recorder, "start", watched)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    trainer = TrainerConfig(accelerator="gpu", threads=8)
    assert clo.study.grid._Grid(cells, Places(["0", "1"], trainer), print).work() == []
    assert len(used) == 5 and set(used) == {"0", "1"}


def test_grids_of_one_machine_share_its_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(4))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    two = TrainerConfig(threads=2)
    first, second = Places([None, None], two), Places([None, None], two)
    mine = [first.take(), first.take()]
    assert all(mine) and first.take() is None and second.take() is None
    assert mine[0] is not None
    first.give_back(mine[0])
    theirs = second.take()
    assert theirs is not None and first.take() is None
    assert len(theirs.claims) == 2


def test_grids_of_one_machine_share_its_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    eight = TrainerConfig(accelerator="gpu", threads=8)
    first, second = Places(["0", "1"], eight), Places(["0", "1"], eight)
    mine = first.take()
    assert mine is not None and (mine.gpus, mine.threads) == ("0", 4)
    theirs = second.take()
    assert theirs is not None and theirs.gpus == "1"
    assert first.take() is None
    both = Places(["0", "0"], eight)  # jobs=2 on one: a share that nobody has
    shared = both.take()
    assert shared is None  # its cores are taken


def test_a_machine_that_cannot_tell_others_divides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "file"))
    places = Places([None, None], TrainerConfig())
    assert places.take() and places.take() and places.take() is None
