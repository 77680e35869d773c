"""One stage of training: what moves, what is refused, what a device without memory does."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import (
    ATTENTION,
    DATA,
    LORA,
    difference,
    fit,
    metrics,
    random_items,
    replace_score,
    run_config,
    tuned,
    weights,
)
from torch import Tensor

import clo.training.engine
import clo.training.held_out
import clo.training.terms
from clo.config import LoraConfig, TuningConfig
from clo.config.choices import ReferenceMode, Trains
from clo.data.batch import pack
from clo.data.datamodule import StepSampler
from clo.errors import UserError
from clo.square.objective import objective_terms
from clo.square.scores import Scores, score
from clo.training.checks import check_frozen, frozen_key
from clo.training.stage_plan import StageData
from clo.training.step_zero import check_step_zero, rounding

WHOLE = [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("tuning", [ATTENTION, TuningConfig("last", layers=[-1, -1]), LORA], ids=lambda t: t.name)
def test_only_what_is_tuned_moves(tmp_path: Path, tuning: TuningConfig) -> None:
    before = {name: p.detach().clone() for name, p in tuned(tuning).named_parameters()}
    model = tuned(tuning)
    frozen = frozen_key(model)
    fit(tmp_path, run_config(tmp_path, tuning=tuning), model)
    check_frozen(frozen, frozen_key(model))
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) != parameter.requires_grad, name


def test_full_tuning_moves_every_weight(tmp_path: Path) -> None:
    tuning = TuningConfig("full", Trains.full)
    before = {name: p.detach().clone() for name, p in tuned(tuning).named_parameters()}
    model = fit(tmp_path, run_config(tmp_path, "sft", tuning))
    assert not [name for name, p in model.named_parameters() if torch.equal(p, before[name])]


def test_a_changed_frozen_weight_is_noticed() -> None:
    model = tuned()
    before = frozen_key(model)
    with torch.no_grad():
        model.model.layers[0].self_attn.q_proj.weight.add_(1)
    check_frozen(before, frozen_key(model))
    with torch.no_grad():
        model.lm_head.weight[3, 4] += 1e-6
    with pytest.raises(RuntimeError, match="frozen have changed"):
        check_frozen(before, frozen_key(model))


def plain_training(model: Any, lam: float, beta: float) -> None:
    """Eight steps of CLO in an ordinary loop: whole batches, torch's AdamW and clipping, the schedule by hand."""
    with torch.no_grad():
        reference = {item.id: score(model, pack([item], WHOLE)).S_BLK[0] for item in DATA.train}
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1.0, weight_decay=0.1)
    for step, indices in enumerate(StepSampler(len(DATA.train), 4, 8, 3)):
        items = [DATA.train[index] for index in indices]
        S, R = score(model, pack(items, WHOLE)).S_BLK, torch.stack([reference[item.id] for item in items])
        gain = S - R
        margins = torch.stack([gain[:, 0, 0] - gain[:, 0, 1], gain[:, 1, 1] - gain[:, 1, 0]])
        nll = -S[:, 1, 1].sum() / sum(len(item.responses[1]) for item in items)
        optimizer.zero_grad()
        (lam * nll - (1 - lam) * torch.nn.functional.logsigmoid(beta * margins).mean()).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.param_groups[0]["lr"] = 1e-2 * min(1.0, (8 - step) / 7)
        optimizer.step()


def test_a_run_equals_an_ordinary_training_loop(tmp_path: Path) -> None:
    expected = tuned()
    plain_training(expected, 0.7, 0.2)
    largest, mean = difference(weights(expected), weights(fit(tmp_path, run_config(tmp_path))))
    assert largest < 3e-5 and mean < 5e-7, (largest, mean)


def test_the_loss_falls(tmp_path: Path) -> None:
    fit(tmp_path, run_config(tmp_path, method_changes={"epochs": 8.0}))
    losses = [line["train/loss"] for line in metrics(tmp_path)]
    assert sum(losses[-4:]) < 0.6 * sum(losses[:4])
    assert metrics(tmp_path)[-1]["train/margin_target"] > 1


