"""One stage of training: what moves, what is measured, what is refused, what is kept."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
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
    run_config,
    tuned,
    weights,
)
from torch import Tensor

import clo.training.module
from clo.config import LoraConfig, TuningConfig
from clo.config.choices import Prompts, ReferenceMode, Trains
from clo.config.parse import RunConfig
from clo.data.batch import pack
from clo.data.datamodule import StepSampler
from clo.errors import UserError
from clo.model.tuning import ledger
from clo.square.objective import objective_terms, square_metrics
from clo.square.scores import Scores, score
from clo.training.checkpoint import SafetensorsIO, load_trained, newest_checkpoint
from clo.training.checks import check_frozen, check_step_zero, frozen_key
from clo.training.stage_plan import StagePlan
from clo.training.stages import StageData, plan_stages

WHOLE = [(0, 0), (0, 1), (1, 0), (1, 1)]


def replace_score(monkeypatch: pytest.MonkeyPatch, change: Callable[[int, Any, Any], Scores]) -> list[int]:
    """Replace training's scoring by ``change(number of the call, model, batch)``."""
    calls: list[int] = []

    def changed(model: Any, batch: Any) -> Scores:
        calls.append(batch.size)
        return change(len(calls), model, batch)

    monkeypatch.setattr(clo.training.module, "score", changed)
    return calls


# What trains ---------------------------------------------------------------------------------------------------------


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
        reference = {item.id: score(model, pack([item], WHOLE)).S_BLL[0] for item in DATA.train}
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1.0, weight_decay=0.1)
    for step, indices in enumerate(StepSampler(len(DATA.train), 4, 8, 3)):
        items = [DATA.train[index] for index in indices]
        S, R = score(model, pack(items, WHOLE)).S_BLL, torch.stack([reference[item.id] for item in items])
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


# What is logged ------------------------------------------------------------------------------------------------------


def first_step_gradients(lam: float, beta: float) -> tuple[list[Tensor], list[Tensor], dict[str, float]]:
    """Weighted gradients of both terms at the first step, each by itself over the whole batch, and the step's metrics.

    The reference is the start model, so margins are 0 here.
    """
    items = [DATA.train[index] for index in next(iter(StepSampler(len(DATA.train), 4, 8, 3)))]
    model = tuned()
    trained = [p for p in model.parameters() if p.requires_grad]
    S = score(model, pack(items, WHOLE)).S_BLL
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
        mean = scores.S_BLL.sum(0) / scores.count_BLL.sum(0)
        assert line["val/logp_en_target"] == pytest.approx(float(mean[0, 1]), rel=1e-5)
        assert line["val/nll_target"] == pytest.approx(-float(mean[1, 1]), rel=1e-5)
    change = after.S_BLL - before.S_BLL
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


def test_three_languages_train(tmp_path: Path) -> None:
    data = StageData(random_items(9, 3), random_items(2, 3, seed=1))
    fit(tmp_path, run_config(tmp_path), data=data)
    first = metrics(tmp_path)[0]
    assert first["train/pref"] == pytest.approx(0.3 * math.log(2), rel=1e-5)
    assert len(metrics(tmp_path)) == 6


