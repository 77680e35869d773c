"""Tiny trainings in processes of their own, and how close one that is computed otherwise must come."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from safetensors.torch import load_file
from tiny_runs import difference, metrics
from torch import Tensor
from warm_runs import WarmRuns

MAX, MEAN, LOSS = 3e-5, 5e-7, 2e-5
"""Rounding of float32 through 8 to 16 optimizer steps."""


def assert_close(a: Path, b: Path, trained_a: dict[str, Tensor], trained_b: dict[str, Tensor]) -> None:
    largest, mean = difference(trained_a, trained_b)
    assert largest < MAX and mean < MEAN, (largest, mean)
    for part in ("train", "val"):
        for one, other in zip(metrics(a, part), metrics(b, part), strict=True):
            assert one.keys() == other.keys()
            for key, value in one.items():
                if key in ("stage", "step", "epoch"):
                    assert other[key] == value
                elif key in ("train/loss", "train/nll", "train/pref") or "logp" in key or key.startswith("val/nll"):
                    assert other[key] == pytest.approx(value, rel=LOSS), key
                elif "grad_norm" in key or "change" in key or "margin" in key:
                    assert other[key] == pytest.approx(value, rel=1e-3, abs=2e-4), key


def finished(folder: Path) -> dict[str, Tensor]:
    """The trained weights of the last stage, as the run left them on disk."""
    return load_file(sorted((folder / "checkpoint").glob("*.safetensors"))[-1])


def train_warm(warm: WarmRuns, folder: Path, name: str = "clo", ranks: str = "1", *more: object) -> int:
    """Exit code of the same training in forks that know of each other by their environment."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    count = int(ranks.partition(":")[0])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": "0", "CUDA_VISIBLE_DEVICES": ""}
    nodes = [{**place, "LOCAL_RANK": str(rank)} for rank in range(count)] if count > 1 else [{}]
    ended = warm.run([str(folder), name, ranks, *map(str, more)], folder, command="train_tiny", nodes=nodes)
    (folder / "log.txt").write_text(ended.out + ended.err)
    return ended.code


def train_in_process(folder: Path, *arguments: object, limit: float = 300) -> int:
    """Exit code of ``train_tiny.py``; the whole process group is stopped after ``limit`` seconds."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    environment = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")}
    environment |= {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    folder.mkdir(exist_ok=True)
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "train_tiny.py"), str(folder), *map(str, arguments)],
            env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            pytest.fail(f"no end after {limit} s: {(folder / 'log.txt').read_text()[-2000:]}")
