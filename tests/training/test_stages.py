"""Stages in their order, and what a stage keeps: checkpoints, trained weights."""

from __future__ import annotations

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

from clo.config import LoraConfig, TuningConfig
from clo.config.choices import Prompts, ReferenceMode, Trains
from clo.config.parse import RunConfig
from clo.data.batch import pack
from clo.errors import UserError
from clo.model.tuning import ledger
from clo.square.scores import Scores, score
from clo.training.checkpoint import SafetensorsIO, load_trained, newest_checkpoint
from clo.training.stage_plan import StagePlan
from clo.training.stages import plan_stages

WHOLE = [(0, 0), (0, 1), (1, 0), (1, 1)]


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
        if call == 7:  # three passes in the measured first step, then one per step
            raise KeyError("killed")
        return score(model, batch)

    replace_score(monkeypatch, broken)
    with pytest.raises(KeyError):
        fit(tmp_path, run_config(tmp_path, grad_norms_every=100))
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
    exact = float((scores.S_BLK.sum(0) / scores.count_BLK.sum(0))[1, 1])
    assert lines[-1]["val/nll_target"] == pytest.approx(-exact, rel=1e-5)
    plain = fit(tmp_path / "plain", run_config(tmp_path / "plain", "sft_dpo", LORA))
    assert difference(weights(model), weights(plain))[0] > 1e-3
