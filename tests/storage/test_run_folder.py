from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from warm_runs import ENVIRONMENT

from clo.errors import UserError
from clo.storage.files import whole_folder, write_json, write_text
from clo.storage.jsonl import write_lines
from clo.storage.run_folder import RunFolder


def test_states(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "a" / "run")
    assert folder.state() == "new"
    folder.acquire("x: 1\n")
    assert folder.state() == "new"
    folder.status(now=True, state="done")
    assert RunFolder(folder.path).state() == "running"  # nothing is done without its results
    write_json(folder.path / "results.json", {})
    for state in ("running", "failed", "done"):
        folder.status(now=True, state=state)
        assert RunFolder(folder.path).state() == state
    (folder.path / "status.json").write_text('{"stage": "cut of')
    assert folder.state() == "running"  # not done: the run is gone through again
    (tmp_path / "file").write_text("")
    assert RunFolder(tmp_path / "file" / "x").state() == "new"


def test_acquire_writes_the_configuration_and_the_owner(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.acquire("x: 1\n")
    assert (folder.path / "config.yaml").read_text() == "x: 1\n"
    assert folder.holder() == f"process {os.getpid()}"
    folder.release()
    assert folder.holder() is None and sorted(path.name for path in folder.path.iterdir()) == [".lock", "config.yaml"]


def test_a_second_owner_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    first.acquire("first")
    with pytest.raises(UserError, match=rf"is in use by process {os.getpid()}; wait or stop it"):
        second.acquire("second")
    assert (first.path / "config.yaml").read_text() == "first"
    first.release()
    second.acquire("second")
    assert (first.path / "config.yaml").read_text() == "second"


def test_a_dead_owner_does_not_lock(tmp_path: Path) -> None:
    code = "import os, sys; from clo.storage.run_folder import RunFolder; f = RunFolder(sys.argv[1]); "
    code = "from pathlib import Path; " + code.replace("sys.argv[1]", "Path(sys.argv[1])")
    code += "f.acquire('dead'); os.kill(os.getpid(), 9)"
    dead = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], env=ENVIRONMENT)
    assert dead.returncode == -9 and (tmp_path / "run" / "config.yaml").read_text() == "dead"
    RunFolder(tmp_path / "run").acquire("alive")
    assert (tmp_path / "run" / "config.yaml").read_text() == "alive"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write the run folder .*file/run \(Not a directory\); set output_dir"):
        RunFolder(tmp_path / "file" / "run").acquire("")


def test_other_ranks_write_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", main=False)
    folder.acquire("x")
    folder.status(now=True, state="running")
    assert not folder.path.exists()


def test_status_is_merged_and_throttled(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.status(now=True, state="running", stage="clo", step=0)
    folder.status(step=1)  # within a second of the last write
    assert json.loads((tmp_path / "status.json").read_text())["step"] == 0
    folder.status(now=True, total_steps=5)
    found = json.loads((tmp_path / "status.json").read_text())
    assert found == {"pid": os.getpid(), "state": "running", "stage": "clo", "step": 1, "total_steps": 5}


def test_files_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"name": "Ìlú 서울", "value": [1, 2.5, None]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "Ìlú 서울", "value": [1, 2.5, None]}
    assert "서울" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"value": float("nan")})
    write_lines(tmp_path / "b.jsonl", [{"a": 1}, {"b": "c\nd"}])
    assert (tmp_path / "b.jsonl").read_text().splitlines() == ['{"a": 1}', '{"b": "c\\nd"}']

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*no space"):
        write_text(path, "half")
    assert json.loads(path.read_text(encoding="utf-8"))["value"] == [1, 2.5, None]


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with whole_folder(path) as inside:
        (inside / "a").write_text("1")
        assert not path.exists()
    assert (path / "a").read_text() == "1"
    with pytest.raises(KeyError), whole_folder(path) as inside:
        (inside / "a").write_text("2")
        raise KeyError
    assert (path / "a").read_text() == "1"  # the old one stays
    with whole_folder(path) as inside:
        assert not list(inside.iterdir())  # nothing of the broken attempt
        (inside / "b").write_text("3")
    assert [child.name for child in tmp_path.iterdir()] == ["model"]
    assert [child.name for child in path.iterdir()] == ["b"]


SPOILT = ["", "{", "[]", "[1]", "null", "0", '"done"', '{"state": ["done"]}', '{"state": 1}', "[" * 100_000, "9" * 5000]


@pytest.mark.parametrize("text", SPOILT, ids=[text[:20] for text in SPOILT])
def test_a_spoilt_status_is_a_run_that_is_not_finished(text: str, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(text)
    (tmp_path / "results.json").write_text("{}")
    assert RunFolder(tmp_path).state() == "running"


def test_a_state_is_always_told(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_bytes(b"\xff\xfe{}")
    assert RunFolder(tmp_path).state() == "running"
    (tmp_path / "status.json").unlink()
    (tmp_path / "status.json").mkdir()
    assert RunFolder(tmp_path).state() == "running"
    assert RunFolder(tmp_path / ("x" * 300)).state() == "running"  # the name is too long: taking it says so


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file or directory"),
        ('{"lang": "sw", "meth', "Unterminated string"),
        ("[1]", "it holds no JSON object"),
        ("{}", "it lacks lang"),
        ('{"lang": "sw", "method": "clo", "data_size": 1, "seed": 0, "start": {}, "scores": []}', "it lacks scores"),
        ("[" * 100_000, "it is nested too deeply"),
    ],
)
def test_spoilt_results_are_told(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(UserError) as caught:
        RunFolder(tmp_path).results()
    message = str(caught.value)
    assert message.startswith(f"cannot read {tmp_path / 'results.json'} (") and said in message
    assert message.endswith("bring it back, or delete the run's status.json: the run's command then makes it again")


def test_what_a_library_in_rust_says_of_a_full_disk(tmp_path: Path) -> None:
    said = "Error while serializing: I/O error: No space left on device (os error 28)"
    full = pytest.raises(UserError, match=r"cannot write .*model \(No space left on device\); make room")
    with full, whole_folder(tmp_path / "model"):
        raise Exception(said)
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "model"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
