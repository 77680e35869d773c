"""What a stage of a run is: its objective, its learning rate and its length."""

from __future__ import annotations

from dataclasses import dataclass

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
