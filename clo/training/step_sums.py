"""What one optimizer step adds up over its micro-batches and over the ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from clo.training.sharding import is_split


@dataclass
class StepSums:
    """Sums for the log. They stay on the device until :meth:`means`, the one time that a step waits for it."""

    values: dict[str, Tensor] = field(default_factory=dict)
    """name -> float64 [2], (sum, count)."""
    normalised: set[str] = field(default_factory=set)
    """Names of sums that the step's denominators already normalise; their count is 0."""

    def add(self, name: str, value: Tensor, weight: float = 1.0) -> None:
        """Add a (sum, count) pair, or a scalar that the step's denominators already normalise."""
        value = weight * value.detach().double()
        if not value.dim():
            self.normalised.add(name)
        pair = value if value.dim() else torch.stack([value, torch.zeros_like(value)])
        self.values[name] = self.values[name] + pair if name in self.values else pair

    def add_terms(self, metrics: Mapping[str, Tensor], weighted: Mapping[str, Tensor], weight: float = 1.0) -> None:
        """Add a micro-batch's share of the loss, of each of its terms that the objective has, and its metrics.

        Args:
            metrics: name -> (sum, count).
            weighted: name -> weighted term (nll, pref, anchor), at least one.
            weight: 0 for a pass that only keeps other ranks company: it names the sums and adds nothing.
        """
        for name, term in weighted.items():
            self.add(name, term, weight)
        self.add("loss", torch.stack([*weighted.values()]).sum(), weight)
        for name, pair in metrics.items():
            self.add(name, pair, weight)

    def means(self) -> dict[str, float]:
        """Every name's mean, or its normalised sum; of what the step had none of there is neither."""
        pairs = torch.stack([pair.to(self.values["loss"].device) for pair in self.values.values()]).tolist()
        return {
            name: total / count if count else total
            for name, (total, count) in zip(self.values, pairs, strict=True)
            if count or name in self.normalised
        }

    def over_ranks(self) -> None:
        """Add the sums of all ranks; every rank has the same names."""
        pairs = torch.stack(list(self.values.values()))
        torch.distributed.all_reduce(pairs)
        self.values = dict(zip(self.values, pairs, strict=True))


def add_gradients_over_ranks(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Every rank's gradients become those of the whole step; what is split was summed in the backward pass."""
    gradients = [p.grad for p in parameters if p.grad is not None and not is_split(p.grad)]
    waiting = [torch.distributed.all_reduce(gradient, async_op=True) for gradient in gradients]
    for one in waiting:
        one.wait()
