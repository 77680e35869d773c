"""What a training cost, over the processes that worked on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clo.storage.run_folder import RunFolder
from clo.training.spent import NAME, Spent


def test_processes_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the last checkpoint of one that was killed: what it did after that is done again."""
    clock = [0.0]
    monkeypatch.setattr("clo.training.spent.time.monotonic", lambda: clock[0])
    folder = RunFolder(tmp_path / "run")
    (folder.path / "checkpoint" / "1-sft").mkdir(parents=True)
    one = Spent(folder, lambda: {"peak_memory_gb": 3.0})
    clock[0] = 10.0
    one.keep()
    checkpoint = folder.path / "checkpoint" / "1-sft" / "step5.safetensors"
    checkpoint.touch()
    clock[0] = 100.0
    two = Spent(folder, lambda: {"peak_memory_gb": 2.0})
    clock[0] = 105.0
    assert two.now() == {"seconds": 15.0, "peak_memory_gb": 3.0}
    checkpoint.unlink()  # begun anew
    assert Spent(folder, dict).now() == {"seconds": 0.0}
    checkpoint.touch()
    (folder.path / NAME).write_text("{")
    assert Spent(folder, dict).now() == {"seconds": 0.0}


def test_what_was_waited_for_is_not_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("clo.training.spent.time.monotonic", lambda: clock[0])
    spent = Spent(RunFolder(tmp_path / "run"), dict)
    clock[0] = 500.0
    spent.add({"seconds": 40.0, "peak_memory_gb": 1.0})
    clock[0] = 507.0
    assert spent.now() == {"seconds": 47.0, "peak_memory_gb": 1.0}
