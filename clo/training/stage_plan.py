"""What a stage of a run is: its objective, its learning rate, its length, its items, and the weights it starts from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from clo.data.items import Item
from clo.evaluation.watch import Look
from clo.square.anchor import Likely
from clo.square.objective import Objective


@dataclass(frozen=True)
class StagePlan:
    """How one stage of a run trains."""

    name: str
    objective: Objective
    lr: float
    total_steps: int
    steps_per_epoch: int
    validate_every: int
    """Steps between two looks at the held-out square; the start and the end come on top."""


@dataclass(frozen=True)
class Base:
    """The weights that a stage starts from: what its comparisons refer to."""

    key: str
    """Their content hash; a checkpoint of another base is refused."""
    references: Callable[[Any], dict[str, Tensor]] | None = None
    """Cached mode: of the module, makes the reference scores by item key, float32 [L, K], once the processes are up."""
    likely: Callable[[Any], dict[str, Likely]] | None = None
    """With an anchor: of the module, makes the start's most likely tokens by item key."""
    weights: dict[str, Tensor] | None = None
    """Swapped mode: what trains, as it was."""


@dataclass(frozen=True)
class StageData:
    """Items of the run: all of them for training, and the held-out square."""

    train: Sequence[Item]
    val: Sequence[Item]
    watch: Look | None = None
    """Answers some prompts at every validation."""
    replayed: Sequence[Item] = ()
    """Rows that hold the source language, of which some come into every step."""
