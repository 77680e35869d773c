"""What one optimizer step adds up over its micro-batches and over the ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from clo.training.sharding import is_split, norm


@dataclass
class StepSums:
    """Sums for the log and, where it is measured, the gradient of the NLL term alone."""

    values: dict[str, Tensor] = field(default_factory=dict)
    """name -> float64 [2], (sum, count); count 0 marks a sum that is normalised already."""
    nll_gradient: list[Tensor] | None = None
    """One tensor per trained parameter."""

    def add(self, name: str, value: Tensor) -> None:
        """Add a (sum, count) pair, or a scalar that the step's denominators already normalise."""
        value = value.detach().double().cpu()
        pair = value if value.dim() else torch.stack([value, torch.zeros_like(value)])
        self.values[name] = self.values.get(name, torch.zeros(2, dtype=torch.float64)) + pair

    def add_terms(self, metrics: Mapping[str, Tensor], nll: Tensor | None, pref: Tensor | None) -> None:
        """Add a micro-batch's share of the loss, of each of its terms that the objective has, and its metrics."""
        for name, term in (("nll", nll), ("pref", pref)):
            if term is not None:
                self.add(name, term)
        self.add("loss", torch.stack([term for term in (nll, pref) if term is not None]).sum())
        for name, pair in metrics.items():
            self.add(name, pair)

    def add_nll_gradient(self, gradient: Sequence[Tensor]) -> None:
        """Add a micro-batch's gradient of the NLL term."""
        before = self.nll_gradient
        self.nll_gradient = list(gradient) if before is None else [a + b for a, b in zip(before, gradient, strict=True)]

    def means(self) -> dict[str, float]:
        """Every name's mean, or its normalised sum."""
        return {name: float(total / count if count else total) for name, (total, count) in self.values.items()}

    def over_ranks(self, parameters: Sequence[torch.nn.Parameter], measured: bool) -> None:
        """Add gradients and sums of all ranks, so that every rank holds those of the whole step.

        Args:
            parameters: what trains; a rank without items contributes zeros.
            measured: whether the NLL term's own gradient is wanted in this step.
        """
        import torch.distributed as dist

        if measured and self.nll_gradient is None:
            self.nll_gradient = [torch.zeros_like(p) for p in parameters]
        gradients = [p.grad for p in parameters if p.grad is not None]
        for tensor in [*gradients, *(self.nll_gradient or [])]:
            if not is_split(tensor):  # what is split was summed in the backward pass
                dist.all_reduce(tensor)
        gathered: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, self.values)
        self.values = {}
        for rank in gathered:
            for name, pair in rank.items():
                self.add(name, pair)

    def gradient_norms(self, parameters: Sequence[torch.nn.Parameter]) -> dict[str, float]:
        """Norm of the whole gradient, and of each term's where the NLL term's was measured."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        norms = {"grad_norm": norm(gradients)}
        if self.nll_gradient is not None:
            norms["grad_norm_nll"] = norm(self.nll_gradient)
            norms["grad_norm_pref"] = norm([g - n for g, n in zip(gradients, self.nll_gradient, strict=True)])
        return norms
