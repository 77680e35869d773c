"""``trainer.precision=auto``: the precision of a run, decided from the model and the processor before it has a name.

What is decided stands in the run's configuration, and so in its name and its results: two machines that decide
otherwise make different runs.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import lru_cache

from clo.config.machine import TrainerConfig
from clo.config.rates import size_of
from clo.config.science import ModelConfig

SMALL = 0.1
"""Billions of parameters below which `auto` is float32 without a measurement: such a model is quick either way."""
FASTER = 1.5
"""Times that bfloat16 must be as fast as float32 to be taken: below, its rounding buys too little."""


def decide(trainer: TrainerConfig, model: ModelConfig) -> tuple[str, str]:
    """What `auto` means for a run: (precision, the model's dtype).

    float32 for a model whose ``dtype`` says so and for small ones (`SMALL`); else bfloat16 on a GPU that has units for
    it, and on a CPU that multiplies it faster (`FASTER`). Weights that would be stored in half are then loaded in
    float32 where float32 is decided.

    Args:
        trainer: its accelerator counts.
        model: path, size and dtype.
    """
    if _is_float32(model):
        return "32-true", model.dtype
    if gain(trainer.accelerator) >= FASTER:
        return "bf16-mixed", model.dtype
    return "32-true", "float32" if model.dtype == "auto" else model.dtype


def told(asked: tuple[str, str], trainer: TrainerConfig, model: ModelConfig) -> str | None:
    """A sentence on what a measurement has decided; none where nothing was measured.

    Args:
        asked: the precision and the model's dtype as they were asked for.
        trainer: with the precision that was decided.
        model: with the dtype that was decided.
    """
    precision, dtype = asked
    if precision != "auto" or _is_float32(replace(model, dtype=dtype)):
        return None
    found = gain(trainer.accelerator)
    if found == float("inf"):
        return None
    return (
        f"trainer.precision=auto is {trainer.precision}: bfloat16 products take {1 / found:.2f} of float32's time here"
    )


def _is_float32(model: ModelConfig) -> bool:
    size = model.size or size_of(model.path)
    return model.dtype == "float32" or (size is not None and size < SMALL)


@lru_cache
def gain(accelerator: str) -> float:
    """How many times as fast bfloat16 is as float32: infinite or 0 on a GPU by its kind, measured on a CPU's core."""
    import torch

    if accelerator == "gpu" or (accelerator == "auto" and torch.cuda.is_available()):
        old = torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 0)
        return 0.0 if old else float("inf")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        a = torch.ones(256, 1024)
        b = torch.ones(1024, 1024)
        halves = a.bfloat16(), b.bfloat16()
        seconds: dict[str, list[float]] = {"float": [], "half": []}
        for _ in range(12):  # in turns, the best of each, in time of this thread: other processes disturb both
            for name, (x, y) in (("float", (a, b)), ("half", halves)):
                began = time.thread_time()
                x @ y
                seconds[name].append(time.thread_time() - began)
        return min(seconds["float"]) / min(seconds["half"])
    finally:
        torch.set_num_threads(before)
