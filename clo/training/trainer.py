"""Lightning's trainer as this project uses it: a loop over steps; what belongs to a step is the module's."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger

from clo.config import TrainerConfig
from clo.model.load import run_device
from clo.training.checkpoint import SafetensorsIO
from clo.training.strategy import strategy_of


def lightning_trainer(
    hardware: TrainerConfig, steps: int, callbacks: Sequence[Callback], loggers: Sequence[Logger]
) -> pl.Trainer:
    """A trainer for one pass over a sampler of ``steps`` steps.

    Args:
        hardware: devices, strategy and precision.
        steps: optimizer steps.
        callbacks: what is called around the steps.
        loggers: where metrics go.
    """
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    # On a GPU runs are equal within rounding, not to the bit, and docs/speed.md says so once.
    warnings.filterwarnings("ignore", message="Flash Attention defaults to a non-deterministic")
    determinism = torch.utils.deterministic
    determinism.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # every kernel here writes its output
    return pl.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.nodes,
        strategy=strategy_of(hardware.strategy, hardware.devices * hardware.nodes),
        plugins=[SafetensorsIO(beside=run_device(hardware.accelerator).type != "cpu")],
        precision=hardware.precision,  # type: ignore[arg-type]
        max_epochs=1,
        max_steps=steps,
        limit_val_batches=0,  # the module validates by itself
        use_distributed_sampler=False,
        logger=list(loggers),
        callbacks=list(callbacks),
        enable_checkpointing=any(isinstance(c, pl.callbacks.Checkpoint) for c in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        deterministic="warn",
    )
