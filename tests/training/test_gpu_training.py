"""The training loop on a GPU: the steps of a CPU in float32, plain, checkpointed and compiled. Never in CI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import ATTENTION, LORA, fit, metrics, run_config, tuned

from clo.config import TuningConfig
from clo.config.choices import ReferenceMode
from clo.training.optimizer import adamw

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is visible")]
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "checkpointed": {"gradient_checkpointing": True},
    "compiled": {"compile": True},
    "both": {"gradient_checkpointing": True, "compile": True},
    "swapped": {"reference": ReferenceMode.swapped},
    "small passes": {"max_tokens": 100},
}


def losses(folder: Path, **trainer: Any) -> list[float]:
    tuning = trainer.pop("tuning", ATTENTION)
    fit(folder, run_config(folder, "sft_dpo", tuning, grad_norms_every=3, **trainer), tuned(tuning))
    return [
        value for line in metrics(folder) for key, value in line.items() if key in ("train/loss", "train/grad_norm")
    ]


@pytest.mark.parametrize("tuning", [ATTENTION, LORA], ids=lambda t: t.name)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_steps_are_those_of_a_cpu(tmp_path: Path, way: str, tuning: TuningConfig, precision: str) -> None:
    expected = losses(tmp_path / "cpu", tuning=tuning)
    found = losses(tmp_path / "gpu", tuning=tuning, accelerator="gpu", precision=precision, **WAYS[way])
    if precision == "32-true":
        assert found == pytest.approx(expected, rel=2e-3)
    else:  # a tiny model at this rate takes rounding further in every step
        assert len(found) == len(expected)
        assert found[:6] == pytest.approx(expected[:6], rel=6e-2)


def test_the_optimizer_is_one_kernel() -> None:
    from clo.config import OptimizerConfig

    weight = torch.nn.Parameter(torch.zeros(4, 4, device="cuda"))
    assert adamw([weight], OptimizerConfig(), 1e-3).defaults["fused"]


def test_a_half_precision_head_hands_out_float32_logits() -> None:
    """Logits of about 40 rounded to bfloat16 would be off by up to .13 nats each."""
    from clo.square.head import token_log_probs

    torch.manual_seed(0)
    head = torch.nn.Linear(256, 5000, bias=False, device="cuda", dtype=torch.bfloat16)
    hidden = torch.randn(300, 256, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    with torch.no_grad():
        head.weight.mul_(40)
    head.requires_grad_(False)
    targets = torch.randint(5000, (300,), device="cuda")
    found = token_log_probs(head, hidden, targets)
    exact_hidden = hidden.detach().double().requires_grad_()
    exact = (exact_hidden @ head.weight.double().T).log_softmax(1).gather(1, targets[:, None])[:, 0]
    assert float((found.double() - exact).abs().max()) < 2e-4
    found.sum().backward()
    exact.sum().backward()
    assert hidden.grad is not None and exact_hidden.grad is not None
    error = (hidden.grad.double() - exact_hidden.grad).norm() / exact_hidden.grad.norm()
    assert float(error) < 5e-3
