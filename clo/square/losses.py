"""What a comparison costs: pure functions of the scores of a chosen and a rejected response.

Notation: S summed log-prob under the policy, R under the reference, n tokens, of the chosen (c) and the rejected (r)
response to one prompt; C = S_c - R_c and D = S_r - R_r are what training changed. Every loss is a function of one
comparison alone, so no split into micro-batches or ranks changes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from clo.config.choices import Loss

ROUNDING = 1e-2
"""Nats that a score may fall by rounding alone; DPOP's penalty stands on its kink before the first step."""


@dataclass(frozen=True)
class Pairs:
    """Comparisons: all tensors float [B, C], B items and C comparisons of each."""

    chosen: Tensor
    """Policy's summed log-prob of the chosen response, nats."""
    rejected: Tensor
    """The same of the rejected response."""
    chosen_reference: Tensor | None = None
    """The reference's; none for losses without one."""
    rejected_reference: Tensor | None = None
    chosen_tokens: Tensor | None = None
    """Length of the response in tokens; none for losses of sums."""
    rejected_tokens: Tensor | None = None

    def changes(self) -> tuple[Tensor, Tensor]:
        """C and D, nats.

        Raises:
            ValueError: there is no reference.
        """
        if self.chosen_reference is None or self.rejected_reference is None:
            raise ValueError("comparisons by this loss need reference scores")
        return self.chosen - self.chosen_reference, self.rejected - self.rejected_reference

    def per_token(self, chosen: Tensor, rejected: Tensor) -> tuple[Tensor, Tensor]:
        """Both divided by the responses' tokens.

        Raises:
            ValueError: the lengths are not known.
        """
        if self.chosen_tokens is None or self.rejected_tokens is None:
            raise ValueError("comparisons by this loss need token counts")
        return chosen / self.chosen_tokens, rejected / self.rejected_tokens


@dataclass(frozen=True)
class Settings:
    """A loss's numbers."""

    beta: float
    """Strength; in ORPO the weight of the loss."""
    margin: float = 0.0
    """SimPO: gamma, the margin that is aimed at, in units of beta times nats per token."""
    penalty: float = 0.0
    """DPOP: lambda, the weight of what a chosen response lost."""
    label_smoothing: float = 0.0
    """sigmoid, robust: the share of comparisons that are taken to be flipped, 0 to below 0.5."""


class Compared(NamedTuple):
    """What a loss says of every comparison, [B, C]."""

    loss: Tensor
    margin: Tensor
    """For the log: above 0 where the chosen response leads, in the loss's own units."""
    pull: Tensor
    """How hard it still pulls, as a share of its hardest (of IPO, which has none: of that at margin 0)."""


def sigmoid(pairs: Pairs, how: Settings) -> Compared:
    """DPO (Rafailov et al., 2023, arXiv 2305.18290, eq. 7), the default.

    -log sigmoid(m), m = beta (C - D). With label smoothing e it is conservative DPO (Mitchell, 2023, "A note on DPO
    with noisy preferences", eq. 3): -(1 - e) log sigmoid(m) - e log sigmoid(-m), least at m = log((1 - e) / e).
    """
    chosen, rejected = pairs.changes()
    margin, e = how.beta * (chosen - rejected), how.label_smoothing
    if e == 0:
        return Compared(-logsigmoid(margin), margin, torch.sigmoid(-margin))
    loss = -(1 - e) * logsigmoid(margin) - e * logsigmoid(-margin)
    return Compared(loss, margin, (torch.sigmoid(-margin) - e).abs())


def sigmoid_norm(pairs: Pairs, how: Settings) -> Compared:
    """Length-normalised DPO (Lambert et al., 2024, Tulu 3, arXiv 2411.15124, eq. 6).

    -log sigmoid(m), m = beta (C / n_c - D / n_r).
    """
    chosen, rejected = pairs.per_token(*pairs.changes())
    margin = how.beta * (chosen - rejected)
    return Compared(-logsigmoid(margin), margin, torch.sigmoid(-margin))


