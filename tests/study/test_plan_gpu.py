"""The plan's memory against the exact peak of a step at Llama-3-8B's shape, on a GPU of shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fake_gpu
import pytest
import torch
from fake_gpu_step import LLAMA_3_8B

from clo.config import TrainerConfig, TuningConfig
from clo.model.tuning import apply_tuning
from clo.study.plan_choice import chosen, told
from clo.study.plan_memory import memory_of

STEP = Path(fake_gpu.__file__).with_name("fake_gpu_step.py")
GPU: dict[str, Any] = {"accelerator": "gpu", "precision": "bf16-mixed"}


def llama(layers: int) -> Any:
    from transformers import AutoModelForCausalLM, LlamaConfig

    with torch.device("meta"):
        config = LlamaConfig(**LLAMA_3_8B, num_hidden_layers=layers)
        return apply_tuning(AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16), TuningConfig())


@pytest.mark.parametrize(
    ("layers", "checkpointing"),
    [
        pytest.param(2, False, marks=pytest.mark.slow),
        (2, True),
        pytest.param(32, False, marks=pytest.mark.slow),
        pytest.param(32, True, marks=pytest.mark.slow),
    ],
)
def test_the_plan_counts_every_buffer(layers: int, checkpointing: bool) -> None:
    step = fake_gpu.run(STEP, layers=layers, checkpointing=checkpointing)
    trainer = TrainerConfig(**GPU, max_tokens=step["tokens"], gradient_checkpointing=checkpointing)
    parts = memory_of(trainer, llama(layers), [step["tokens"] // 15] * 100)
    assert sum(parts.values()) == pytest.approx(step["peak"], rel=0.03)
    casts = 2 * sum(p.numel() for p in llama(layers).parameters() if p.requires_grad)
    assert parts["weights"] - casts + parts["optimizer"] == pytest.approx(step["static"], rel=1e-6)


@pytest.mark.parametrize(
    ("memory", "compile", "choice"),
    [
        (141, True, "trainer.max_tokens=16384 trainer.gradient_checkpointing=false"),
        (80, True, "trainer.max_tokens=8192 trainer.gradient_checkpointing=false"),
        (80, False, "trainer.max_tokens=4096 trainer.gradient_checkpointing=false"),
        (48, True, "trainer.max_tokens=16384 trainer.gradient_checkpointing=true"),
    ],
)
def test_what_is_left_open_fits(memory: int, compile: bool, choice: str) -> None:
    """The largest useful passes; where even small ones of them do not fit, activations are made again."""
    asked = TrainerConfig(**GPU, compile=compile, max_tokens=None, gradient_checkpointing=None)
    found = chosen(asked, llama(32), [546] * 1000, memory * 1e9)
    assert told(asked, found) == choice
    given = TrainerConfig(**GPU, max_tokens=4096, gradient_checkpointing=None)
    assert told(given, chosen(given, llama(32), [546] * 1000, 48e9)) == "trainer.gradient_checkpointing=true"
    set_all = TrainerConfig(**GPU, max_tokens=4096, gradient_checkpointing=False)
    assert chosen(set_all, llama(32), [546] * 1000, 1e9) is set_all and told(set_all, set_all) == ""


def test_a_cpu_takes_its_usual_passes() -> None:
    asked = TrainerConfig(max_tokens=None, gradient_checkpointing=None)
    assert told(asked, chosen(asked, None, [546], 16e9)) == (
        "trainer.max_tokens=1024 trainer.gradient_checkpointing=false"
    )
