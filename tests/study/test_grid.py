"""A grid of runs through the real command line, every cell in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import TEXTS
from warm_runs import ENVIRONMENT, TRAIN, Ended, WarmRuns, cold, tiny

from clo.config import TrainerConfig
from clo.config.parse import RunConfig
from clo.study.cell import Cell
from clo.study.slots import slots_of


def write_rows(path: Path, lang: str, count: int) -> None:
    lines = []
    for k in range(count):
        a, b, c, d = TEXTS[k % len(TEXTS)]
        for code, prompt, response in (("en", f"{a} {k}", b), (lang, f"{c} {k}", d)):
            lines.append(json.dumps({"id": str(k), "lang": code, "prompt": prompt, "response": response}))
    path.write_text("\n".join(lines), encoding="utf-8")


def statuses(place: Path) -> dict[str, dict[str, Any]]:
    """status.json of every run, by the name without its hash."""
    found = {}
    for path in place.glob("outputs/runs/*/status.json"):
        found[path.parent.name.rpartition("-")[0]] = json.loads(path.read_text())
    return found


FOUR = ["nano-clo-ko-12-s0", "nano-clo-ko-16-s0", "nano-clo-sw-12-s0", "nano-clo-sw-16-s0"]


@pytest.fixture(scope="module")
def two_rounds(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory, warm: WarmRuns) -> tuple[Path, list[Any]]:
    """The user's command with too few Korean rows, again with enough of them, and once more; then in warm processes."""
    place = tmp_path_factory.mktemp("grid")
    files = ["data=files", "data.train=rows_${lang.code}.jsonl", "data.held_out=4", "jobs=2"]
    grid = ["lang=ko,sw", "data_size=12,16"]
    command = [TRAIN, "-m", *(a for a in tiny(tiny_folder, place) if not a.startswith("data_size")), *files, *grid]
    write_rows(place / "rows_sw.jsonl", "sw", 26)
    write_rows(place / "rows_ko.jsonl", "ko", 22)
    rounds: list[Any] = [(cold(command, place, timeout=300), statuses(place))]
    write_rows(place / "rows_ko.jsonl", "ko", 26)
    for _ in range(2):
        rounds.append((warm.run(command[1:], place), statuses(place)))
    return place, rounds


def table_rows(ended: Ended) -> list[tuple[str, ...]]:
    """(lang, method, size, seed) of every row of the printed table."""
    lines = [line for line in ended.out.splitlines() if line.startswith("│")]
    return [tuple(cell.strip() for cell in line.split("│")[1:5]) for line in lines]


def test_a_failing_cell_is_named_at_once_and_the_others_go_on(two_rounds: tuple[Path, list[Any]]) -> None:
    place, [(ended, after), *_] = two_rounds
    assert ended.code == 1
    assert "4 cells, 0 done already, 2 at a time" in ended.out
    assert {name: status["state"] for name, status in after.items()} == {
        **dict.fromkeys(FOUR, "done"),
        "nano-clo-ko-16-s0": "failed",
    }
    reason = "data_size=16 is beyond the 14 training rows of data=files for ko; lower data_size or bring more rows"
    assert after["nano-clo-ko-16-s0"]["error"] == reason
    failed, done = ended.out.index("tried again nano-clo-ko-16-s0-"), ended.out.rindex("done nano-clo-sw-16-s0-")
    assert failed < ended.out.index(reason) < done
    assert ended.out.count("failed once, tried again nano-clo-ko-16-s0-") == 1
    assert ended.out.count("started nano-clo-ko-16-s0-") == 2
    first, *log_lines = ended.err.splitlines()
    assert first.startswith("failed: nano-clo-ko-16-s0-") and first.endswith(f": {reason}")
    assert log_lines and log_lines[-1] == f"  | error: {reason}"
    assert "Traceback" not in ended.out + ended.err
    (log,) = place.glob("outputs/runs/nano-clo-ko-16-s0-*/log.txt")
    assert f"error: {reason}" in log.read_text()


def test_every_cell_has_a_process_of_its_own(two_rounds: tuple[Path, list[Any]]) -> None:
    _, [(_, after), *_] = two_rounds
    assert sorted(after) == FOUR
    assert len({status["pid"] for status in after.values()}) == 4


def test_again_skips_what_is_done_and_retries_what_failed(two_rounds: tuple[Path, list[Any]]) -> None:
    _, [(_, first), (ended, second), (again, third)] = two_rounds
    assert ended.code == 0, ended.err
    assert "4 cells, 3 done already, 2 at a time" in ended.out
    assert {name for name in FOUR if second[name]["pid"] != first[name]["pid"]} == {"nano-clo-ko-16-s0"}
    assert all(status["state"] == "done" for status in second.values())
    assert again.code == 0 and "4 cells, 4 done already" in again.out
    assert third == second


