"""Every loss against TRL's own code, arithmetic by hand, and what it must do: signs, saturation, no NaN, no batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from clo.config.choices import Loss
from clo.config.losses import FACTS
from clo.square.losses import LOSSES, ROUNDING, Compared, Pairs, Settings, log1mexp

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
    pytest.importorskip("trl", reason="its losses are the oracle; pip install trl")
    import trl_losses

    pairs, how = random_pairs(), HOW[Loss[loss]]
    theirs = trl_losses.dpo(loss, pairs, how.beta, how.label_smoothing) * pairs.chosen.numel()
    torch.testing.assert_close(
        with_gradients(ours(Loss[loss], pairs).loss, pairs), with_gradients(theirs, pairs), rtol=1e-12, atol=1e-13
    )


def test_conservative_dpo_cpo_and_simpo_of_the_cpo_trainer() -> None:
    """Its sigmoid loss on changes in place of scores is conservative DPO, which its DPOTrainer no longer has."""
    pytest.importorskip("trl", reason="its losses are the oracle; pip install trl")
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
    pytest.importorskip("trl", reason="its losses are the oracle; pip install trl")
    import trl_losses

    pairs = random_pairs()
    theirs = trl_losses.orpo(*pairs.per_token(pairs.chosen, pairs.rejected), 0.4)
    found, wanted = (with_gradients(x, pairs) for x in (ours(Loss.orpo, pairs).loss, theirs.double()))
    torch.testing.assert_close(found, wanted, rtol=2e-5, atol=1e-6)


def test_kto_of_the_kto_trainer() -> None:
    """Each pair as two examples in batches of one, whose KL estimate is the change of the pair's other answer."""
    pytest.importorskip("trl", reason="its losses are the oracle; pip install trl")
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
