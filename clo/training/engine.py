"""What carries a stage's gradients over the ranks: whole weights on every device, or weights split over them (FSDP2).

The stage calls ``backward`` for every micro-batch, then once ``reduce`` and ``step``, and never asks which it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from clo.training.optimizer import trained
from clo.training.sharding import alone, clip_gradients, gather_into, norm, sharded
from clo.training.step_sums import StepSums, add_gradients_over_ranks
from clo.training.strategy import ShardedStrategy


class Engine:
    """Whole weights on every device: each rank's gradients are added up over the ranks once per step.

    Args:
        model: a tuned model on its device.
        trainer: Lightning's, whose processes are up.
    """

    lockstep = False
    """Whether the ranks meet in every pass: then none may make more of them than the others, or repeat one."""

    def __init__(self, model: Any, trainer: pl.Trainer) -> None:
        self.model = model
        """What is scored and trained."""
        self.rank, self.ranks = trainer.global_rank, trainer.world_size
        self.device: torch.device = trainer.strategy.root_device

    def trained(self) -> list[torch.nn.Parameter]:
        """The parameters that train."""
        return trained(self.model)

    def forget(self) -> None:
        """No gradients, as at the beginning of a step."""
        self.model.zero_grad(set_to_none=True)

    def backward(self, loss: Tensor) -> None:
        """Add a micro-batch's gradients; what the forward pass cast goes back as it came."""
        with torch.autocast(self.device.type, enabled=False):
            loss.backward()

    def reduce(self, sums: StepSums) -> Tensor:
        """Gradients and sums become those of the whole step; returns the gradients' norm, float64 on the device."""
        for parameter in self.trained():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.ranks > 1:
            add_gradients_over_ranks(self.trained())
            sums.over_ranks()
        return norm(p.grad for p in self.trained() if p.grad is not None)

    def step(self, optimizer: Any, total: float, most: float) -> None:
        """Clip the gradients, whose norm is ``total``, to ``most``, and move the weights."""
        clip_gradients(self.trained(), total, most)
        optimizer.step()

    def most(self, passes: int) -> int:
        """Passes that this rank has to make where it needs so many itself."""
        return passes

    def agree(self, yes: bool) -> bool:
        """Whether all ranks say yes."""
        return self._over_ranks(int(yes), torch.distributed.ReduceOp.MIN) == 1 if self.ranks > 1 else yes

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Passes in here meet no other rank; with split weights their values mean nothing, only their memory does."""
        yield

    def finish(self) -> None:
        """Leave what was trained in the model that was handed in."""

    def _over_ranks(self, value: int, how: Any) -> int:
        found = torch.tensor(value, device=self.device)
        torch.distributed.all_reduce(found, how)
        return int(found)


class ShardedEngine(Engine):
    """Weights, gradients and moments split over the devices; ranks meet in every layer of every pass.

    Args:
        model: a tuned model, whole and equal on every rank.
        trainer: Lightning's, whose processes are up.
        precision: see :func:`clo.training.sharding.sharded`.
    """

    lockstep = True

    def __init__(self, model: Any, trainer: pl.Trainer, precision: str) -> None:
        strategy = trainer.strategy
        assert isinstance(strategy, ShardedStrategy)
        super().__init__(sharded(model, strategy.mesh(), precision), trainer)
        self._whole = model

    def most(self, passes: int) -> int:
        """As many as the rank with most of them."""
        return self._over_ranks(passes, torch.distributed.ReduceOp.MAX)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """As of whole weights."""
        with alone(self.model):
            yield

    def finish(self) -> None:
        """Gather the weights; every rank gets all of them."""
        gather_into(self._whole, self.model)


def engine_of(model: Any, trainer: pl.Trainer, precision: str) -> Engine:
    """The engine that the strategy asks for."""
    split = isinstance(trainer.strategy, ShardedStrategy)
    return ShardedEngine(model, trainer, precision) if split else Engine(model, trainer)
