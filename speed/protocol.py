"""How sides are compared: equal loss and gradients first, then interleaved rounds, then ratios round by round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from clo.data.items import Item
from speed.equality import TOLERANCES, Equality, Tolerances, assert_equal
from speed.sides import Setup, Side, adamw

__all__ = [
    "LARGEST_SPREAD",
    "TOLERANCES",
    "Equality",
    "Ratio",
    "Setup",
    "Side",
    "Time",
    "Tolerances",
    "adamw",
    "assert_equal",
    "ratio",
    "response_tokens",
    "rounds",
    "timed",
]

LARGEST_SPREAD = 1.5
"""Largest max / min of a ratio over rounds; a noisier one gets no verdict."""


@dataclass(frozen=True)
class Time:
    """One measured step."""

    side: str
    round: int
    batch: int
    seconds: float
    tokens: int
    """Response tokens trained: every response counts under both prompts."""


def response_tokens(batch: Sequence[Item]) -> int:
    """2 * (|y_en| + |y_t|) per item."""
    return sum(2 * sum(map(len, item.responses)) for item in batch)


def timed(action: Callable[[], Any], device: torch.device) -> float:
    """CPU seconds of this process, or seconds between two events on a GPU."""
    if device.type != "cuda":
        began = time.process_time()
        action()
        return time.process_time() - began
    events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
    torch.cuda.synchronize(device)
    events[0].record()
    action()
    events[1].record()
    torch.cuda.synchronize(device)
    return events[0].elapsed_time(events[1]) / 1000


def rounds(sides: Sequence[Side], batches: Sequence[Sequence[Item]], rounds: int = 5, warmups: int = 1) -> list[Time]:
    """Time every batch on every side, side by side, in an order that turns round every round.

    Args:
        sides: prepared on ``batches``.
        batches: the batches, for their number.
        rounds: measured rounds; every one starts from the start weights.
        warmups: rounds before them that are thrown away.
    """
    times: list[Time] = []
    for number in range(-warmups, rounds):
        for side in sides:
            side.reset()
        for k in range(len(batches)):
            for side in sides if number % 2 == 0 else reversed(sides):
                seconds = timed(lambda side=side, k=k: side.step(k), side.device)
                times.append(Time(side.name, number, k, seconds, response_tokens(side.batches[k])))
    return [t for t in times if t.round >= 0]


@dataclass(frozen=True)
class Ratio:
    """How many times faster a side is than another: total time over the same items, round by round."""

    side: str
    base: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median over rounds."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Max / min over rounds."""
        return max(self.values) / min(self.values)

    def verdict(self) -> str:
        """Median and range, or a refusal."""
        bounds = f"[{min(self.values):.2f}-{max(self.values):.2f}]"
        if self.spread > LARGEST_SPREAD:
            return f"no verdict {bounds}: spread {self.spread:.2f} is over {LARGEST_SPREAD}"
        return f"{self.median:.2f}x {bounds}"


def ratio(times: Sequence[Time], side: str, base: str) -> Ratio:
    """The per-round ratios of two sides' total times."""
    totals = {name: _totals(times, name) for name in (side, base)}
    return Ratio(side, base, [totals[base][r] / totals[side][r] for r in sorted(totals[base])])


def _totals(times: Sequence[Time], side: str) -> dict[int, float]:
    found: dict[int, float] = {}
    for t in times:
        if t.side == side:
            found[t.round] = found.get(t.round, 0.0) + t.seconds
    return found
