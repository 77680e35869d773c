"""Losses of the comparisons inside the objective, in a run, and in the configuration."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from composed import composed, run_of
from omegaconf import OmegaConf
from tiny_runs import DATA, METHODS, difference, fit, method, metrics, random_items, run_config, weights

import clo.training.stages
from clo.config.choices import Cells, Loss, Prompts, ReferenceMode
from clo.config.effect import check_effect, read_by
from clo.config.losses import FACTS
from clo.config.parse import parse
from clo.errors import UserError
from clo.square.losses import LOSSES, Pairs, Settings
from clo.square.objective import Objective, objective_terms
from clo.study.outcome import assumed_values
from clo.training.stage_plan import StageData

HOW = {loss: Settings(beta=0.4, margin=0.7, penalty=3.0, label_smoothing=0.1) for loss in Loss}
HOW |= {Loss.sigmoid: replace(HOW[Loss.sigmoid], label_smoothing=0.0)}
FREE = [loss for loss in Loss if not FACTS[loss].reference]


# In the objective -----------------------------------------------------------------------------------------------------


def objective_of(loss: Loss, languages: int = 2) -> Objective:
    how = HOW[loss]
    given = {f.name: getattr(how, f.name) for f in fields(Settings)}
    return Objective(languages, Cells.target, Prompts.both, 0.3, **given, loss_name=loss)


@pytest.mark.parametrize("loss", Loss, ids=lambda loss: loss.name)
def test_parts_of_a_step_add_up(loss: Loss) -> None:
    objective, items = objective_of(loss, 3), random_items(7, 3)
    generator = torch.Generator().manual_seed(5)
    S, R = (-9 * torch.rand(7, 3, 3, generator=generator, dtype=torch.float64) - 0.1 for _ in range(2))
    count = torch.tensor([[[len(r) for r in item.responses]] * 3 for item in items], dtype=torch.float64)
    denominators = objective.denominators(items)
    whole = objective.loss(objective_terms(objective, S, R, count), denominators)
    slices = [slice(0, 1), slice(1, 4), slice(4, 7)]
    parts = [objective.loss(objective_terms(objective, S[k], R[k], count[k]), denominators) for k in slices]
    assert float(sum(parts)) == pytest.approx(float(whole), rel=1e-13)
    by_hand = sum(
        float(
            LOSSES[loss](
                Pairs(S[b, i, i], S[b, i, j], R[b, i, i], R[b, i, j], count[b, i, i], count[b, i, j]), HOW[loss]
            ).loss
        )
        for b in range(7)
        for i, _, j, *_ in objective.comparisons()
    )
    assert float(objective_terms(objective, S, R, count).preference_sum) == pytest.approx(by_hand, rel=1e-12)


def test_the_default_is_what_it_was() -> None:
    """Bit for bit, with the gradient: -logsigmoid of beta times the difference of the changes."""
    generator = torch.Generator().manual_seed(0)
    S, R = (-9 * torch.rand(5, 2, 2, generator=generator) for _ in range(2))
    S.requires_grad_()
    found = objective_terms(METHODS["dpo"], S, R).preference_sum
    change = S - R
    margin = 0.5 * torch.stack([change[:, 0, 0] - change[:, 0, 1], change[:, 1, 1] - change[:, 1, 0]], 1)
    wanted = -torch.nn.functional.logsigmoid(margin).sum()
    assert torch.equal(found, wanted)
    assert torch.equal(torch.autograd.grad(found, S)[0], torch.autograd.grad(wanted, S)[0])


def test_what_a_loss_lacks_is_said() -> None:
    S = torch.zeros(1, 2, 2)
    with pytest.raises(ValueError, match="token counts"):
        objective_terms(objective_of(Loss.simpo), S)
    with pytest.raises(ValueError, match="reference"):
        objective_terms(objective_of(Loss.ipo), S, None, S + 1)
    logged = objective_terms(objective_of(Loss.cpo), S).metrics
    assert {*logged} == {"saturated", "margin_en", "margin_target", "accuracy_en", "accuracy_target"}


# In a run -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", Loss, ids=lambda loss: loss.name)
def test_training_does_not_depend_on_the_split(loss: Loss, tmp_path: Path) -> None:
    """Micro-batches of one or two items and whole steps end in the same weights; comparisons are learnt."""
    found = []
    for tokens in (40, 2000):
        run = run_config(tmp_path / str(tokens), method_changes={"loss": loss}, max_tokens=tokens)
        found.append(weights(fit(tmp_path / str(tokens), run, data=StageData(DATA.train, DATA.train))))
    assert difference(*found)[0] < 5e-4
    lines = metrics(tmp_path / "2000", "val")
    assert all(math.isfinite(v) for line in lines for v in line.values() if isinstance(v, float))
    if loss is not Loss.apo_down:
        assert lines[-1]["val/margin_target"] > lines[0]["val/margin_target"]


@pytest.mark.parametrize("loss", FREE, ids=lambda loss: loss.name)
def test_a_loss_without_reference_makes_none(loss: Loss, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a reference was made")

    monkeypatch.setattr(clo.training.stages, "stage_references", refuse)
    monkeypatch.setattr(clo.training.stages, "snapshot", refuse)
    monkeypatch.setattr("clo.training.terms.score_with_reference", refuse)
    for mode in ("cached", "swapped"):
        fit(tmp_path / mode, run_config(tmp_path / mode, method_changes={"loss": loss}, reference=ReferenceMode[mode]))
    text = (tmp_path / "cached" / "metrics.jsonl").read_text(encoding="utf-8")
    assert not list((tmp_path / "cached").rglob("reference")) and "chosen_change" not in text
    assert json.loads(text.splitlines()[0])


# In the configuration -------------------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_papers() -> None:
    found = {}
    for loss in Loss:
        m = run_of(f"method.loss={loss.name}").method
        found[loss.name] = (m.beta, m.margin, m.penalty, m.label_smoothing)
    assert found == {
        "sigmoid": (0.1, None, None, None), "sigmoid_norm": (5.0, None, None, None), "ipo": (0.1, None, None, None),
        "hinge": (0.1, None, None, None), "robust": (0.1, None, None, 0.1), "dpop": (0.3, None, 50.0, None),
        "apo_zero": (0.1, None, None, None), "apo_down": (0.1, None, None, None), "kto_pair": (0.1, None, None, None),
        "simpo": (2.0, 1.0, None, None), "orpo": (0.1, None, None, None), "cpo": (0.1, None, None, None),
    }  # fmt: skip
    assert run_of("method.loss=simpo", "method.beta=2.5").method.beta == 2.5
    assert run_of("method.loss=hinge", "model.recipe.beta=0.3").method.beta == 0.3


def test_names_hold_the_loss_and_leave_the_default_as_it_was() -> None:
    assert run_of("method.loss=sigmoid").slug() == run_of().slug()
    assert run_of("method.loss=simpo", "method.margin=1").slug() == run_of("method.loss=simpo").slug()
    words = ["loss=ipo", "loss=robust", "label_smoothing=0.1", "loss=cpo"]
    assert len({run_of(f"method.{word}").slug() for word in words} | {run_of().slug()}) == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method.margin=1"], "method.margin has no effect here: it is read with method.loss=simpo;"),
        (["method.loss=ipo", "method.label_smoothing=0.1"], "method.label_smoothing has no .* method.loss=sigmoid;"),
        (["method.loss=simpo", "method.penalty=5"], "method.penalty has no effect .* read with method.loss=dpop;"),
        (
            ["method=sft", "method.loss=ipo"],
            "method.loss has no effect .* method=clo, clo_en_nll, sft_dpo or sft_dpo_pairs;",
        ),
        (["method=sft", "method.label_smoothing=0.1"], "method.label_smoothing has no effect"),
        (["method.loss=orpo", "trainer.reference=swapped"], "trainer.reference has no .* method.loss=sigmoid or "),
        (["method.anchor_top=3"], "method.anchor_top has no effect here: it is read with method.anchor=kl;"),
    ],
)
def test_settings_without_effect_are_refused(words: list[str], said: str) -> None:
    whole = composed(*words)
    cfg = OmegaConf.masked_copy(whole, [key for key in whole if key != "hydra"])
    with pytest.raises(UserError, match=said):
        check_effect(words, read_by(parse(cfg), cfg), cfg)


def test_what_a_loss_does_not_read_leaves_the_run_as_it_is() -> None:
    assert run_of("method.margin=1").slug() == run_of().slug()
    assert run_of("method=sft", "method.loss=robust") == run_of("method=sft")
    assert run_of("method.loss=orpo", "trainer.reference=swapped").trainer.reference is ReferenceMode.cached


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method.loss=simpo", "method.margin=-1"], "method.margin .* at least 0, or null, got -1"),
        (["method.loss=dpop", "method.penalty=0"], "method.penalty .* above 0, got 0"),
        (["method.label_smoothing=0.5"], r"method.label_smoothing .* in \[0, 0.5\), got 0.5"),
        (["method.loss=robust", "method.label_smoothing=0"], "is method.loss=sigmoid; set that"),
        (["method.against=[yo]"], r"method.against is all, source, or a list .* \(en, sw\), got \['yo'\]"),
    ],
)
def test_impossible_values_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        run_of(*words)


def test_results_name_what_is_assumed_of_a_loss() -> None:
    plain = assumed_values(run_of())
    assert {*assumed_values(run_of("method.loss=simpo"))} - {*plain} == {"margin"}
    assert {*assumed_values(run_of("method.anchor=kl"))} - {*plain} == {"anchor_weight", "anchor_top"}


def test_adapters_off_is_no_matter_without_a_reference() -> None:
    assert run_of("method.loss=cpo", "trainer.reference=adapters_off").method.loss is Loss.cpo
    assert method(loss=Loss.simpo).margin == 1.0