def ipo(pairs: Pairs, how: Settings) -> Compared:
    """IPO (Azar et al., 2023, arXiv 2310.12036, eq. 17): (h - 1 / (2 beta))^2, beta being the paper's tau.

    h = C / n_c - D / n_r is per token, as the authors told TRL and as TRL computes it; the logged margin is beta h,
    which aims at 1/2.
    """
    chosen, rejected = pairs.per_token(*pairs.changes())
    h = chosen - rejected
    return Compared((h - 1 / (2 * how.beta)) ** 2, how.beta * h, (1 - 2 * how.beta * h).abs())


def hinge(pairs: Pairs, how: Settings) -> Compared:
    """SLiC's hinge on DPO's margin: max(0, 1 - m), m = beta (C - D).

    Zhao et al., 2023, arXiv 2305.10425, eq. 1 (L_cal), with the reference as in Liu et al., 2023, RSO,
    arXiv 2309.06657 ("hinge-norm"). A comparison of margin 1 pulls no more.
    """
    chosen, rejected = pairs.changes()
    margin = how.beta * (chosen - rejected)
    return Compared(torch.relu(1 - margin), margin, (margin < 1).to(margin.dtype))


def robust(pairs: Pairs, how: Settings) -> Compared:
    """Robust DPO (Chowdhury et al., 2024, arXiv 2403.00409): unbiased where a share e of comparisons is flipped.

    (-(1 - e) log sigmoid(m) + e log sigmoid(-m)) / (1 - 2 e), m = beta (C - D). It falls without bound.
    """
    chosen, rejected = pairs.changes()
    margin, e = how.beta * (chosen - rejected), how.label_smoothing
    loss = (-(1 - e) * logsigmoid(margin) + e * logsigmoid(-margin)) / (1 - 2 * e)
    return Compared(loss, margin, e + (1 - 2 * e) * torch.sigmoid(-margin))


def dpop(pairs: Pairs, how: Settings) -> Compared:
    """DPO-Positive (Pal et al., 2024, Smaug, arXiv 2402.13228, eq. 3): a chosen response may not lose probability.

    -log sigmoid(beta (C - D - penalty max(0, -C))). The penalty is 0 within ``ROUNDING`` nats below the start: there
    the sign of C is rounding, which differs from one split of the step to another. The margin leaves it out.
    """
    chosen, rejected = pairs.changes()
    margin = how.beta * (chosen - rejected)
    lost = torch.where(chosen < -ROUNDING, -chosen, torch.zeros_like(chosen))
    inside = margin - how.beta * how.penalty * lost
    return Compared(-logsigmoid(inside), margin, torch.sigmoid(-inside))


def apo_zero(pairs: Pairs, how: Settings) -> Compared:
    """APO-zero (D'Oosterlinck et al., 2024, arXiv 2408.06266, eq. 7): the chosen up, the rejected down.

    1 - sigmoid(beta C) + sigmoid(beta D). It is also KTO at a reference point of 0, a pair taken as two examples.
    """
    chosen, rejected = pairs.changes()
    c, d = torch.sigmoid(how.beta * chosen), torch.sigmoid(how.beta * rejected)
    return Compared(1 - c + d, how.beta * (chosen - rejected), torch.maximum(_slope(c), _slope(d)))


def apo_down(pairs: Pairs, how: Settings) -> Compared:
    """APO-down (D'Oosterlinck et al., 2024, eq. 8): both down, the rejected further.

    sigmoid(beta C) + 1 - sigmoid(m), m = beta (C - D).
    """
    chosen, rejected = pairs.changes()
    margin = how.beta * (chosen - rejected)
    c, m = torch.sigmoid(how.beta * chosen), torch.sigmoid(margin)
    return Compared(c + 1 - m, margin, torch.maximum(_slope(c), _slope(m)))


