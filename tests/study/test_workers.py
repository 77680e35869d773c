"""Several grids over one folder, of this machine or others: every cell is run once, and none is waited for in vain."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from composed import run_of

import clo.study.cell
import clo.study.grid
from clo.config.parse import RunConfig
from clo.errors import UserError
from clo.storage.files import write_json
from clo.storage.run_folder import RunFolder
from clo.study.cell import Cell
from clo.study.grid import run_grid
from clo.study.known_grid import KnownGrid, place_of, recall, remember, seen

default = cache(run_of)
FORK = multiprocessing.get_context("fork")


def ends(work: Callable[[], object]) -> None:
    try:
        work()
    except UserError as error:
        os.write(2, f"error: {error}\n".encode())  # a cell has another stderr than its test
        sys.exit(1)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where cells that train nothing run: each leaves a line in ``begun``, and fails if its folder says so."""

    def run_cell(run: RunConfig) -> None:
        folder = RunFolder(tmp_path / str(run.seed))
        folder.lock()
        if folder.state() == "done":
            return
        folder.status(now=True, state="running", stage="train", step=1, total_steps=2)
        with (tmp_path / "begun").open("a") as file:
            file.write(f"{run.seed} {os.getpid()}\n")
        time.sleep(0.1)
        if (folder.path / "broken").exists():
            os.write(1, b"a line before the end\n")
            folder.status(now=True, state="failed", error="no ink")
            raise UserError("no ink")
        write_json(folder.path / "results.json", {})
        folder.status(now=True, state="done", stage="done")
        folder.release()

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "machine"))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(64))
    monkeypatch.setattr(clo.study.cell, "CONTEXT", "fork")
    monkeypatch.setattr(clo.study.cell, "run_cell", run_cell)
    monkeypatch.setattr(clo.study.grid, "print_table", lambda paths: print("table of", len(paths)))
    monkeypatch.setattr(clo.study.grid, "LOOK", 0.1)
    return tmp_path


def cells_of(place: Path, count: int, retries: int = 1) -> list[Cell]:
    run = replace(default(), jobs=2, retries=retries)
    return [Cell(str(seed), place / str(seed), [], replace(run, seed=seed)) for seed in range(count)]


def begun(place: Path) -> list[str]:
    """The cells that were begun, by seed."""
    return sorted(line.split()[0] for line in (place / "begun").read_text().splitlines())


