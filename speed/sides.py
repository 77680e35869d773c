"""What every side of a comparison offers, and what all of them are built from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from clo.data.items import Item
from speed.shapes import SHAPES, build, cut, length_sorted, real_items


class Side(Protocol):
    """One way to train; every side has a model of its own, built from the same seed."""

    name: str
    device: torch.device
    batches: list[list[Item]]
    """What ``prepare`` made of the batches; the same items, maybe cut anew."""

    def prepare(self, batches: Sequence[Sequence[Item]]) -> None:
        """All work that is not part of a step."""

    def loss_and_grads(self, k: int) -> tuple[float, dict[str, Tensor]]:
        """Loss of batch k and its gradient by parameter name; weights stay."""

    def step(self, k: int) -> float:
        """One optimizer step on batch k: zero_grad, forward, backward, AdamW; returns the loss before it."""

    def load(self, policy: Mapping[str, Tensor]) -> None:
        """Put other trained weights in place; the reference stays."""

    def start(self) -> dict[str, Tensor]:
        """Copies of the start weights that train."""

    def reset(self) -> None:
        """Start weights and a fresh optimizer."""


@dataclass(frozen=True)
class Setup:
    """What is measured; plain values, so that another process can build the same."""

    shape: str = "S32"
    lang: str = "zh"
    count: int = 12
    batch: int = 3
    precision: str = "fp32"
    device: str = "cpu"
    beta: float = 0.1
    lam: float = 0.5
    lr: float = 1e-4
    seed: int = 0
    sort: bool = False
    """Give length-sorted batches to every side."""
    bf16_frozen: bool = False
    """Hold the frozen weights in bfloat16, as large models are; what trains stays float32."""

    @cached_property
    def _sample(self) -> tuple[list[Item], str]:
        return real_items(None, self.count, SHAPES[self.shape].vocab, self.seed, self.lang)

    def model(self) -> Any:
        """A new model with the start weights, on the device."""
        return build(self.shape, self.seed, self.device, torch.bfloat16 if self.bf16_frozen else torch.float32)

    def items(self) -> list[Item]:
        """The items in their order."""
        return self._sample[0]

    def source(self) -> str:
        """Where the items' lengths come from."""
        return self._sample[1]

    def batches(self) -> list[list[Item]]:
        """The items in batches, in their order or sorted by length."""
        batches = cut(self.items(), self.batch)
        return length_sorted(batches) if self.sort else batches


def adamw(parameters: Iterable[torch.nn.Parameter], lr: float) -> torch.optim.AdamW:
    """The optimizer of every side; no decay, no schedule, no clipping."""
    parameters = list(parameters)
    fused: dict[str, bool] = {"fused": True} if parameters[0].is_cuda else {}
    return torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, **fused)
