"""Places in which cells of a grid run side by side on this machine: cores, or GPUs of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from clo.config import TrainerConfig


def slots_of(asked: int | None, trainer: TrainerConfig) -> list[str | None]:
    """One entry per cell that may run at a time: the GPUs that it sees, as CUDA_VISIBLE_DEVICES names them; or none.

    Args:
        asked: ``jobs``; null is as many as the cores or the GPUs carry.
        trainer: what every cell needs.
    """
    gpus = [] if trainer.accelerator == "cpu" else visible_gpus()
    if trainer.accelerator == "cpu" or (trainer.accelerator == "auto" and not gpus):
        cores = len(os.sched_getaffinity(0)) // (trainer.threads * trainer.devices)
        return [None] * (max(1, cores) if asked is None else asked)
    starts = range(0, len(gpus) - trainer.devices + 1, trainer.devices)
    own = [",".join(gpus[k : k + trainer.devices]) for k in starts]
    if not own:  # too few: the cell itself says so
        return [None] * (asked or 1)
    return [own[k % len(own)] for k in range(asked or len(own))]


def visible_gpus() -> Sequence[str]:
    """Names of the GPUs that this process may use; found without loading torch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    try:
        asked = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []
