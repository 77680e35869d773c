"""Every loss against TRL's own code, arithmetic by hand, and what it must do: signs, saturation, no NaN, no batch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from composed import composed, run_of
from omegaconf import OmegaConf
from tiny_runs import DATA, METHODS, difference, fit, method, metrics, random_items, run_config, weights
from torch import Tensor

import clo.training.stages
from clo.config.choices import Cells, Loss, Prompts, ReferenceMode
from clo.config.effect import check_effect, read_by
from clo.config.losses import FACTS
from clo.config.parse import parse
from clo.errors import UserError
from clo.square.losses import LOSSES, ROUNDING, Compared, Pairs, Settings, log1mexp
from clo.square.objective import Objective, objective_terms
from clo.study.outcome import assumed_values
from clo.training.stages import StageData

HOW = {loss: Settings(beta=0.4, margin=0.7, penalty=3.0, label_smoothing=0.1) for loss in Loss}
HOW |= {Loss.sigmoid: replace(HOW[Loss.sigmoid], label_smoothing=0.0)}
FREE = [loss for loss in Loss if not FACTS[loss].reference]


def random_pairs(seed: int = 0, shape: tuple[int, int] = (6, 2), dtype: torch.dtype = torch.float64) -> Pairs:
    """Scores of 1 to 9 tokens at -0.05 to -3 nats each, the reference up to 6 nats away."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator, dtype=dtype)

    tokens = [torch.randint(1, 10, shape, generator=generator) for _ in range(2)]
    scores = [-uniform(0.05, 3.0) * n for n in tokens]
    references = [s + uniform(-6, 6) for s in scores]
    return Pairs(*(s.requires_grad_() for s in scores), *references, *tokens)


def with_gradients(value: Tensor, pairs: Pairs) -> list[Tensor]:
    gradients = torch.autograd.grad(value.sum(), [pairs.chosen, pairs.rejected], materialize_grads=True)
    return [value.detach().sum(), *gradients]


def ours(loss: Loss, pairs: Pairs, how: Settings | None = None) -> Compared:
    return LOSSES[loss](pairs, how or HOW[loss])


# Against TRL ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["sigmoid", "sigmoid_norm", "ipo", "hinge", "robust", "apo_zero", "apo_down"])
def test_losses_of_the_dpo_trainer(loss: str) -> None:
    """Value and gradient, float64, its own code on the same scores and lengths."""
    pytest.importorskip("trl")
    import trl_losses

    pairs, how = random_pairs(), HOW[Loss[loss]]
    theirs = trl_losses.dpo(loss, pairs, how.beta, how.label_smoothing) * pairs.chosen.numel()
    torch.testing.assert_close(
        with_gradients(ours(Loss[loss], pairs).loss, pairs), with_gradients(theirs, pairs), rtol=1e-12, atol=1e-13
    )


def test_conservative_dpo_cpo_and_simpo_of_the_cpo_trainer() -> None:
    """Its sigmoid loss on changes in place of scores is conservative DPO, which its DPOTrainer no longer has."""
    pytest.importorskip("trl")
    import trl_losses

    pairs, how = random_pairs(), HOW[Loss.robust]
    theirs = {
        Loss.sigmoid: trl_losses.cpo("sigmoid", *pairs.changes(), how.beta, label_smoothing=how.label_smoothing),
        Loss.cpo: trl_losses.cpo("sigmoid", pairs.chosen, pairs.rejected, how.beta),
        Loss.simpo: trl_losses.cpo(
            "simpo", *pairs.per_token(pairs.chosen, pairs.rejected), how.beta, simpo_gamma=how.margin
        ),
    }
    for loss, value in theirs.items():
        found = with_gradients(ours(loss, pairs, how).loss, pairs)
        torch.testing.assert_close(found, with_gradients(value, pairs), rtol=1e-12, atol=1e-13)


def test_orpo_of_the_orpo_trainer() -> None:
    """Which goes by way of float32."""
    pytest.importorskip("trl")
    import trl_losses

    pairs = random_pairs()
    theirs = trl_losses.orpo(*pairs.per_token(pairs.chosen, pairs.rejected), 0.4)
    found, wanted = (with_gradients(x, pairs) for x in (ours(Loss.orpo, pairs).loss, theirs.double()))
    torch.testing.assert_close(found, wanted, rtol=2e-5, atol=1e-6)


def test_kto_of_the_kto_trainer() -> None:
    """Each pair as two examples in batches of one, whose KL estimate is the change of the pair's other answer."""
    pytest.importorskip("trl")
    import trl_losses

    pairs = random_pairs(shape=(7, 1))
    (c, r, rc, rr) = (getattr(pairs, f.name)[:, 0] for f in fields(Pairs)[:4])
    theirs = torch.stack(
        [
            trl_losses.kto(c[k], rc[k], r[k], rr[k], True) + trl_losses.kto(r[k], rr[k], c[k], rc[k], False)
            for k in range(7)
        ]
    )
    assert ((c - rc > 0) & (r - rr > 0)).any() and ((c - rc < 0) & (r - rr < 0)).any()
    torch.testing.assert_close(
        with_gradients(ours(Loss.kto_pair, pairs).loss, pairs), with_gradients(theirs, pairs), rtol=1e-12, atol=1e-13
    )


# By hand --------------------------------------------------------------------------------------------------------------


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def log_odds(mean: float) -> float:
    return mean - math.log(1 - math.exp(mean))


BY_HAND: dict[Loss, Callable[[float, float, float, float], float]] = {
    # of the changes c, d and the mean log-probs p, q; 2 tokens chosen, 4 rejected; beta 0.4
    Loss.sigmoid: lambda c, d, p, q: math.log(1 + math.exp(-0.4 * (c - d))),
    Loss.sigmoid_norm: lambda c, d, p, q: math.log(1 + math.exp(-0.4 * (c / 2 - d / 4))),
    Loss.ipo: lambda c, d, p, q: (c / 2 - d / 4 - 1.25) ** 2,
    Loss.hinge: lambda c, d, p, q: max(0.0, 1 - 0.4 * (c - d)),
    Loss.robust: lambda c, d, p, q: (
        (-0.9 * math.log(logistic(0.4 * (c - d))) + 0.1 * math.log(logistic(-0.4 * (c - d)))) / 0.8
    ),
    Loss.dpop: lambda c, d, p, q: -math.log(logistic(0.4 * (c - d - 3 * max(0.0, -c)))),
    Loss.apo_zero: lambda c, d, p, q: 1 - logistic(0.4 * c) + logistic(0.4 * d),
    Loss.apo_down: lambda c, d, p, q: logistic(0.4 * c) + 1 - logistic(0.4 * (c - d)),
    Loss.kto_pair: lambda c, d, p, q: (
        1 - logistic(0.4 * (c - max(0.0, d))) + 1 - logistic(0.4 * (max(0.0, c) - d))
    ),
    Loss.simpo: lambda c, d, p, q: -math.log(logistic(0.4 * (p - q) - 0.7)),
    Loss.orpo: lambda c, d, p, q: -0.4 * math.log(logistic(log_odds(p) - log_odds(q))),
    Loss.cpo: lambda c, d, p, q: -math.log(logistic(0.4 * (2 * p - 4 * q))),
}  # fmt: skip


@pytest.mark.parametrize("loss", Loss, ids=lambda loss: loss.name)
@pytest.mark.parametrize(("c", "d"), [(1.5, -2.0), (-1.5, 0.5), (2.0, 3.0), (-2.0, -3.0)])
def test_every_loss_by_hand(loss: Loss, c: float, d: float) -> None:
    p, q = -0.5, -1.25
    pairs = pairs_of(2 * p, 4 * q, 2 * p - c, 4 * q - d)
    assert float(ours(loss, pairs).loss) == pytest.approx(BY_HAND[loss](c, d, p, q), rel=1e-12)