# What is refused -----------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Tensor] = {}

    def broken(call: int, model: Any, batch: Any) -> Scores:
        scores = score(model, batch)
        if call < 3:
            return scores
        seen.update(weights(model))
        return Scores(scores.S_BLL * float("nan"), scores.count_BLL)

    replace_score(monkeypatch, broken)
    model = tuned()
    with pytest.raises(UserError, match=r"stage clo is nan at step 2; lower method\.lr=0\.01"):
        fit(tmp_path, run_config(tmp_path), model)
    assert difference(weights(model), seen) == (0.0, 0.0)
    assert [line["step"] for line in metrics(tmp_path)] == [1, 2]


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss is fine and its gradient is not: clipping by a norm that is not a number would ruin every weight."""

    def broken(call: int, model: Any, batch: Any) -> Scores:
        scores = score(model, batch)
        total = scores.S_BLL.sum()
        return Scores(scores.S_BLL + (total - total.detach()).sqrt(), scores.count_BLL)

    replace_score(monkeypatch, broken)
    model = tuned()
    before = weights(model)
    with pytest.raises(UserError, match=r"gradient of stage clo is .* at step 0"):
        fit(tmp_path, run_config(tmp_path), model)
    assert difference(weights(model), before) == (0.0, 0.0)


def test_a_reference_of_other_weights_is_refused_at_step_zero(tmp_path: Path) -> None:
    run = run_config(tmp_path)
    fit(tmp_path / "first", run)
    (cache,) = (tmp_path / "cache" / "reference").iterdir()
    lines = [json.loads(line) for line in cache.read_text().splitlines() if line]
    for line in lines:
        line["scores"] = [[value * 1.1 for value in row] for row in line["scores"]]
    cache.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(UserError, match=r"step 0: margin_\w+ is .*delete the reference cache"):
        fit(tmp_path / "second", run)


def test_step_zero_tolerance() -> None:
    check_step_zero({"margin_en": 9e-4, "margin_target": -9e-4, "loss": 7.0}, 1e-3)
    with pytest.raises(UserError, match=r"margin_target is -0\.0011"):
        check_step_zero({"margin_en": 0.0, "margin_target": -1.1e-3}, 1e-3)
    with pytest.raises(UserError, match="margin_en is nan"):
        check_step_zero({"margin_en": float("nan")}, 1e-3)


# Out of memory -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [1, 2])
def test_out_of_memory_halves_the_budget_and_repeats_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], call: int
) -> None:
    """Call 2 is within a step: what the step's first micro-batch added must not count twice."""

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


# Stages and checkpoints ----------------------------------------------------------------------------------------------


def test_plan_of_two_stages(tmp_path: Path) -> None:
    def planned(run: RunConfig) -> list[StagePlan]:
        return plan_stages(run.method, run.evaluation, run.batch_size, random_items(14))

    first, second = planned(run_config(tmp_path, "sft_dpo", method_changes={"epochs": 1.0, "lr": 3e-3}))
    assert (first.name, first.total_steps, first.lr) == ("sft", 8, 1e-2)
    assert (second.name, second.total_steps, second.lr) == ("dpo", 4, 3e-3)
    assert first.objective.nll_cells() == [(0, 0), (1, 1)] and not first.objective.comparisons()
    assert not second.objective.nll_cells() and second.objective.preference is Prompts.both
    (only,) = planned(run_config(tmp_path))
    assert (only.name, only.total_steps, only.steps_per_epoch) == ("clo", 8, 4)


@pytest.mark.parametrize("reference", [ReferenceMode.cached, ReferenceMode.swapped])
def test_the_second_stage_compares_with_the_end_of_the_first(tmp_path: Path, reference: ReferenceMode) -> None:
    """Its first margins are 0 although the weights have moved, and its loss starts at ln 2."""
    fit(tmp_path, run_config(tmp_path, "sft_dpo", reference=reference))
    second = [line for line in metrics(tmp_path) if line["stage"] == "dpo"]
    assert second[0]["train/pref"] == pytest.approx(math.log(2), abs=1e-4)
    assert second[0]["train/loss"] == second[0]["train/pref"]
    assert second[-1]["train/pref"] < second[0]["train/pref"]


def test_validation_in_bfloat16_sees_the_weights_after_the_step(tmp_path: Path) -> None:
    """Autocast keeps casts of the weights for as long as a step lasts; validation must not read them."""
    model = fit(tmp_path, run_config(tmp_path, "sft", precision="bf16-mixed"))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        scores = score(model, pack(DATA.val, WHOLE))
    mean = scores.S_BLL.sum(0) / scores.count_BLL.sum(0)
    assert metrics(tmp_path, "val")[-1]["val/nll_target"] == pytest.approx(-float(mean[1, 1]), rel=1e-6)


