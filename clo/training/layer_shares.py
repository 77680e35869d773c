"""Which layers a method would change most: each layer's share of the squared gradient norm at the start weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from clo.config import TrainerConfig, TuningConfig
from clo.data.items import Item
from clo.errors import UserError
from clo.model.tuning import layer_of, trained_parameters
from clo.square.attention import packed
from clo.square.objective import Objective, objective_terms
from clo.square.scores import batch_of, groups_of, packs, score
from clo.training.layers import training_layers


@dataclass(frozen=True)
class LayerChoice:
    """What was chosen, and from what."""

    layers: tuple[int, int]
    """First and last layer that trains."""
    held: float
    """Their share of the squared gradient norm."""
    shares: tuple[float, ...]
    """Of every layer, adding up to 1."""
    items: int
    """Training items that the gradient is of, the first ones."""


def choose_layers(
    model: Any, tuning: TuningConfig, objective: Objective, items: Sequence[Item], trainer: TrainerConfig
) -> LayerChoice:
    """The fewest layers in a row that hold ``tuning.auto_share`` of the squared gradient norm at the start weights.

    The norm is over the matrices that ``tuning.trains`` names (adapters go by the matrices they stand on), of the loss
    of the first ``tuning.auto_items`` items in one step; of equally short ranges the one that holds most, then the
    lowest.

    Args:
        model: the start model, on its device; unchanged afterwards.
        tuning: with ``layers=auto``.
        objective: of the run's first stage.
        items: the run's training items.
        trainer: the hardware side.

    Raises:
        UserError: the gradient is zero or not finite.
    """
    first = items[: tuning.auto_items]
    squares = _squares(model, replace(tuning, layers=None), replace(objective, anchor=0.0, replay=0.0), first, trainer)
    total = sum(squares)
    if not 0 < total < float("inf"):
        raise UserError(
            f"tuning.layers=auto: the squared gradient of the first {len(first)} items at the start is {total:g}, "
            "which tells no layer; name the layers, or check the rows"
        )
    shares = tuple(square / total for square in squares)
    low, high = shortest_range(shares, tuning.auto_share)
    return LayerChoice((low, high), sum(shares[low : high + 1]), shares, len(first))


def shortest_range(shares: Sequence[float], wanted: float) -> tuple[int, int]:
    """First and last of the fewest neighbours that hold ``wanted``; of equally few those that hold most, the lowest.

    A share that only rounding keeps from ``wanted`` counts as held.
    """
    for length in range(1, len(shares) + 1):
        held = [sum(shares[k : k + length]) for k in range(len(shares) - length + 1)]
        best = max(range(len(held)), key=lambda k: (held[k], -k))
        if held[best] >= wanted - 1e-9:
            return best, best + length - 1
    return 0, len(shares) - 1


def _squares(
    model: Any, tuning: TuningConfig, objective: Objective, items: Sequence[Item], trainer: TrainerConfig
) -> list[float]:
    """Squared gradient norm by layer, every layer of the model in its place; the start is its own reference."""
    opened, cells = trained_parameters(model, tuning), objective.cells()
    denominators = objective.denominators(items)
    frozen = [p for p in model.parameters() if p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        for parameter in opened.values():
            parameter.requires_grad_(True)
        with ExitStack() as opening:
            if packs(model, items[0]):
                opening.enter_context(packed(model))  # around the way back too, where checkpointing passes once more
            opening.enter_context(training_layers(model, bool(trainer.gradient_checkpointing), compiled=False))
            for group in groups_of(model, items, cells, trainer.budget()):
                mine = [items[k] for k in group]
                found = score(model, batch_of(model, mine, cells))
                terms = objective_terms(objective, found.S_BLK, found.S_BLK.detach(), found.count_BLK, items=mine)
                objective.loss(terms, denominators).backward()
        by_layer: dict[int, float] = defaultdict(float)
        for name, parameter in opened.items():
            layer = layer_of(name)
            if layer is not None and parameter.grad is not None:
                by_layer[layer] += float(parameter.grad.detach().float().square().sum())
    finally:
        for parameter in opened.values():
            parameter.grad = None
            parameter.requires_grad_(False)
        for parameter in frozen:
            parameter.requires_grad_(True)
    layers = [layer for name in opened if (layer := layer_of(name)) is not None]
    return [by_layer[layer] for layer in range(max(layers, default=-1) + 1)]