def pairs_of(chosen: float, rejected: float, chosen_reference: float, rejected_reference: float) -> Pairs:
    """One comparison of 2 chosen and 4 rejected tokens."""
    scores = [torch.tensor([[x]], dtype=torch.float64) for x in (chosen, rejected)]
    references = [torch.tensor([[x]], dtype=torch.float64) for x in (chosen_reference, rejected_reference)]
    return Pairs(*(s.requires_grad_() for s in scores), *references, torch.tensor([[2]]), torch.tensor([[4]]))


def test_numbers_by_hand() -> None:
    """At c = 1, d = -1: DPO at beta 0.5 is log(1 + 1/e) = 0.3132617; hinge 0; IPO (1/2 + 1/4 - 1)^2 = 1/16.

    SimPO on means -1/2 and -1 at beta 2, margin 1: log(1 + e^0) = 0.6931472. ORPO: odds 0.6065307 / 0.3934693 =
    1.541494 and 0.3678794 / 0.6321206 = 0.5819767, ratio 2.648721, log(1 + 1 / 2.648721) = 0.3202998.
    """
    pairs = pairs_of(-1.0, -4.0, -2.0, -3.0)
    half, two = Settings(0.5), Settings(2.0, margin=1.0)
    wanted = {Loss.sigmoid: 0.3132617, Loss.hinge: 0.0, Loss.ipo: 1 / 16}
    assert {loss: float(ours(loss, pairs, half).loss) for loss in wanted} == pytest.approx(wanted, abs=1e-7)
    assert float(ours(Loss.simpo, pairs, two).loss) == pytest.approx(0.6931472, abs=1e-7)
    assert float(ours(Loss.orpo, pairs, Settings(1.0)).loss) == pytest.approx(0.3202998, abs=1e-7)


# What a loss must do --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", Loss, ids=lambda loss: loss.name)
def test_a_chosen_answer_is_raised_and_a_rejected_one_lowered(loss: Loss) -> None:
    """But for APO-down, whose chosen answers may fall, and IPO, which pulls back beyond its target."""
    pairs = random_pairs(1, (40, 2))
    found = ours(loss, pairs)
    _, up, down = with_gradients(found.loss, pairs)
    short = found.margin < 0.5 if loss is Loss.ipo else torch.ones_like(found.margin, dtype=torch.bool)
    assert (down[short] >= 0).all() and (loss is Loss.apo_down or (up[short] <= 0).all())
    assert (down > 0).any() and (up < 0).any()
    if loss is Loss.ipo:
        assert (up[~short] > 0).all() and (~short).any()


def test_apo_down_lowers_both_and_the_rejected_more() -> None:
    _, up, down = with_gradients(ours(Loss.apo_down, start := pairs_of(-1, -4, -1, -4)).loss, start)
    assert float(up) == 0 and float(down) > 0
    _, up, down = with_gradients(ours(Loss.apo_down, late := pairs_of(-1, -14, -1, -4)).loss, late)
    assert float(up) > float(down) > 0


def test_dpop_turns_round_where_a_chosen_answer_lost_probability() -> None:
    """Its gradient on the chosen is 1 + penalty times DPO's pull; within rounding of the start it is DPO's."""
    lost, kept = pairs_of(-3, -9, -1, -4), pairs_of(-1, -9, -1 + ROUNDING / 2, -4)
    _, up, down = with_gradients(ours(Loss.dpop, lost).loss, lost)
    assert float(-up / down) == pytest.approx(1 + HOW[Loss.dpop].penalty)
    assert [float(x) for x in with_gradients(ours(Loss.dpop, kept).loss, kept)] == [
        float(x) for x in with_gradients(ours(Loss.sigmoid, kept).loss, kept)
    ]