@pytest.mark.parametrize("tuning", [ATTENTION, LORA], ids=lambda t: t.name)
def test_a_checkpoint_holds_what_trains_and_its_optimizer(tmp_path: Path, tuning: TuningConfig) -> None:
    model = fit(tmp_path, run_config(tmp_path, tuning=tuning))
    (path,) = (tmp_path / "checkpoint" / "1-clo").iterdir()
    held = SafetensorsIO().load_checkpoint(path)
    trained = {f"model.{name}" for name in weights(model)}
    assert set(held["state_dict"]) == trained
    (optimizer,) = held["optimizer_states"]
    moments = [m for state in optimizer["state"].values() for key, m in state.items() if key != "step"]
    assert sum(m.numel() for m in moments) == 2 * ledger(model).trains()
    assert path.stat().st_size < 3 * 4 * ledger(model).trains() + 64 * 1024


def test_a_checkpoint_of_another_base_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(call: int, model: Any, batch: Any) -> Scores:
        if call == 5:
            raise KeyError("killed")
        return score(model, batch)

    replace_score(monkeypatch, broken)
    with pytest.raises(KeyError):
        fit(tmp_path, run_config(tmp_path))
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"step4\.safetensors was trained from another base model; delete"):
        fit(tmp_path, run_config(tmp_path), tuned(model_seed=1))
    assert newest_checkpoint(tmp_path / "nothing", "x") is None


def test_trained_weights_of_another_tuning_are_refused(tmp_path: Path) -> None:
    fit(tmp_path, run_config(tmp_path))
    with pytest.raises(UserError, match="another base or tuning"):
        load_trained(tuned(LORA), tmp_path / "checkpoint" / "1-clo.safetensors")
    with pytest.raises(UserError, match="another base or tuning"):
        load_trained(tuned(layers=3), tmp_path / "checkpoint" / "1-clo.safetensors")


def test_a_finished_stage_is_loaded_and_not_trained_again(tmp_path: Path) -> None:
    first = fit(tmp_path, run_config(tmp_path))
    lines = metrics(tmp_path)
    again = fit(tmp_path, run_config(tmp_path))
    assert difference(weights(first), weights(again)) == (0.0, 0.0)
    assert metrics(tmp_path) == lines


# Adapters with dropout -----------------------------------------------------------------------------------------------


def test_dropout_acts_in_training_only(tmp_path: Path) -> None:
    """References and the held-out square are scored without it, also where the adapters are no longer zero."""
    tuning = TuningConfig("dropout", Trains.attention, LoraConfig(r=4, alpha=8.0, dropout=0.5))
    model = fit(tmp_path, run_config(tmp_path, "sft_dpo", tuning))
    lines = metrics(tmp_path, "val")
    end_of_first = next(line for line in lines if (line["stage"], line["step"]) == ("sft", 8))
    start_of_second = next(line for line in lines if (line["stage"], line["step"]) == ("dpo", 0))
    assert end_of_first["val/nll_target"] == pytest.approx(start_of_second["val/nll_target"], rel=1e-6)
    for module in model.modules():
        module.training = False
    with torch.no_grad():
        scores = score(model, pack(DATA.val, WHOLE))
    exact = float((scores.S_BLL.sum(0) / scores.count_BLL.sum(0))[1, 1])
    assert lines[-1]["val/nll_target"] == pytest.approx(-exact, rel=1e-5)
    plain = fit(tmp_path / "plain", run_config(tmp_path / "plain", "sft_dpo", LORA))
    assert difference(weights(model), weights(plain))[0] > 1e-3


def test_objective_terms_see_float32_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With bf16-mixed the sums are still float32: 8 bits would round a log-prob of -100 to halves."""
    dtypes = set()

    def spy(objective: Any, S: Tensor, R: Tensor | None = None) -> Any:
        dtypes.add((S.dtype, R.dtype if R is not None else None))
        return objective_terms(objective, S, R)

    monkeypatch.setattr(clo.training.module, "objective_terms", spy)
    model = fit(tmp_path, run_config(tmp_path, precision="bf16-mixed"))
    assert dtypes == {(torch.float32, torch.float32)}
    assert all(tensor.dtype == torch.float32 for tensor in weights(model).values())
