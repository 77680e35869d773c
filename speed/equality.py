"""No number counts before loss and gradients are equal: every side is held against float64 and against each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clo.data.items import Item
from speed.naive import Oracle
from speed.sides import Side


@dataclass(frozen=True)
class Tolerances:
    """Largest errors that count as equal."""

    loss: float
    """Relative to the oracle."""
    gradient: float
    """Relative L2 error over all trained weights."""
    trajectory: float
    """Largest loss difference from the first side over five steps."""


TOLERANCES = {
    "fp32": Tolerances(1e-5, 5e-5, 1e-4),
    "bf16": Tolerances(1e-3, 2e-2, 2e-2),
    "bf16 wide": Tolerances(5e-3, 5e-2, 5e-2),
}
"""By precision. At a width of 4,096 a moved policy has large logits, and stock's bfloat16 ones cost 2.6e-3 (H200)."""


@dataclass(frozen=True)
class Equality:
    """Largest errors found on one side."""

    side: str
    loss_start: float
    loss_moved: float
    """With a policy away from the reference, so that margins are not 0."""
    gradient: float
    trajectory: float | None
    """None where the batches differ from the first side's."""


def perturbed(policy: Mapping[str, Tensor], scale: float = 1.0, seed: int = 1) -> dict[str, Tensor]:
    """Weights with noise of ``scale`` times their own spread: a policy that has left its reference."""
    generator = torch.Generator().manual_seed(seed)
    noise = {name: torch.randn(w.shape, generator=generator).to(w.device) for name, w in sorted(policy.items())}
    return {name: w + scale * w.std() * noise[name] for name, w in policy.items()}


def gradient_error(found: Mapping[str, Tensor], true: Mapping[str, Tensor]) -> float:
    """Relative L2 error over all trained weights."""
    if found.keys() != true.keys():
        raise AssertionError(f"trained weights differ: {sorted(found.keys() ^ true.keys())[:4]}")
    wrong = sum(float((found[n].double() - g.double()).square().sum()) for n, g in true.items())
    return math.sqrt(wrong / sum(float(g.double().square().sum()) for g in true.values()))


def equality_table(equality: Sequence[Equality]) -> str:
    """Markdown: the largest errors of every side."""
    heads = ["side", "loss at start", "loss, moved policy", "gradient", "five-step loss"]
    rows = [heads, ["---"] * len(heads)]
    for one in equality:
        apart = "other batches" if one.trajectory is None else f"{one.trajectory:.1e}"
        rows.append([one.side, f"{one.loss_start:.1e}", f"{one.loss_moved:.1e}", f"{one.gradient:.1e}", apart])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def assert_equal(
    sides: Sequence[Side],
    oracle: Oracle,
    batches: Sequence[Sequence[Item]],
    tolerances: Tolerances,
    steps: int = 5,
) -> list[Equality]:
    """Hold every prepared side against the oracle, at the start and with a moved policy, and against the first side.

    Args:
        sides: prepared on ``batches``.
        oracle: float64.
        batches: as given to ``prepare``; the first one is checked (each side's own first where it cut anew).
        tolerances: largest errors.
        steps: length of the loss trajectory, over the batches in turn.

    Raises:
        AssertionError: an error is larger; the message names the side and the number.
    """
    moved = perturbed(sides[0].start())
    first = _trajectory(sides[0], steps)
    keys = [[item.key() for item in batch] for batch in batches]
    found: list[Equality] = []
    for side in sides:
        batch = side.batches[0]
        side.reset()
        start = abs(side.loss_and_grads(0)[0] / oracle.loss_at_start(batch) - 1)
        side.load(moved)
        loss, gradients = side.loss_and_grads(0)
        true, true_gradients = oracle.loss_and_grads(batch, moved)
        apart = None
        if [[item.key() for item in mine] for mine in side.batches] == keys:
            apart = max(abs(a - b) for a, b in zip(_trajectory(side, steps), first, strict=True))
        side.reset()
        found.append(Equality(side.name, start, abs(loss / true - 1), gradient_error(gradients, true_gradients), apart))
    print(equality_table(found), flush=True)
    _refuse(found, tolerances)
    return found


def _refuse(found: Sequence[Equality], tolerances: Tolerances) -> None:
    for one in found:
        limits = (
            ("start loss", one.loss_start, tolerances.loss),
            ("moved loss", one.loss_moved, tolerances.loss),
            ("gradient", one.gradient, tolerances.gradient),
            ("trajectory", one.trajectory or 0.0, tolerances.trajectory),
        )
        for what, value, limit in limits:
            if not value <= limit:  # also when it is not a number
                raise AssertionError(f"{one.side}: {what} error {value:.2e} is over {limit:.0e}")


def _trajectory(side: Side, steps: int) -> list[float]:
    side.reset()
    return [side.step(k % len(side.batches)) for k in range(steps)]