def test_three_languages_train(tmp_path: Path) -> None:
    data = StageData(random_items(9, 3), random_items(2, 3, seed=1))
    fit(tmp_path, run_config(tmp_path), data=data)
    first = metrics(tmp_path)[0]
    assert first["train/pref"] == pytest.approx(0.3 * math.log(2), rel=1e-5)
    assert len(metrics(tmp_path)) == 6


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Tensor] = {}

    def broken(call: int, model: Any, batch: Any) -> Scores:
        scores = score(model, batch)
        if call < 5:  # three passes in the measured first step, then one per step
            return scores
        seen.update(weights(model))
        return Scores(scores.S_BLK * float("nan"), scores.count_BLK)

    replace_score(monkeypatch, broken)
    model = tuned()
    with pytest.raises(UserError, match=r"stage clo is nan at step 2; lower method\.lr=0\.01"):
        fit(tmp_path, run_config(tmp_path, grad_norms_every=100), model)
    assert difference(weights(model), seen) == (0.0, 0.0)
    assert [line["step"] for line in metrics(tmp_path)] == [1, 2]


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss is fine and its gradient is not: clipping by a norm that is not a number would ruin every weight."""

    def broken(call: int, model: Any, batch: Any) -> Scores:
        scores = score(model, batch)
        total = scores.S_BLK.sum()
        return Scores(scores.S_BLK + (total - total.detach()).sqrt(), scores.count_BLK)

    replace_score(monkeypatch, broken)
    model = tuned()
    before = weights(model)
    with pytest.raises(UserError, match=r"gradient of stage clo is .* at step 0"):
        fit(tmp_path, run_config(tmp_path), model)
    assert difference(weights(model), before) == (0.0, 0.0)


def test_a_reference_of_other_weights_is_refused_at_step_zero(tmp_path: Path) -> None:
    run = run_config(tmp_path)
    fit(tmp_path / "first", run)
    (cache,) = (tmp_path / "cache" / "reference").glob("*.jsonl")
    lines = [json.loads(line) for line in cache.read_text().splitlines() if line]
    for line in lines:
        line["scores"] = [[value * 1.1 for value in row] for row in line["scores"]]
    cache.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(UserError, match=r"step 0: margin_\w+ is .*delete cache_dir"):
        fit(tmp_path / "second", run)


def test_step_zero_tolerance() -> None:
    """Nothing but rounding is let pass, and that is measured: it grows with the root of the tokens."""
    items = random_items(2)
    check_step_zero({"margin_en": 1e-3, "chosen_change_en": -9e-3, "loss": 7.0}, 0.0, items, 0.1)
    for name, value in (("margin_target", -2.1e-3), ("chosen_change_en", 1.1e-2), ("rejected_change_en", 0.127)):
        with pytest.raises(UserError, match=f"step 0: {name} is"):
            check_step_zero({name: value}, 0.0, items, 0.1)
    check_step_zero({"rejected_change_en": 0.127}, 0.05, items, 0.1)
    with pytest.raises(UserError, match="margin_en is nan"):
        check_step_zero({"margin_en": float("nan")}, 0.0, items, 0.1)


def test_rounding_is_that_of_the_model_and_its_precision() -> None:
    model, items, cells = tuned(), random_items(3), [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert rounding(model, items, cells) < 1e-5
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert 1e-4 < rounding(model, items, cells) < 0.2


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_wrong_reference_is_seen_at_step_zero_also_under_dropout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, dropout: float
) -> None:
    """Two nats in the training step's own references, where the held-out ones are right.

    In bfloat16 rounding explains .4 to .6 nats of this model, by the CPU's instructions.
    """
    tuning = TuningConfig("attention_lora", Trains.attention, LoraConfig(r=4, alpha=8.0, dropout=dropout))
    run = run_config(tmp_path, tuning=tuning, precision=precision, reference=ReferenceMode.swapped)
    fit(tmp_path / "right", run)  # dropout itself moves nothing
    real = clo.training.terms.score_with_reference

    def wrong(*args: Any) -> Any:
        policy, reference = real(*args)
        return policy, Scores(reference.S_BLK + torch.tensor([[2.0, 0.0], [0.0, 2.0]]), reference.count_BLK)

    monkeypatch.setattr(clo.training.terms, "score_with_reference", wrong)
    with pytest.raises(UserError, match="step 0: "):
        fit(tmp_path / "wrong", run)


@pytest.mark.parametrize("call", [1, 2, 5, 6])
def test_out_of_memory_halves_the_budget_and_repeats_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], call: int
) -> None:
    """Also within a step: what the step's first micro-batch, or a term's own pass, added must not count twice."""

    def full(number: int, model: Any, batch: Any) -> Scores:
        if number == call:
            raise torch.OutOfMemoryError("no memory")
        return score(model, batch)

    usual = replace_score(monkeypatch, lambda number, *args: score(*args))
    plain = fit(tmp_path / "plain", run_config(tmp_path / "plain", max_tokens=120))
    calls = replace_score(monkeypatch, full)
    model = fit(tmp_path / "full", run_config(tmp_path / "full", max_tokens=120))
    assert "trainer.max_tokens halved to 60, repeated" in capsys.readouterr().out
    assert len(calls) > len(usual) + call
    largest, mean = difference(weights(plain), weights(model))
    assert largest < 3e-5 and mean < 5e-7
    for before, after in zip(metrics(tmp_path / "plain"), metrics(tmp_path / "full"), strict=True):
        assert after["train/loss"] == pytest.approx(before["train/loss"], rel=2e-5)
        assert after["train/grad_norm"] == pytest.approx(before["train/grad_norm"], rel=1e-3)


def test_out_of_memory_for_a_single_item_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int, model: Any, batch: Any) -> Scores:
        raise torch.OutOfMemoryError("no memory")

    calls = replace_score(monkeypatch, full)
    with pytest.raises(torch.OutOfMemoryError):
        fit(tmp_path, run_config(tmp_path, max_tokens=200))
    assert calls[-1] == 1 and len(calls) < 12


def test_objective_terms_see_float32_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With bf16-mixed the sums are still float32: 8 bits would round a log-prob of -100 to halves."""
    dtypes = set()

    def spy(objective: Any, S: Tensor, R: Tensor | None, *more: Any) -> Any:
        dtypes.add((S.dtype, R.dtype if R is not None else None))
        return objective_terms(objective, S, R, *more)

    monkeypatch.setattr(clo.training.terms, "objective_terms", spy)
    monkeypatch.setattr(clo.training.held_out, "objective_terms", spy)
    model = fit(tmp_path, run_config(tmp_path, precision="bf16-mixed"))
    assert dtypes == {(torch.float32, torch.float32), (torch.float32, None)}  # the NLL alone has no reference
    assert all(tensor.dtype == torch.float32 for tensor in weights(model).values())


@pytest.mark.parametrize("name", ["clo", "sft", "sft_dpo"])
@pytest.mark.parametrize("tuning", [ATTENTION, LORA], ids=lambda t: t.name)
def test_checkpointed_activations_change_nothing(tmp_path: Path, name: str, tuning: TuningConfig) -> None:
    """Every step measures both terms: layers are made again in each backward pass."""
    found = [
        fit(tmp_path / str(on), run_config(tmp_path / str(on), name, tuning, gradient_checkpointing=on, **every))
        for on, every in ((False, {}), (True, {"grad_norms_every": 1}))
    ]
    assert difference(weights(found[0]), weights(found[1]))[0] < 3e-6
    assert not any(module.training for module in found[1].modules())


def test_devices_that_meet_in_every_pass_stop_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Halving the budget on one of them would leave the others waiting for ever."""
    monkeypatch.setattr(clo.training.engine.Engine, "lockstep", True)

    def full(model: Any, items: Any, cells: Any, max_tokens: int, alone: bool) -> Any:
        assert not alone
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(clo.training.terms, "score_within", full)
    with pytest.raises(UserError, match=r"out of memory with trainer\.max_tokens=8192 on one of the devices"):
        fit(tmp_path, run_config(tmp_path))