def test_the_table_has_a_row_per_finished_cell(two_rounds: tuple[Path, list[Any]]) -> None:
    _, [(first, _), (second, _), (third, _)] = two_rounds
    four = [(lang, "clo", size, "0") for lang in ("ko", "sw") for size in ("12", "16")]
    assert table_rows(first) == [row for row in four if row != ("ko", "clo", "16", "0")]
    assert table_rows(second) == table_rows(third) == four
    assert "report: clo report study=runs output_dir=" in second.out


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("end", "moment"), [(signal.SIGINT, "metrics.jsonl"), (signal.SIGTERM, "status.json")], ids=["training", "loading"]
)
def test_a_stopped_parent_leaves_no_orphans(
    end: signal.Signals, moment: str, tiny_folder: Path, tmp_path: Path
) -> None:
    long = ["method.epochs=100000", "seed=0,1,2", "jobs=2"]
    command = [sys.executable, TRAIN, "-m", *tiny(tiny_folder, tmp_path), *long]
    how: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": tmp_path, "env": ENVIRONMENT}
    # A shell that runs the tests in the background has Ctrl-C ignored, and children inherit that.
    how["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, start_new_session=True, **how) as parent:
        try:
            deadline = time.monotonic() + 90
            while sum(b"queued" not in path.read_bytes() for path in tmp_path.glob(f"outputs/runs/*/{moment}")) < 2:
                assert parent.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            parent.send_signal(end)
            _, err = parent.communicate(timeout=30)
        finally:
            if parent.poll() is None:
                os.killpg(parent.pid, signal.SIGKILL)
    assert parent.returncode == 130
    assert err.decode() == "stopped; the same command goes on from the last checkpoint\n"
    found = statuses(tmp_path)
    assert sorted(status["state"] for status in found.values()) == ["failed", "failed", "queued"]
    found = {name: status for name, status in found.items() if status["state"] != "queued"}
    assert {status["error"] for status in found.values()} == {"stopped"}
    assert not [status["pid"] for status in found.values() if alive(status["pid"])]


def test_the_same_run_twice_in_a_grid_is_one(tiny_folder: Path, tmp_path: Path, warm: WarmRuns) -> None:
    words = ["-m", *tiny(tiny_folder, tmp_path), "seed=0,0,1"]
    said = "3 cells are 2 different runs; none is counted or run twice\n"
    ended = warm.run([*words, "plan=true"], tmp_path)
    assert ended.code == 0 and ended.out.startswith(said), ended.err
    assert ended.out.count("nano-clo-sw-16-s0-") == 1 and ended.out.count("nano-clo-sw-16-s1-") == 1
    ended = warm.run(words, tmp_path)
    assert ended.code == 0 and ended.out.startswith(f"{said}2 cells, 0 done already"), ended.err
    assert ended.out.count("started ") == 2


def test_a_killed_parent_takes_its_cells_along(tiny_folder: Path, tmp_path: Path) -> None:
    """Nothing is left that would hold the folders of the next start."""
    command = [sys.executable, TRAIN, "-m", *tiny(tiny_folder, tmp_path), "method.epochs=100000", "seed=0,1", "jobs=2"]
    how: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": ENVIRONMENT}
    parent = subprocess.Popen(command, cwd=tmp_path, **how)
    try:
        deadline = time.monotonic() + 120
        while sum(path.stat().st_size > 0 for path in tmp_path.glob("outputs/runs/*/metrics.jsonl")) < 2:
            assert parent.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        parent.kill()
        parent.wait()
    pids = [status["pid"] for status in statuses_of(tmp_path)]
    deadline = time.monotonic() + 25
    while any(map(alive, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert {status["error"] for status in statuses_of(tmp_path)} == {"stopped"}


def statuses_of(place: Path) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in place.glob("outputs/runs/*/status.json")]
    assert len(found) == 2
    return found


def test_a_stop_in_the_midst_of_an_import_is_a_stop() -> None:
    """Python 3.11 wraps whatever comes up while a class is made."""
    from clo.errors import was_stopped

    class Interrupts:
        def __set_name__(self, *_: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(BaseException) as caught:
        type("Row", (), {"gold": Interrupts()})
    assert was_stopped(caught.value) and was_stopped(SystemExit(1))
    assert not was_stopped(ValueError("x")) and not was_stopped(None)


def test_cells_at_a_time() -> None:
    cores = len(os.sched_getaffinity(0))
    assert len(slots_of(None, TrainerConfig())) == cores
    assert len(slots_of(None, TrainerConfig(threads=2))) == max(1, cores // 2)
    assert len(slots_of(None, TrainerConfig(threads=10_000))) == 1
    assert len(slots_of(7, TrainerConfig())) == min(7, cores)


def test_the_reason_of_a_cell_that_could_say_nothing(tmp_path: Path) -> None:
    cell = Cell("x", tmp_path, [], RunConfig())
    assert cell.status() == {}
    (tmp_path / "log.txt").write_text("warning\nerror: out of paper\n")
    assert cell.reason() == "out of paper (exit code None)"
    (tmp_path / "status.json").write_text('{"state": "running"}')
    assert cell.reason() == "out of paper (exit code None)"
    (tmp_path / "status.json").write_text('{"state": "failed", "error": "no ink"}')
    assert cell.reason() == "no ink"
    (tmp_path / "status.json").write_text("{torn")
    assert cell.status() == {}


def test_finished_cells_of_other_rows_say_so(tiny_folder: Path, tmp_path: Path, warm: WarmRuns) -> None:
    """The same command after the file has changed shows the old results, and tells of what they are."""
    write_rows(tmp_path / "rows.jsonl", "ko", 26)
    own = ["data=files", "data.train=rows.jsonl", "data.held_out=4", "lang=ko", "seed=0,1", "method.steps=1"]
    words = ["-m", *tiny(tiny_folder, tmp_path, *own)]
    first, again = warm.run(words, tmp_path), warm.run(words, tmp_path)
    assert first.code == again.code == 0 and "warning" not in first.err + again.err
    text = (tmp_path / "rows.jsonl").read_text(encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text(text.replace('"response": "', '"response": "X '), encoding="utf-8")
    changed = warm.run(words, tmp_path)
    assert changed.code == 0 and changed.err.count("that folder keeps the old result") == 2
    assert "warning: data.train changed after" in changed.err