@pytest.mark.parametrize("loss", Loss, ids=lambda loss: loss.name)
def test_pull_is_the_gradient(loss: Loss) -> None:
    """A comparison that is called saturated has a gradient near 0, and one that pulls has not."""
    scale = {Loss.ipo: HOW[loss].beta, Loss.dpop: 1 + HOW[loss].penalty}.get(loss, 1.0)
    seen = set()
    for ahead in (0.0, 1.0, 4.0, 30.0, 300.0):
        pairs = pairs_of(-1.0, -3.0 - ahead, -1.0 - ahead, -3.0)
        found = ours(loss, pairs)
        slope = max(float(x.abs()) for x in with_gradients(found.loss, pairs)[1:])
        assert (slope == 0) == (float(found.pull) == 0) or slope < 1e-30
        if float(found.pull) < 0.01:
            assert slope < 0.01 * 4 * scale
            seen.add(ahead)
    assert bool(seen) == (loss not in (Loss.ipo, Loss.robust))  # whose pull never ends


@pytest.mark.parametrize("loss", Loss, ids=lambda loss: loss.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extremes_stay_finite(loss: Loss, dtype: torch.dtype) -> None:
    """Scores of 0 (a probability of 1, and a rounding above it) to -5000 nats, in value and gradient."""
    values = torch.tensor([1e-7, 0.0, -1e-12, -1e-7, -1.0, -5000.0], dtype=dtype)
    chosen, rejected, chosen_reference, rejected_reference = torch.cartesian_prod(*[values] * 4).T[:, None]
    pairs = Pairs(
        chosen.clone().requires_grad_(), rejected.clone().requires_grad_(), chosen_reference, rejected_reference,
        torch.full_like(chosen, 3), torch.full_like(chosen, 5),
    )  # fmt: skip
    found = ours(loss, pairs)
    assert all(torch.isfinite(x).all() for x in (*found, *with_gradients(found.loss, pairs)))


def test_log1mexp_keeps_its_digits() -> None:
    x = torch.tensor([-1e-15, -1e-9, -1e-3, -0.6931, -0.6932, -1.0, -30.0, -700.0], dtype=torch.float64)
    wanted = [math.log(-math.expm1(v)) if v > -0.69 else math.log1p(-math.exp(v)) for v in x.tolist()]
    torch.testing.assert_close(log1mexp(x), torch.tensor(wanted, dtype=torch.float64), rtol=1e-13, atol=0)


def test_an_answer_of_probability_one_is_still_pushed_down() -> None:
    pairs = pairs_of(-1.0, 0.0, 0, 0)
    assert float(with_gradients(ours(Loss.orpo, pairs).loss, pairs)[2]) > 0


@pytest.mark.parametrize("loss", Loss, ids=lambda loss: loss.name)
def test_margins_tell_who_leads(loss: Loss) -> None:
    """In the loss's own units: changes, changes per token, scores, or scores per token."""
    pairs = random_pairs(2)
    lead: Any = pairs.changes() if loss not in FREE else (pairs.chosen, pairs.rejected)
    if loss in (Loss.ipo, Loss.sigmoid_norm, Loss.simpo, Loss.orpo):
        lead = pairs.per_token(*lead)
    assert ((ours(loss, pairs).margin > 0) == (lead[0] > lead[1])).all()


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
        float(ours(loss, Pairs(S[b, i, i], S[b, i, j], R[b, i, i], R[b, i, j], count[b, i, i], count[b, i, j])).loss)
        for b in range(7)
        for i, j in objective.comparisons()
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

    monkeypatch.setattr(clo.training.stages, "_references", refuse)
    monkeypatch.setattr(clo.training.stages, "snapshot", refuse)
    monkeypatch.setattr("clo.training.module.score_with_reference", refuse)
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
        (["method=sft", "method.loss=ipo"], "method.loss has no effect .* method=clo, clo_en_nll or sft_dpo;"),
        (["method=sft", "method.label_smoothing=0.1"], "method.label_smoothing has no effect"),
        (["method.loss=orpo", "trainer.reference=swapped"], "trainer.reference has no .* method.loss=sigmoid;"),
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
