"""CLO on this project's engine: packed rows, one-pass head, reference kept per item or scored in every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from clo.config.choices import Cells, Prompts
from clo.data.items import Item
from clo.square.objective import Objective, objective_terms
from clo.square.reference import snapshot, swapped
from clo.square.scores import batch_of, score, score_items, score_with_reference
from speed.shapes import trained
from speed.sides import Setup, adamw

UNLIMITED = 1 << 30


class OurSide:
    """One way to train CLO with this project; steps take whole batches, as the other side's do.

    Args:
        setup: what is measured.
        cached: reference scores are made in ``prepare``; else in every step, with the start weights swapped in.
    """

    def __init__(self, setup: Setup, cached: bool) -> None:
        self.name = f"ours, reference {'cached' if cached else 'in every step'}"
        self.cached, self.lr, self.half = cached, setup.lr, setup.precision == "bf16"
        self.model = setup.model().eval()
        self.device = self.model.device
        self.objective = Objective(2, Cells.target, Prompts.both, setup.lam, setup.beta)
        self.batches: list[list[Item]] = []
        self._references: list[Tensor] = []
        self._parameters = trained(self.model)
        self._start = snapshot(self.model)
        self._optimizer = adamw(self._parameters.values(), self.lr)

    def prepare(self, batches: Sequence[Sequence[Item]]) -> None:
        """Score the reference, where it is kept."""
        self.reset()
        self.batches = [list(batch) for batch in batches]
        if self.cached:
            with self._precision():
                cells = self.objective.cells()
                scored = [score_items(self.model, batch, cells, UNLIMITED) for batch in self.batches]
            self._references = [scores.S_BLK.to(self.device) for scores in scored]

    def loss_and_grads(self, k: int) -> tuple[float, dict[str, Tensor]]:
        """Loss of batch k and its gradient by parameter name; weights stay."""
        loss = self._backward(k)
        return float(loss), {name: p.grad.detach().clone() for name, p in self._parameters.items()}

    def step(self, k: int) -> float:
        """One optimizer step on batch k; returns the loss before it."""
        loss = self._backward(k)
        self._optimizer.step()
        return float(loss)

    def _backward(self, k: int) -> Tensor:
        self._optimizer.zero_grad(set_to_none=True)
        items = self.batches[k]
        with self._precision():
            batch = batch_of(self.model, items, self.objective.cells())
            if self.cached:
                S_BLK, R_BLK = score(self.model, batch).S_BLK, self._references[k]
            else:
                both = score_with_reference(self.model, batch, swapped(self.model, self._start))
                S_BLK, R_BLK = both[0].S_BLK, both[1].S_BLK
        terms = objective_terms(self.objective, S_BLK, R_BLK)
        loss = self.objective.loss(terms, self.objective.denominators(items).to(self.device))
        loss.backward()
        return loss.detach()

    def _precision(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16) if self.half else nullcontext()

    def load(self, policy: Mapping[str, Tensor]) -> None:
        """Put other trained weights in place; the reference stays."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(policy[name])

    def reset(self) -> None:
        """Start weights and a fresh optimizer."""
        self.load(self._start)
        self._optimizer = adamw(self._parameters.values(), self.lr)

    def start(self) -> dict[str, Tensor]:
        """Copies of the start weights that train."""
        return {name: tensor.clone() for name, tensor in self._start.items()}


def cached(setup: Setup) -> OurSide:
    """B: reference scores kept, as runs do."""
    return OurSide(setup, cached=True)


def charged(setup: Setup) -> OurSide:
    """B1: the reference pass charged in full in every step, as in a run of one epoch."""
    return OurSide(setup, cached=False)