def kto_pair(pairs: Pairs, how: Settings) -> Compared:
    """KTO (Ethayarajh et al., 2024, arXiv 2402.01306, eq. 7 and 8) on pairs, without a statistic of the batch.

    1 - sigmoid(beta (C - max(0, D))) + 1 - sigmoid(beta (max(0, C) - D)), without gradient through the two reference
    points, and with equal weights of desirable and undesirable examples. KTO's reference point is the mean change of
    mismatched answers in the batch, which depends on the split of the step; here it is the change of the one other
    answer to the same prompt, KTO's own estimate from a single example.
    """
    chosen, rejected = pairs.changes()
    good = torch.sigmoid(how.beta * (chosen - rejected.detach().clamp(min=0)))
    bad = torch.sigmoid(how.beta * (chosen.detach().clamp(min=0) - rejected))
    margin = how.beta * (chosen - rejected)
    return Compared(2 - good - bad, margin, torch.maximum(_slope(good), _slope(bad)))


def simpo(pairs: Pairs, how: Settings) -> Compared:
    """SimPO (Meng et al., 2024, arXiv 2405.14734, eq. 6), without a reference.

    -log sigmoid(m - margin), m = beta (S_c / n_c - S_r / n_r).
    """
    chosen, rejected = pairs.per_token(pairs.chosen, pairs.rejected)
    margin = how.beta * (chosen - rejected)
    return Compared(-logsigmoid(margin - how.margin), margin, torch.sigmoid(how.margin - margin))


def orpo(pairs: Pairs, how: Settings) -> Compared:
    """ORPO's odds ratio term (Hong et al., 2024, arXiv 2403.07691, eq. 7), without a reference; beta is its weight.

    -beta log sigmoid(m), m = log odds(c) - log odds(r), odds = p / (1 - p), p = exp(S / n). The paper's own NLL of the
    chosen answers is the method's NLL term.
    """
    chosen, rejected = (below_one(x) for x in pairs.per_token(pairs.chosen, pairs.rejected))
    margin = (chosen - rejected) - (log1mexp(chosen) - log1mexp(rejected))
    return Compared(-how.beta * logsigmoid(margin), margin, torch.sigmoid(-margin))


def cpo(pairs: Pairs, how: Settings) -> Compared:
    """CPO's preference term (Xu et al., 2024, arXiv 2401.08417, eq. 3 to 5), without a reference.

    -log sigmoid(m), m = beta (S_c - S_r). The paper's NLL of the chosen answers is the method's NLL term.
    """
    margin = how.beta * (pairs.chosen - pairs.rejected)
    return Compared(-logsigmoid(margin), margin, torch.sigmoid(-margin))


LOSSES: dict[Loss, Callable[[Pairs, Settings], Compared]] = {
    Loss.sigmoid: sigmoid,
    Loss.sigmoid_norm: sigmoid_norm,
    Loss.ipo: ipo,
    Loss.hinge: hinge,
    Loss.robust: robust,
    Loss.dpop: dpop,
    Loss.apo_zero: apo_zero,
    Loss.apo_down: apo_down,
    Loss.kto_pair: kto_pair,
    Loss.simpo: simpo,
    Loss.orpo: orpo,
    Loss.cpo: cpo,
}


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x < 0, in the form that keeps its digits on either side of -ln 2."""
    near = x > -0.6931471805599453
    # A branch that is not taken must be finite too: its gradient is multiplied by 0, not left out.
    far_x = torch.where(near, torch.full_like(x, -1.0), x)
    near_x = torch.where(near, x, torch.full_like(x, -0.5))
    return torch.where(near, torch.log(-torch.expm1(near_x)), torch.log1p(-torch.exp(far_x)))


def below_one(logp: Tensor) -> Tensor:
    """A mean log-prob whose odds are finite: rounding can bring it to 0 and above. The gradient passes as if not."""
    return logp - (logp - logp.clamp(max=-torch.finfo(logp.dtype).eps)).detach()


def _slope(s: Tensor) -> Tensor:
    """Slope of the logistic function where it has value s, as a share of its steepest."""
    return 4 * s * (1 - s)
