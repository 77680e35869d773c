"""The gradients of one optimizer step: micro-batches under the token budget, and each term's own norm.

Every sum is divided by the step's own denominators, so neither the budget nor the number of ranks changes a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clo.data.batch import balanced
from clo.data.items import Item
from clo.errors import UserError
from clo.square.objective import Objective
from clo.square.scores import groups_of, halved
from clo.training.engine import Engine
from clo.training.step_sums import StepSums
from clo.training.terms import OUT_OF_MEMORY, Scorer

Whole = tuple[Objective, Tensor]
"""What a step trains, and the denominators of its sums."""


class Gradients:
    """Leaves a step's gradients in the weights.

    Args:
        engine: carries them.
        scorer: of the stage.
        key: of the weights that the stage starts from; dropout draws from it.
        max_tokens: token budget of a micro-batch.
    """

    def __init__(self, engine: Engine, scorer: Scorer, key: str, max_tokens: int) -> None:
        self._engine, self._scorer, self._key = engine, scorer, int(key[:12], 16)
        self.max_tokens = max_tokens

    def of(self, items: Sequence[Item], objective: Objective, step: int, measure: bool) -> StepSums:
        """Gradients of the whole step on every rank; returns what is logged of it, gradient norms included.

        Args:
            items: of the step, of all ranks.
            objective: what is trained.
            step: its number; dropout draws from it, so that a resumed or repeated step draws the same.
            measure: each term's own norm too, by passes of its own: no second set of gradients is ever held.
        """
        denominators, norms = objective.denominators(items), {}
        for name, part in objective.parts().items() if measure else ():
            sums = self._within_memory(items, part, (objective, denominators), step)
            norms[f"grad_norm_{name}"] = self._engine.reduce(sums)
        sums = self._within_memory(items, objective, (objective, denominators), step)
        norms["grad_norm"] = self._engine.reduce(sums)
        for name, value in norms.items():
            sums.add(name, value)
        return sums

    def _within_memory(self, items: Sequence[Item], part: Objective, whole: Whole, step: int) -> StepSums:
        """This rank's part; out of memory halves the token budget, says so and begins again."""
        while True:
            try:
                return self._passed(items, part, whole, step)
            except torch.OutOfMemoryError:
                if self._engine.lockstep:  # the other devices wait for this one's part: no pass can be repeated alone
                    raise UserError(OUT_OF_MEMORY.format(self.max_tokens)) from None
                if self.max_tokens < max(item.longest() for item in items):
                    raise
            self._engine.forget()
            self.max_tokens = halved(self.max_tokens)

    def _passed(self, items: Sequence[Item], part: Objective, whole: Whole, step: int) -> StepSums:
        """All of this rank's micro-batches, which are those of the whole objective, forward and backward."""
        self._engine.forget()
        torch.manual_seed(self._key + step * self._engine.ranks + self._engine.rank)
        sums, (objective, denominators) = StepSums(), whole
        for group, weight in self._passes(items, objective):
            terms = self._scorer.terms(group, part)
            self._engine.backward(weight * part.loss(terms, denominators))
            sums.add_terms(terms.metrics, part.weighted(terms, denominators), weight)
        return sums

    def _passes(self, items: Sequence[Item], objective: Objective) -> list[tuple[list[Item], float]]:
        """This rank's micro-batches, each with weight 1.

        A rank that needs fewer of them than it has to make, or has no items, adds some of weight 0.
        """
        cells = objective.cells()
        mine = balanced(items, cells, self._engine.ranks)[self._engine.rank]
        groups = groups_of(self._engine.model, mine, cells, self.max_tokens)
        passes = [([mine[k] for k in group], 1.0) for group in groups]
        return passes + [([items[0]], 0.0)] * (max(1, self._engine.most(len(passes))) - len(passes))
