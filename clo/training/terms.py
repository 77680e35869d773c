"""Scores of a stage: the policy's, its reference's wherever that comes from, and what the objective makes of both."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from clo.config.choices import ReferenceMode
from clo.data.batch import Cell
from clo.data.items import Item
from clo.errors import UserError
from clo.square.anchor import Likely, divergence, likely_of_all
from clo.square.objective import Objective, Terms, objective_terms
from clo.square.reference import swapped
from clo.square.scores import Scores, batch_of, score, score_with_reference, score_within
from clo.training.engine import Engine

OUT_OF_MEMORY = "out of memory with trainer.max_tokens={} on one of the devices; set a lower one, the run goes on"


class Scorer:
    """Scores items with the policy and, where comparisons need it, with the weights that the stage starts from.

    Args:
        engine: holds the policy.
        mode: where the reference comes from.
        start: swapped mode: what trains, as it was.
    """

    def __init__(self, engine: Engine, mode: ReferenceMode, start: dict[str, Tensor] | None) -> None:
        self.engine, self.model = engine, engine.model
        self.mode, self.start = mode, start
        self.references: dict[str, Tensor] = {}
        """Cached mode: reference scores by item key."""
        self.likely: dict[str, Likely] = {}
        """With an anchor: the start's most likely tokens by item key."""

    def terms(self, items: Sequence[Item], objective: Objective) -> Terms:
        """Score a micro-batch and its reference, and weigh the square."""
        device = self.engine.device
        batch = batch_of(self.model, items, objective.cells())
        start = likely_of_all([self.likely[item.key()] for item in items], device) if objective.anchor else None
        of_source, R_BLK = None if start is None else partial(divergence, start), None
        if objective.needs_reference() and self.mode is not ReferenceMode.cached:
            policy, reference = score_with_reference(self.model, batch, self._as_reference(), of_source)
            R_BLK = reference.S_BLK
        else:
            if objective.needs_reference():
                R_BLK = torch.stack([self.references[item.key()] for item in items]).to(device)
            policy = score(self.model, batch, of_source)
        return objective_terms(objective, policy.S_BLK, R_BLK, policy.count_BLK, policy.source, items)

    def reference(self, items: Sequence[Item], cells: Sequence[Cell], max_tokens: int) -> Tensor:
        """Reference scores of any number of items, [B, L, K], on the CPU."""
        if self.mode is ReferenceMode.cached:
            return torch.stack([self.references[item.key()] for item in items])
        with self._as_reference():
            return self.scores(items, cells, max_tokens).S_BLK

    def scores(self, items: Sequence[Item], cells: Sequence[Cell], max_tokens: int) -> Scores:
        """The policy's scores without gradients; ranks that meet in every pass stop where one has no memory.

        Raises:
            UserError: out of memory, and other ranks wait for this one's part.
        """
        try:
            return score_within(self.model, items, cells, max_tokens, alone=not self.engine.lockstep)[0]
        except torch.OutOfMemoryError:
            if self.engine.lockstep:
                raise UserError(OUT_OF_MEMORY.format(max_tokens)) from None
            raise

    def _as_reference(self) -> AbstractContextManager[Any]:
        if self.mode is ReferenceMode.adapters_off:
            found: AbstractContextManager[Any] = self.model.disable_adapter()
            return found
        if self.mode is ReferenceMode.swapped:
            assert self.start is not None
            return swapped(self.model, self.start)
        return nullcontext()
