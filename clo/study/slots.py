"""Places in which cells of a grid run side by side on this machine: cores, or GPUs of their own."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clo.config import TrainerConfig
from clo.storage.claim import Claim


def slots_of(asked: int | None, trainer: TrainerConfig) -> list[str | None]:
    """One entry per cell that may run at a time: the GPUs that it sees, as CUDA_VISIBLE_DEVICES names them; or none.

    There are never more of them than cores for their threads; on GPUs, where the cores only feed them, than cores.

    Args:
        asked: ``jobs``; null is as many as the cores or the GPUs carry.
        trainer: what every cell needs.
    """
    gpus = [] if trainer.accelerator == "cpu" else visible_gpus()
    cores = len(os.sched_getaffinity(0)) // trainer.devices
    if trainer.accelerator == "cpu" or (trainer.accelerator == "auto" and not gpus):
        most = max(1, cores // trainer.threads)
        return [None] * min(asked or most, most)
    starts = range(0, len(gpus) - trainer.devices + 1, trainer.devices)
    own = [",".join(gpus[k : k + trainer.devices]) for k in starts]
    if not own:  # too few: the cell itself says so
        return [None] * min(asked or 1, max(1, cores))
    return [own[k % len(own)] for k in range(min(asked or len(own), max(1, cores)))]


@dataclass(frozen=True)
class Place:
    """Where a cell runs."""

    gpus: str | None
    """The only ones that it sees; none where it runs on cores."""
    share: int
    """Number among the cells that share the GPUs."""
    threads: int
    """CPU threads of each of its processes."""
    claims: tuple[Claim, ...] = ()
    """What it holds against the other grids of this user on this machine."""


class Places:
    """The places of one grid, shared with the other grids of this user on this machine: core by core, GPU by GPU.

    Args:
        slots: of `slots_of`.
        trainer: what every cell needs.
    """

    def __init__(self, slots: Sequence[str | None], trainer: TrainerConfig) -> None:
        self.cores = sorted(os.sched_getaffinity(0))
        fed = max(1, len(self.cores) // (len(slots) * trainer.devices))
        seen = Counter[str | None]()
        self.free: list[Place] = []
        for gpus in slots:
            threads = trainer.threads if gpus is None else min(trainer.threads, fed)
            self.free.append(Place(gpus, seen[gpus], threads))
            seen[gpus] += 1
        self.devices = trainer.devices
        self.folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"clo-{os.getuid()}"

    def take(self) -> Place | None:
        """A place for one more cell; none where this grid or others on this machine have them all."""
        for place in self.free:
            gpus = [] if place.gpus is None else [f"gpu-{name}-{place.share}" for name in place.gpus.split(",")]
            count = min(place.threads * self.devices, len(self.cores))
            held = self._held(gpus, len(gpus))
            cores = None if held is None else self._held([f"core-{core}" for core in self.cores], count)
            if held is not None and cores is not None:
                self.free.remove(place)
                return replace(place, claims=(*held, *cores))
            for claim in held or ():
                claim.give_back()
        return None

    def give_back(self, place: Place) -> None:
        """A cell ended."""
        for claim in place.claims:
            claim.give_back()
        self.free.append(replace(place, claims=()))

    def _held(self, names: Sequence[str], count: int) -> list[Claim] | None:
        """So many of the named, or none."""
        held: list[Claim] = []
        for name in names:
            claim = Claim(self.folder / name)
            try:
                if len(held) < count and claim.take():
                    held.append(claim)
            except OSError:  # nowhere to tell others
                return held
        if len(held) == count:
            return held
        for claim in held:
            claim.give_back()
        return None


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
