"""Ranking the responses to a prompt (LambdaLoss), as CRPO does it: pairs weighed by what their exchange would cost.

    loss of a prompt = sum over pairs, gain_i > gain_j, of D_ij · -log sigmoid(s_i - s_j)
    D_ij = (gain_i - gain_j) · |1 / log2(1 + rank_i) - 1 / log2(1 + rank_j)|
    s = beta (S - R), rank = 1 + the number of the prompt's responses with a higher s

CRPO (arXiv 2608.23149) ranks four candidates with gains 9, 7, 5, 4; its text was not available in full, so the rest is
assumed: the form of Liu et al., 2024, LiPO, arXiv 2402.01878, eq. 8 (after Wang et al., 2018, LambdaLoss), with the
gains as they are (not 2^gain - 1), the discount of DCG to base 2, the sum over pairs, the mean over prompts, and no
gradient through D. A prompt's loss depends on that prompt's responses alone: no split of the step changes it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from clo.square.comparisons import Comparison
from clo.square.losses import ROUNDING, Compared, Pairs


def ranked(pairs: Pairs, weights: Tensor, beta: float) -> Compared:
    """The loss of every pair; those of a prompt add up to the prompt's.

    Args:
        pairs: the chosen one has the higher gain.
        weights: D, see `exchange_costs`, of the pairs' shape.
        beta: strength.
    """
    chosen, rejected = pairs.changes()
    margin = beta * (chosen - rejected)
    return Compared(weights * -logsigmoid(margin), margin, torch.sigmoid(-margin))


def exchange_costs(comparisons: Sequence[Comparison], change_BLK: Tensor, there_BLK: Tensor | None) -> Tensor:
    """D of every comparison, [B, C], without gradient.

    Changes that differ by no more than `ROUNDING` are a tie, which goes to the higher gain: where training starts all
    are equal but for rounding, and that differs from one split of the step to another.

    Args:
        comparisons: C of them, those of one prompt best first: its candidates are ranked together.
        change_BLK: S - R, nats.
        there_BLK: bool, the cells that are there; none where all are. Absent ones take no rank.
    """
    change_BLK = change_BLK.detach()
    if there_BLK is not None:
        change_BLK = change_BLK.masked_fill(~there_BLK, -torch.inf)
    discounts: dict[tuple[int, int], Tensor] = {}
    for prompt in dict.fromkeys(one.prompt for one in comparisons):
        mine = [one for one in comparisons if one.prompt == prompt]
        order = list(dict.fromkeys([*(one.chosen for one in mine), *(one.rejected for one in mine)]))
        change_BN = torch.stack([change_BLK[:, prompt, candidate] for candidate in order], 1)
        apart_BNN = change_BN[:, None, :] - change_BN[:, :, None]  # [b, i, k]: how far k is above i
        earlier_NN = torch.ones(len(order), len(order), device=change_BN.device).tril(-1).bool()
        above_BNN = (apart_BNN > ROUNDING) | ((apart_BNN.abs() <= ROUNDING) & earlier_NN)
        discount_BN = 1 / torch.log2(2 + above_BNN.sum(2).to(change_BN.dtype))
        discounts |= {(prompt, candidate): discount_BN[:, n] for n, candidate in enumerate(order)}
    costs = [one.gap * (discounts[one.prompt, one.chosen] - discounts[one.prompt, one.rejected]) for one in comparisons]
    return torch.stack(costs, 1).abs()
