"""Token budget and checkpointing where the settings leave them open: the same for ``plan=true`` and for a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from clo.config import TrainerConfig, TuningConfig
from clo.config.choices import AUTO
from clo.config.parse import RunConfig
from clo.data.batch import packed_tokens
from clo.data.items import Item
from clo.errors import UserError
from clo.study.plan_memory import memory_of, on_cpu, peak_memory

CPU_TOKENS = 1024
"""Small passes suit a CPU's caches."""
USEFUL = 16384, 8192, 4096
"""Budgets that keep a GPU busy. A smaller one is worse than making activations again, which costs a third of a step."""
SMALL = 2048, 1024, 512


def chosen(trainer: TrainerConfig, model: Any, lengths: Sequence[int], limit: float | None) -> TrainerConfig:
    """The settings with what they leave open decided: the largest useful passes that fit, checkpointed if they must be.

    Args:
        trainer: as set.
        model: with its tuning, on any device.
        lengths: tokens of each training item's packed row.
        limit: bytes of one device; none where it is not known, and the usual values then.
    """
    tokens, checkpointing = trainer.max_tokens, trainer.gradient_checkpointing
    if tokens is not None and checkpointing is not None:
        return trainer
    if limit is None or on_cpu(trainer):
        usual = CPU_TOKENS if limit is not None else trainer.budget()
        return replace(trainer, max_tokens=tokens or usual, gradient_checkpointing=bool(checkpointing))
    tries = [(size, again) for sizes in (USEFUL, SMALL) for again in (False, True) for size in sizes]
    open_tries = [(tokens or size, again if checkpointing is None else checkpointing) for size, again in tries]
    for size, again in dict.fromkeys(open_tries):
        found = replace(trainer, max_tokens=size, gradient_checkpointing=again)
        if peak_memory(memory_of(found, model, lengths)) <= limit:
            return found
    return found


def widest(tuning: TuningConfig) -> TuningConfig:
    """The most that can train: which layers ``auto`` takes is known once the weights are read."""
    return replace(tuning, layers=None) if tuning.layers == AUTO else tuning


def told(asked: TrainerConfig, found: TrainerConfig) -> str:
    """What was chosen, as settings; empty where nothing was open."""
    words = [f"trainer.max_tokens={found.max_tokens}"] if asked.max_tokens is None else []
    if asked.gradient_checkpointing is None:
        words.append(f"trainer.gradient_checkpointing={str(found.gradient_checkpointing).lower()}")
    return " ".join(words)


def with_choice(run: RunConfig, train: Sequence[Item]) -> tuple[RunConfig, str]:
    """A run with what its settings leave open decided for this device, and a line for its log.

    Args:
        run: as set.
        train: its training items.
    """
    from clo.model.load import shape_only
    from clo.model.tuning import apply_tuning
    from clo.training.stages import plan_stages

    if run.trainer.max_tokens is not None and run.trainer.gradient_checkpointing is not None:
        return run, ""
    stages = plan_stages(run.method, run.evaluation, run.batch_size, train, run.lang.codes())
    cells = stages[-1].objective.cells()
    lengths, limit = [packed_tokens(item, cells) for item in train], memory_limit(run.trainer)
    trainer = chosen(run.trainer, apply_tuning(shape_only(run.model), widest(run.tuning)), lengths, limit)
    device = "" if limit is None else f" for a device of {limit / 1e9:.0f} GB"
    return replace(run, trainer=trainer), f"chosen{device}: {told(run.trainer, trainer)}"


def device_here(trainer: TrainerConfig) -> Any:
    """The device that a run would take on this machine (a torch.device); none where it has none of that kind."""
    from clo.model.load import run_device

    try:
        return run_device(trainer.accelerator)
    except UserError:
        return None


def memory_limit(trainer: TrainerConfig) -> float | None:
    """Bytes of one device: as given, else of the one that is here."""
    import torch

    if trainer.memory_gb is not None:
        return trainer.memory_gb * 1e9
    device = device_here(trainer)
    if device is None:
        return None
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
