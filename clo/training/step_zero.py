"""Before the first update policy and reference are one model: how far rounding alone may take them apart.

The rounding is this model's own, seen on one item that is scored in two ways: packed and padded, or alone and beside a
longer one where a model is not packed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from clo.data.batch import Cell, pack, pad
from clo.data.items import Item
from clo.errors import UserError
from clo.square.objective import Terms
from clo.square.scores import packs, score, without_dropout

FACTOR = 4.0
"""Roundings that a difference of two scores, each made in another order, may show."""
LEAST = 1e-2
"""Nats that no model is asked to keep: float32 sums of some hundred terms."""


@torch.no_grad()
def rounding(model: Any, items: Sequence[Item], cells: Sequence[Cell]) -> float:
    """Largest difference of a cell's score between two ways to it, nats per root of a token.

    Args:
        model: on its device, in the precision of the run.
        items: the first is scored; the longest is its company where the model is not packed.
        cells: to score.
    """
    first, device = items[0], next(model.parameters()).device
    others = [first, max(items, key=Item.longest)]
    with without_dropout(model):
        a = score(model, pad([first], cells).to(device))
        b = score(model, (pack([first], cells) if packs(model, first) else pad(others, cells)).to(device))
    wanted = tuple(torch.tensor(first.present(cells)).T)
    found = (a.S_BLK[0] - b.S_BLK[0]).abs()[wanted] / a.count_BLK[0][wanted].sqrt()
    return float(found.max())


def undrawn(model: Any, metrics: Mapping[str, float], terms: Callable[[], Terms]) -> Mapping[str, float]:
    """The metrics of a step; where dropout drew in it, those of ``terms`` without it."""
    if not any(isinstance(module, torch.nn.Dropout) and module.training for module in model.modules()):
        return metrics
    with torch.no_grad(), without_dropout(model):
        return {name: float(total / count) for name, (total, count) in terms().metrics.items() if count}


def check_step_zero(metrics: Mapping[str, float], rounded: float, items: Sequence[Item], beta: float) -> None:
    """Margins are 0 (DPO's loss is ln 2), and no score has changed.

    Args:
        metrics: of a step or of held-out items, without dropout.
        rounded: see `rounding`.
        items: that the metrics are of.
        beta: strength of the comparisons.

    Raises:
        UserError: something is not 0: the reference was made from other weights, data or precision.
    """
    longest = max(len(response) for item in items for response in item.responses if response)
    apart = max(LEAST, FACTOR * rounded * math.sqrt(longest))
    for name, value in metrics.items():
        bounds = {"margin_": 2 * beta * apart, "chosen_change_": apart, "rejected_change_": apart}
        allowed = next((bound for kind, bound in bounds.items() if name.startswith(kind)), None)
        if allowed is not None and not abs(value) <= allowed:  # refuses NaN too
            raise UserError(
                f"step 0: {name} is {value:.4g}, not 0 (rounding explains {allowed:.2g}), so the reference is not the "
                "start model; delete cache_dir and run again where the reference is cached, else set "
                "trainer.reference=cached"
            )
