"""Peak memory of one side, in a fresh process with the default allocator."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from speed.sides import Setup, Side

Factory = Callable[[Setup], Side]


@dataclass(frozen=True)
class Peak:
    """Bytes above what the process (or the GPU) held after imports."""

    prepare: int
    """Model, reference and ``prepare``."""
    step: int
    """Model and two optimizer steps per batch."""


def factory(place: str) -> Factory:
    """The function at ``module:function`` that builds a side."""
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


def peak_memory(place: str, setup: Setup) -> Peak:
    """Build a side in a new process, prepare it, train every batch twice.

    Raises:
        RuntimeError: the process failed; the message ends with its output.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    code = "from speed.memory import _child; _child()"
    done = subprocess.run(
        [sys.executable, "-c", code, place, json.dumps(asdict(setup))],
        cwd=Path(__file__).resolve().parents[1],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"measuring the memory of {place} failed:\n{done.stderr[-2000:]}")
    return Peak(**json.loads(done.stdout.splitlines()[-1]))


def _child() -> None:
    import torch

    place, values = sys.argv[1:3]
    setup, build = Setup(**json.loads(values)), factory(place)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.set_flush_denormal(True)
    batches = setup.batches()
    before = _held(setup.device)
    side = build(setup)
    side.prepare(batches)
    prepared = _highest(setup.device)
    _forget_highest(setup.device)
    for k in [*range(len(side.batches))] * 2:
        side.step(k)
    print(json.dumps({"prepare": prepared - before, "step": _highest(setup.device) - before}))


def _status(key: str) -> int | None:
    """A line of /proc/self/status in bytes; its peak belongs to this program, unlike getrusage's.

    Linux hands a parent's ru_maxrss down through fork and exec: started by a large process, a small one would seem
    to have needed as much.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    return None


def _held(device: str) -> int:
    """Bytes held now."""
    if device.startswith("cuda"):
        return _torch_cuda().memory_allocated()
    now = _status("VmRSS")
    return _maxrss() if now is None else now


def _highest(device: str) -> int:
    """Most bytes ever held, since the last :func:`_forget_highest`."""
    if device.startswith("cuda"):
        return _torch_cuda().max_memory_allocated()
    top = _status("VmHWM")
    return _maxrss() if top is None else top


def _forget_highest(device: str) -> None:
    if device.startswith("cuda"):
        _torch_cuda().reset_peak_memory_stats()
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM; where it is refused, the peak is of both parts


def _maxrss() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _torch_cuda() -> Any:
    import torch

    return torch.cuda
