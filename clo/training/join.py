"""The processes of a run find each other, before the first of them computes anything."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch

from clo.config import TrainerConfig
from clo.storage.ranks import Ranks
from clo.training.trainer import lightning_trainer

PATIENCE = timedelta(days=7)
"""The longest that one rank's share of the answers takes beyond another's; one that has ended is seen at once."""


def join(hardware: TrainerConfig) -> Ranks:
    """Start the other processes of this node, unless somebody else has, and meet all of them; the stages find them met.

    Args:
        hardware: devices, nodes and strategy.
    """
    if hardware.devices * hardware.nodes == 1:
        return Ranks()
    trainer = lightning_trainer(hardware, 1, [], [])
    strategy: Any = trainer.strategy  # one of the three that split work over processes

    def meet() -> Ranks:
        strategy.accelerator.setup_device(strategy.root_device)
        strategy.setup_distributed()
        group = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)
        return Ranks(strategy.global_rank, strategy.world_size, group)

    found: Ranks = meet() if strategy.launcher is None else strategy.launcher.launch(meet, trainer=trainer)
    torch.set_num_threads(hardware.threads)  # Lightning's launcher divides the processors by itself
    return found
