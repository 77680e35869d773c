"""What training logs: terms, gradient norms, steps, the held-out square."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_runs import (
    DATA,
    difference,
    fit,
    metrics,
    run_config,
    tuned,
    weights,
)
from torch import Tensor

from clo.config import OptimizerConfig
from clo.config.choices import Schedule
from clo.data.batch import pack
from clo.data.datamodule import StepSampler
from clo.square.objective import square_metrics
from clo.square.scores import score

WHOLE = [(0, 0), (0, 1), (1, 0), (1, 1)]


def first_step_gradients(lam: float, beta: float) -> tuple[list[Tensor], list[Tensor], dict[str, float]]:
    """Weighted gradients of both terms at the first step, each by itself over the whole batch, and the step's metrics.

    The reference is the start model, so margins are 0 here.
    """
    items = [DATA.train[index] for index in next(iter(StepSampler(len(DATA.train), 4, 8, 3)))]
    model = tuned()
    trained = [p for p in model.parameters() if p.requires_grad]
    S = score(model, pack(items, WHOLE)).S_BLK
    tokens = sum(len(item.responses[1]) for item in items)
    nll = -lam * S[:, 1, 1].sum() / tokens
    both = torch.stack([S[:, 0, 0] - S[:, 0, 1], S[:, 1, 1] - S[:, 1, 0]])
    pref = -(1 - lam) * torch.nn.functional.logsigmoid(beta * (both - both.detach())).mean()
    gradients = [list(torch.autograd.grad(term, trained, retain_graph=True)) for term in (nll, pref)]
    return gradients[0], gradients[1], {"loss": float(nll + pref), "nll": float(nll), "pref": float(pref)}


def norm(tensors: list[Tensor]) -> float:
    return float(torch.cat([t.flatten().double() for t in tensors]).norm())


@pytest.mark.parametrize("max_tokens", [1, 8192])
def test_terms_and_gradient_norms_equal_separate_ones(tmp_path: Path, max_tokens: int) -> None:
    nll, pref, values = first_step_gradients(0.7, 0.2)
    fit(tmp_path, run_config(tmp_path, max_tokens=max_tokens))
    first = metrics(tmp_path)[0]
    for name, value in values.items():
        assert first[f"train/{name}"] == pytest.approx(value, rel=1e-5)
    assert values["pref"] == pytest.approx(0.3 * math.log(2), rel=1e-5)
    assert first["train/grad_norm_nll"] == pytest.approx(norm(nll), rel=1e-4)
    assert first["train/grad_norm_pref"] == pytest.approx(norm(pref), rel=1e-4)
    whole = [a + b for a, b in zip(nll, pref, strict=True)]
    assert first["train/grad_norm"] == pytest.approx(norm(whole), rel=1e-4)


def test_measuring_gradient_norms_changes_nothing(tmp_path: Path) -> None:
    often = fit(tmp_path / "a", run_config(tmp_path / "a", grad_norms_every=1))
    seldom = fit(tmp_path / "b", run_config(tmp_path / "b", grad_norms_every=5))
    assert difference(weights(often), weights(seldom)) == (0.0, 0.0)
    measured = [line["step"] for line in metrics(tmp_path / "b") if "train/grad_norm_pref" in line]
    assert measured == [1, 6]
    assert all("train/grad_norm_nll" in line for line in metrics(tmp_path / "a"))


def test_steps_epochs_and_learning_rates(tmp_path: Path) -> None:
    """Peak 1e-2 over 8 steps, one of them warm-up, then linear: step k has (9 - k) / 7 of the peak."""
    fit(tmp_path, run_config(tmp_path))
    lines = metrics(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert [line["epoch"] for line in lines] == [k / 4 for k in range(1, 9)]
    assert [line["train/lr"] for line in lines] == pytest.approx([0.01 * min(1, (9 - k) / 7) for k in range(1, 9)])
    assert [line["step"] for line in metrics(tmp_path, "val")] == [0, 4, 8]


@pytest.mark.parametrize(("warmup", "risen"), [(0.0, 1), (0.4, 3)])
def test_a_constant_rate(tmp_path: Path, warmup: float, risen: int) -> None:
    run = run_config(tmp_path)
    fit(tmp_path, replace(run, optimizer=OptimizerConfig(warmup, Schedule.constant)))
    rates = [line["train/lr"] for line in metrics(tmp_path)]
    assert rates == pytest.approx([0.01 * min(1, k / risen) for k in range(1, 9)])


def test_log_every_keeps_the_last_step(tmp_path: Path) -> None:
    fit(tmp_path, run_config(tmp_path, log_every=3))
    assert [line["step"] for line in metrics(tmp_path)] == [1, 4, 7, 8]


def test_names_of_a_method_without_comparisons(tmp_path: Path) -> None:
    fit(tmp_path, run_config(tmp_path, "sft"))
    assert not [key for line in metrics(tmp_path) for key in line if "margin" in key or "pref" in key]
    last = metrics(tmp_path, "val")[-1]
    assert {key for key in last if key.startswith("val/")} == {
        "val/logp_en_en", "val/logp_en_target", "val/logp_target_en", "val/logp_target_target",
        "val/nll_en", "val/nll_target",
    }  # fmt: skip


def test_validation_scores_the_held_out_square_without_training_on_it(tmp_path: Path) -> None:
    start, model = tuned(), fit(tmp_path, run_config(tmp_path))
    with torch.no_grad():
        before, after = (score(m, pack(DATA.val, WHOLE)) for m in (start, model))
    for line, scores in ((metrics(tmp_path, "val")[0], before), (metrics(tmp_path, "val")[-1], after)):
        mean = scores.S_BLK.sum(0) / scores.count_BLK.sum(0)
        assert line["val/logp_en_target"] == pytest.approx(float(mean[0, 1]), rel=1e-5)
        assert line["val/nll_target"] == pytest.approx(-float(mean[1, 1]), rel=1e-5)
    change = after.S_BLK - before.S_BLK
    margins = 0.2 * (change[:, 1, 1] - change[:, 1, 0])
    last = metrics(tmp_path, "val")[-1]
    assert last["val/margin_target"] == pytest.approx(float(margins.mean()), abs=1e-4)
    assert last["val/accuracy_target"] == pytest.approx(float((margins > 0).float().mean()))
    assert last["val/rejected_change_en"] == pytest.approx(float(change[:, 0, 1].mean()), abs=1e-3)


def test_square_metrics_pool_tokens_and_further_languages() -> None:
    """Languages 1 and 2 are both "target"; (1, 2) and (2, 1) compare two targets and are left out."""
    S = torch.tensor([[[-1.0, -2.0, -3.0], [-4.0, -5.0, -6.0], [-7.0, -8.0, -9.0]]])
    count = torch.tensor([[[1.0, 2.0, 4.0]] * 3])
    assert square_metrics(S, count) == pytest.approx(
        {
            "logp_en_en": -1.0, "logp_en_target": -5 / 6, "logp_target_en": -11 / 2,
            "logp_target_target": -14 / 6, "nll_en": 1.0, "nll_target": 14 / 6,
        }
    )  # fmt: skip


def test_validation_in_bfloat16_sees_the_weights_after_the_step(tmp_path: Path) -> None:
    """Autocast keeps casts of the weights for as long as a step lasts; validation must not read them."""
    model = fit(tmp_path, run_config(tmp_path, "sft", precision="bf16-mixed"))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        scores = score(model, pack(DATA.val, WHOLE))
    mean = scores.S_BLK.sum(0) / scores.count_BLK.sum(0)
    assert metrics(tmp_path, "val")[-1]["val/nll_target"] == pytest.approx(-float(mean[1, 1]), rel=1e-6)
