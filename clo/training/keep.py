"""Which of a stage's validations is kept: the rule, and on disk the weights that it prefers so far."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from clo.training.checkpoint import SUFFIX, write_tensors
from clo.training.module import CLOModule
from clo.training.sharding import gathered


@dataclass(frozen=True)
class Kept:
    """The validation that the rule prefers."""

    step: int
    """Optimizer steps of the stage until then."""
    of: int
    """Steps of the last validation."""
    rule: str
    """Why this one, in words with numbers."""

    def record(self) -> dict[str, Any]:
        """For results.json."""
        return asdict(self)


@dataclass(frozen=True)
class Seen:
    """What the rule reads of a validation: held-out NLL, nats per token."""

    step: int
    target: float
    """Of a mixture: of all that it trains."""
    english: float | None
    """None in a mixture, which has English rows as it wants them."""


def choose(seen: Sequence[Seen], tolerance: float) -> Kept:
    """The lowest target NLL among the validations whose English NLL is at most the start's times 1 + ``tolerance``.

    Where there is none, the lowest English NLL; of equals the earliest. The start itself is none of the choices.
    A mixture keeps its own lowest NLL (arXiv 2504.16677 chooses by validation loss).

    Args:
        seen: the start of the stage and at least one validation, in order.
        tolerance: at least 0.
    """
    start, *rest = seen
    if start.english is None:
        best = min(rest, key=lambda one: (one.target, one.step))
        told = f"lowest held-out NLL of what is trained ({best.target:.3f}) of {len(rest)} validations"
        return Kept(best.step, rest[-1].step, told)
    limit = start.english * (1 + tolerance)
    english = {one.step: math.inf if one.english is None else one.english for one in rest}
    within = [one for one in rest if english[one.step] <= limit]
    bound = f"{limit:.3f}, {1 + tolerance:g} times the start's"
    if within:
        best = min(within, key=lambda one: (one.target, one.step))
        told = f"lowest held-out target NLL ({best.target:.3f}) of the {len(within)} of {len(rest)} validations whose "
        return Kept(best.step, rest[-1].step, f"{told}English NLL is at most {bound}")
    best = min(rest, key=lambda one: (english[one.step], one.step))
    told = f"no validation has an English NLL of at most {bound}: the one with the lowest ({english[best.step]:.3f})"
    return Kept(best.step, rest[-1].step, told)


def kept_of(records: Sequence[Mapping[str, Any]], tolerance: float) -> Kept:
    """The choice from a stage's lines of metrics.jsonl that hold validations, the start's first."""
    return choose([_seen(int(line["step"]), line) for line in records], tolerance)


def last_weights(done: Path) -> Path:
    """Where the last weights of a stage lie whose kept ones are ``done``."""
    return done.with_name(f"last-{done.name}")


def _seen(step: int, metrics: Mapping[str, float | None]) -> Seen:
    """What is not finite (metrics.jsonl holds null for it) is never the lowest."""

    def finite(name: str) -> float:
        value = metrics[f"val/nll_{name}"]
        return math.inf if value is None or not math.isfinite(value) else value

    if "val/nll_mixture" in metrics:
        return Seen(step, finite("mixture"), None)
    return Seen(step, finite("target"), finite("en"))


class BestWeights(Callback):
    """Writes what trains whenever a validation is the one to keep.

    What it has seen lies in the stage's checkpoints, so a resumed stage chooses among the same validations. Weights of
    an earlier choice go once a checkpoint lies on disk that knows of the later one. Several ranks gather together, and
    the first one decides and writes.

    Args:
        folder: of the stage's checkpoints.
        base: key of the weights that the stage starts from.
        names: of what trains, in the order of the model's parameters.
        tolerance: of the rule.
    """

    def __init__(self, folder: Path, base: str, names: Sequence[str], tolerance: float) -> None:
        self.folder, self.base, self.names, self.tolerance = folder, base, names, tolerance
        self.seen: list[Seen] = []
        self.safe: int | None = None

    def state_dict(self) -> dict[str, Any]:
        """Goes into the checkpoint that is just being written."""
        self.safe = self._choice()
        return {"seen": [[one.step, one.target, one.english] for one in self.seen]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What the checkpoint knows."""
        self.seen = [Seen(int(step), target, english) for step, target, english in state_dict["seen"]]
        self.safe = self._choice()

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Before the checkpoint of this step, which Lightning writes last."""
        assert isinstance(module, CLOModule)
        known = {one.step for one in self.seen}
        fresh = [_seen(step, {f"val/{k}": v for k, v in own.items()}) for step, own in module.validations]
        fresh = [one for one in fresh if one.step not in known]
        if not fresh:
            return
        self.seen += fresh
        choice = trainer.strategy.broadcast(self._choice())
        if choice == fresh[-1].step:
            tensors = {}
            for name, parameter in zip(self.names, module.trained(), strict=True):
                whole = gathered(parameter.detach())
                if trainer.is_global_zero:
                    tensors[name] = whole.cpu().clone()
            if trainer.is_global_zero:
                write_tensors(self._path(choice), tensors, {"base": self.base})
        if trainer.is_global_zero:
            trainer.strategy.checkpoint_io.wait()  # type: ignore[attr-defined]  # what knows of the later choice
            for path in self.folder.glob(f"kept*{SUFFIX}"):
                if path not in (self._path(choice), self._path(self.safe)):
                    path.unlink()

    def finish(self, done: Path) -> None:
        """Make the kept weights those of the finished stage; on the first rank."""
        os.replace(self._path(self._choice()), done)
        for path in self.folder.glob(f"kept*{SUFFIX}"):
            path.unlink()

    def _choice(self) -> int | None:
        return choose(self.seen, self.tolerance).step if len(self.seen) > 1 else None

    def _path(self, step: int | None) -> Path:
        return self.folder / f"kept{step}{SUFFIX}"
