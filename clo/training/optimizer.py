"""AdamW over what trains, and its schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from clo.config import OptimizerConfig
from clo.config.choices import Schedule
from clo.training.sharding import is_split


def trained(model: Any) -> list[torch.nn.Parameter]:
    """The parameters that train."""
    return [p for p in model.parameters() if p.requires_grad]


def adamw(parameters: Sequence[torch.nn.Parameter], options: OptimizerConfig, lr: float) -> torch.optim.AdamW:
    """AdamW; weight decay acts on matrices only."""
    decay = [p for p in parameters if p.dim() > 1]
    plain = [p for p in parameters if p.dim() <= 1]
    groups = [{"params": decay, "weight_decay": options.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    b1, b2 = options.betas
    how: dict[str, bool] = {"fused": True} if all(p.is_cuda for p in parameters) else {}
    if len({is_split(p) for p in parameters}) > 1:  # torch's kernels over many tensors take one kind of them
        how = {"foreach": False}
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=(b1, b2), eps=options.eps, **how)


def scheduled(optimizer: Any, options: OptimizerConfig, total: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear from 0 over the first ``options.warmup`` of ``total`` steps, then linear to 0, or constant.

    A constant rate without a warm-up is the whole rate from the first step on.
    """
    rising = max(1, round(options.warmup * total))

    def factor(step: int) -> float:
        done = step + 1  # the first step already moves
        if done <= rising:
            return done / rising
        return 1.0 if options.schedule is Schedule.constant else max(0.0, (total - step) / max(1, total - rising))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