def test_three_workers_divide_the_cells(place: Path) -> None:
    workers = [FORK.Process(target=lambda: sys.exit(not run_grid(cells_of(place, 8), ends))) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert begun(place) == [str(seed) for seed in range(8)]


def test_a_killed_worker_s_cells_are_gone_on_with(place: Path) -> None:
    first = FORK.Process(target=lambda: run_grid(cells_of(place, 6), ends))
    first.start()
    while not (place / "begun").exists():
        time.sleep(0.01)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    assert run_grid(cells_of(place, 6), ends)
    first.join()
    assert sorted(set(begun(place))) == [str(seed) for seed in range(6)]
    assert all(RunFolder(place / str(seed)).state() == "done" for seed in range(6))


def test_a_failing_cell_is_tried_again_and_told_with_its_log(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (place / "1").mkdir()
    (place / "1" / "broken").write_text("")
    assert not run_grid(cells_of(place, 3, retries=2), ends)
    assert begun(place) == ["0", "1", "1", "1", "2"]
    out, err = capfd.readouterr()
    assert "3 cells, 0 done already, 2 at a time" in out and "table of 2" in out
    assert out.count("failed once, tried again 1") == 2 and "to go, about" in out
    assert err == "failed: 1: no ink\n" + "  | a line before the end\n  | error: no ink\n" * 3
    (place / "1" / "broken").unlink()
    assert run_grid(cells_of(place, 3), ends)
    assert begun(place) == ["0", "1", "1", "1", "1", "2"]


def held_elsewhere(place: Path, age: float) -> None:
    place.mkdir(exist_ok=True)
    record = place / ".lock.3"
    record.write_text(json.dumps({"machine": "other", "host": "far", "pid": 5, "started": 1}))
    os.utime(record, (time.time() - age, time.time() - age))


def test_a_cell_of_another_machine_is_passed_over_until_it_is_silent(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    held_elsewhere(place / "0", 0)
    worker = FORK.Process(target=lambda: sys.exit(not run_grid(cells_of(place, 3), ends)))
    worker.start()
    while not all(RunFolder(place / name).state() == "done" for name in ("1", "2")):
        time.sleep(0.01)
    assert begun(place) == ["1", "2"] and worker.is_alive()
    held_elsewhere(place / "0", 1000)
    worker.join(60)
    assert worker.exitcode == 0 and begun(place) == ["0", "1", "2"]
    assert "passed over 0: process 5 on far works on it" in capfd.readouterr().out


def test_what_another_worker_finishes_or_fails_at_is_not_done_again(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("0", "1"):
        held_elsewhere(place / name, 0)
    worker = FORK.Process(target=lambda: sys.exit(not run_grid(cells_of(place, 3, retries=0), ends)))
    worker.start()
    while RunFolder(place / "2").state() != "done":
        time.sleep(0.01)
    write_json(place / "0" / "results.json", {})
    write_json(place / "0" / "status.json", {"state": "done"})
    write_json(place / "1" / "status.json", {"state": "failed", "error": "no paper there"})
    for name in ("0", "1"):
        (place / name / ".lock.3").write_text('{"free": 3}')
    worker.join(60)
    out, err = capfd.readouterr()
    assert worker.exitcode == 1 and begun(place) == ["2"]
    assert "done 0 by process 5 on far" in out and err.startswith("failed: 1: no paper there\n")


def test_queued_cells_say_so_on_disk(place: Path) -> None:
    cells = cells_of(place, 3)
    held_elsewhere(place / "0", 0)
    RunFolder(place / "0").queue()
    assert RunFolder(place / "0").state() == "queued"
    write_json(place / "0" / "status.json", {"state": "failed"})
    RunFolder(place / "0").queue()  # where somebody has been
    assert RunFolder(place / "0").state() == "failed"
    assert cells[1].state() == "new"


def test_a_finished_grid_is_known_by_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own" / "study"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("seed: 1\n")
    words = ["-m", "--config-dir", str(tmp_path / "own"), "seed=0,1", "cache_dir=kept"]
    write_json(tmp_path / "run" / "results.json", {})
    write_json(tmp_path / "run" / "status.json", {"state": "done"})
    rows = tmp_path / "rows.csv"
    rows.write_text("id,prompt\n")
    known = KnownGrid(["run"], "runs", "outputs", {str(rows): seen(rows)})
    place = place_of(words)
    assert recall(place) is None
    remember(place, words, known)
    assert recall(place_of(words)) == known and recall(place_of([*words, "jobs=1"])) is None
    (own / "mine.yaml").write_text("seed: 2\n")
    assert recall(place_of(words)) is None  # it may mean other cells now
    (own / "mine.yaml").write_text("seed: 1\n")
    write_json(tmp_path / "run" / "status.json", {"state": "running"})
    assert recall(place_of(words)) is None
    write_json(tmp_path / "run" / "status.json", {"state": "done"})
    assert recall(place_of(words)) == known
    rows.write_text("id,prompt\n1,x\n")
    assert recall(place_of(words)) is None  # the runs are of other rows: composed, each cell says so
    rows.unlink()
    known = KnownGrid(["run"], "runs", "outputs", {})
    for more in ("hydra/launcher=submitit_local", "hydra.searchpath=[file://x]", "--cfg", "seed=${oc.env:X}"):
        assert place_of([*words, more]) is None
    (own / "mine.yaml").write_text("seed: ${oc.env:SEED}\n")
    assert place_of(words) is None and recall(None) is None


def test_a_grid_is_not_known_by_what_changed_while_it_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells are those of the configuration and of the files that the command began with."""
    monkeypatch.chdir(tmp_path)
    own, rows = tmp_path / "own", tmp_path / "rows.csv"
    own.mkdir()
    words = ["-m", "--config-dir", str(own), "seed=0,1", "cache_dir=kept"]
    write_json(tmp_path / "run" / "status.json", {"state": "done"})
    for changed, text in ((own / "mine.yaml", "seed: 2\n"), (rows, "id,prompt\n1,x\n")):
        (own / "mine.yaml").write_text("seed: 1\n")
        rows.write_text("id,prompt\n")
        place, known = place_of(words), KnownGrid(["run"], "runs", "outputs", {str(rows): seen(rows)})
        changed.write_text(text)
        remember(place, words, known)
        assert not list((tmp_path / "kept").rglob("*.json"))
