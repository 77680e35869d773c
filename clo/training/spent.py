"""What a training has cost so far, over all processes that worked on it: a run that was killed has had the time too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from clo.storage.files import read_object, write_json
from clo.storage.run_folder import RunFolder

NAME = "spent.json"
"""In a run's folder: ``seconds``, and ``peak_memory_gb`` where a GPU says it."""


class Spent(Callback):
    """Kept with every checkpoint and at the end of every stage; work that is lost and done again counts once.

    Args:
        folder: of the run; where nothing of its training is kept, the time begins anew.
        memory: the most that tensors took since this process began, empty where nothing measures it.
    """

    def __init__(self, folder: RunFolder, memory: Callable[[], dict[str, float]]) -> None:
        self.folder, self._memory = folder, memory
        self._before = _kept(folder) if any((folder.path / "checkpoint").rglob("*.safetensors")) else {}
        self._began = time.monotonic()

    def add(self, cost: dict[str, float]) -> None:
        """What the first stage cost, which another run has trained; the time that it was waited for is not spent."""
        self._before, self._began = _joined(self._before, cost), time.monotonic()

    def now(self) -> dict[str, float]:
        """Seconds, and the peak where it is measured."""
        return _joined(self._before, {"seconds": time.monotonic() - self._began, **self._memory()})

    def keep(self) -> None:
        """Write it down."""
        if self.folder.main:
            write_json(self.folder.path / NAME, self.now())

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """With the weights that it paid for."""
        self.keep()


def _joined(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    seconds = one.get("seconds", 0.0) + other.get("seconds", 0.0)
    peaks = [cost["peak_memory_gb"] for cost in (one, other) if "peak_memory_gb" in cost]
    return {"seconds": seconds, **({"peak_memory_gb": max(peaks)} if peaks else {})}


def _kept(folder: RunFolder) -> dict[str, float]:
    try:
        return {name: float(value) for name, value in read_object(folder.path / NAME).items()}
    except (OSError, ValueError, TypeError):
        return {}
