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
from clo.study.slots import slots_of, visible_gpus


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
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    assert slots_of(asked, TrainerConfig(accelerator="gpu", devices=devices)) == slots


def test_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8))
    assert slots_of(None, TrainerConfig(threads=2)) == [None] * 4
    assert slots_of(3, TrainerConfig(threads=2)) == [None] * 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert not visible_gpus() and slots_of(None, TrainerConfig(accelerator="auto", threads=4)) == [None] * 2


def test_a_machine_without_the_vendor_s_tool_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert list(visible_gpus()) == []


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
        live = [c.gpus for c in cells if c.process is not None and c.process.is_alive()]
        assert self.gpus not in live
        used.append(self.gpus)
        start(self, ends)

    monkeypatch.setattr(Recorder, "start", watched)
    assert clo.study.grid._Grid(cells, ["0", "1"], print).work() == []
    assert len(used) == 5 and set(used) == {"0", "1"}
