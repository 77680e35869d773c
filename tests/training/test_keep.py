"""``trainer.keep=best``: the rule by hand, the weights that it keeps, and a stage that is broken off at any step."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from report_fixture import write_run
from scripted_validations import ENGLISH, TARGET, telling
from tiny_runs import fit, run_config, weights
from torch import Tensor
from warm_runs import Ended, WarmRuns, tiny

from clo.config import EvaluationConfig
from clo.config.choices import Keep
from clo.config.parse import RunConfig
from clo.errors import UserError
from clo.report.collect import collect
from clo.report.summary import build
from clo.training.checkpoint import read_tensors
from clo.training.keep import Seen, choose
from clo.training.module import CLOModule


def seen(target: dict[int, float] = TARGET, english: dict[int, float] = ENGLISH) -> list[Seen]:
    return [Seen(step, target[step], english[step]) for step in target]


def test_the_rule_by_hand() -> None:
    kept = choose(seen(), 0.02)
    assert (kept.step, kept.of) == (6, 8)
    assert kept.rule == (
        "lowest held-out target NLL (2.000) of the 6 of 8 validations whose English NLL is at most 1.020, 1.02 times "
        "the start's"
    )
    assert choose(seen(), 0.03).step == 7 and choose(seen(), 1.0).step == 8
    worse = {step: 2.0 + abs(step - 5) for step in ENGLISH} | {0: 1.0}
    kept = choose(seen(english=worse), 0.02)
    assert kept.step == 5 and kept.rule.startswith("no validation has an English NLL of at most 1.020")
    assert choose([Seen(0, 1, 1), Seen(1, 3, 1), Seen(2, 3, 1)], 0.0).step == 1, "of equals the earliest"
    assert choose([Seen(0, 0.1, 1), Seen(1, 3, 1)], 0.0).step == 1, "the start is no choice"
    assert choose([Seen(0, 1, 1), Seen(1, math.inf, 1), Seen(2, 3, 1)], 0.0).step == 2


def best(folder: Path, name: str = "clo", **trainer: Any) -> RunConfig:
    run = run_config(folder, name, keep=Keep.best, **{"checkpoints": 2, **trainer})
    return replace(run, evaluation=EvaluationConfig(validations=8))


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> dict[int, dict[str, Tensor]]:
    """Validations say TARGET and ENGLISH; returns the weights of every step as they were then."""
    at: dict[int, dict[str, Tensor]] = {}
    told = telling(CLOModule._held_out)

    def noted(self: CLOModule) -> dict[str, float]:
        at[self.global_step] = weights(self.model)
        return told(self)

    monkeypatch.setattr(CLOModule, "_held_out", noted)
    return at


def tensors(path: Path) -> dict[str, Tensor]:
    return read_tensors(path)[0]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.safetensors") if "cache" not in path.parts)


def test_kept_and_last_weights_lie_side_by_side(tmp_path: Path, scripted: dict[int, dict[str, Tensor]]) -> None:
    fit(tmp_path, best(tmp_path))
    assert same(tensors(tmp_path / "checkpoint/1-clo.safetensors"), scripted[6])
    assert same(tensors(tmp_path / "checkpoint/last-1-clo.safetensors"), scripted[8])
    assert left(tmp_path) == ["1-clo.safetensors", "last-1-clo.safetensors", "step8.safetensors"]
    model = fit(tmp_path, best(tmp_path))
    assert same(weights(model), scripted[6]), "a finished stage is loaded as it is kept"


def test_of_two_stages_the_rule_is_the_last_ones(tmp_path: Path, scripted: dict[int, dict[str, Tensor]]) -> None:
    fit(tmp_path / "last", run_config(tmp_path / "last", "sft_dpo", checkpoints=2))
    fit(tmp_path / "best", best(tmp_path / "best", "sft_dpo"))
    first = "checkpoint/1-sft.safetensors"
    assert same(tensors(tmp_path / "best" / first), tensors(tmp_path / "last" / first))
    assert same(tensors(tmp_path / "best/checkpoint/2-dpo.safetensors"), scripted[6])
    assert [name for name in left(tmp_path / "best") if name.startswith("last-")] == ["last-2-dpo.safetensors"]


def broken_off(folder: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that stops after ``step`` steps."""
    real = CLOModule.training_step

    def broken(self: CLOModule, *batch: Any) -> None:
        if self.global_step == step:
            raise RuntimeError("stopped")
        real(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(CLOModule, "training_step", broken)
        with pytest.raises(RuntimeError, match="stopped"):
            fit(folder, best(folder))


@pytest.mark.parametrize("step", [2, 5, 8])
def test_broken_off_at_any_step_it_keeps_the_same(
    step: int, tmp_path: Path, scripted: dict[int, dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the step trains; the stage goes on from its checkpoint at step 4, or from its start."""
    broken_off(tmp_path, step - 1, monkeypatch)
    fit(tmp_path, best(tmp_path))
    assert same(tensors(tmp_path / "checkpoint/1-clo.safetensors"), scripted[6])
    assert same(tensors(tmp_path / "checkpoint/last-1-clo.safetensors"), scripted[8])
    assert not [name for name in left(tmp_path) if name.startswith("kept")]


def test_a_choice_that_does_not_come_again_costs_nothing(
    tmp_path: Path, scripted: dict[int, dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 6 was preferred before the kill and is not after it (rounding on a GPU): step 3 is still there."""
    broken_off(tmp_path, 7, monkeypatch)
    assert {"kept3.safetensors", "kept6.safetensors"} <= set(left(tmp_path))
    third = scripted[3]
    monkeypatch.setitem(TARGET, 6, 3.3)
    fit(tmp_path, best(tmp_path))
    assert same(tensors(tmp_path / "checkpoint/1-clo.safetensors"), third)
    assert "kept6.safetensors" not in left(tmp_path)


def test_today_s_way_leaves_what_it_left(tmp_path: Path, scripted: dict[int, dict[str, Tensor]]) -> None:
    fit(tmp_path, run_config(tmp_path, checkpoints=2))
    assert left(tmp_path) == ["1-clo.safetensors", "step8.safetensors"]
    assert same(tensors(tmp_path / "checkpoint/1-clo.safetensors"), scripted[8])


def test_a_tolerance_below_0_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="keep_tolerance"):
        run_config(tmp_path, keep_tolerance=-0.1)


KILLS = (
    ("clo.study.outcome:model_card", 1),
    ("clo.evaluation.evaluate:generate", 4),
    ("clo.training.keep:write_tensors", 1),
)
ASKED = (
    "trainer.keep=best",
    "evaluation.validations=4",
    "trainer.checkpoints=4",
    "method.steps=8",
)


def results(place: Path) -> tuple[Path, dict[str, Any]]:
    (run,) = (place / "outputs" / "runs").iterdir()
    found = json.loads((run / "results.json").read_text(encoding="utf-8"))
    found["train"].pop("seconds")
    return run, found


def test_a_run_scores_both_and_leaves_the_kept_model(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    """English is lost towards the end, so the kept step is an earlier one; killed at its end, the same comes out."""

    def ran(place: Path, kill: dict[str, Any] | None = None) -> Ended:
        place.mkdir(exist_ok=True)
        return warm.run(tiny(tiny_folder, place, *ASKED), place, kill, before="scripted_validations:install")

    ended = ran(tmp_path / "a")
    assert ended.code == 0, ended.err
    run, found = results(tmp_path / "a")
    kept = found["train"]["kept"]
    assert (kept["step"], kept["of"], found["last"]["step"]) == (6, 8, 8)
    assert f"kept: step 6 of 8, {kept['rule']}" in ended.out
    assert found["last"]["scores"] != found["scores"] and found["last"]["square"] != found["square"]["after"]
    assert (run / "last_samples.jsonl").is_file() and not (run / "last").exists()
    stored = tensors(run / "checkpoint/1-clo.safetensors")
    model = tensors(run / "model/model.safetensors")
    assert all(torch.equal(model[name], own) for name, own in stored.items())
    for number, (at, call) in enumerate(KILLS):
        place = tmp_path / str(number)
        assert ran(place, kill={"at": at, "call": call}).code != 0
        assert ran(place).code == 0
        other, again = results(place)
        assert again == found and not (other / "last").exists()
        assert (other / "last_samples.jsonl").read_bytes() == (run / "last_samples.jsonl").read_bytes()
    assert warm.run([f"run={run}"], tmp_path, command="evaluate").code == 0
    assert results(tmp_path / "a")[1]["last"] == found["last"]


def test_the_table_shows_both(tmp_path: Path) -> None:
    for seed in (0, 1):
        path = write_run(tmp_path / "s", "sw", "clo", 100, seed, {"trainer.keep": "best"})
        told = json.loads((path / "results.json").read_text(encoding="utf-8"))
        told["last"] = {"step": 8, "scores": json.loads(json.dumps(told["scores"]))}
        told["last"]["scores"]["target"]["all"]["chrf"] = 12.5
        (path / "results.json").write_text(json.dumps(told), encoding="utf-8")
    _, kept, last = build(collect("s", tmp_path)).rows
    assert (kept.label, last.label, last.n) == ("CLO", "CLO: last weights", 2)
    assert last.cells["target_chrf"].mean == 12.5 and last.cells["target_chrf"].half == 0.0
    assert kept.cells["target_chrf"].mean != 12.5
