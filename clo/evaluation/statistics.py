"""Intervals for paired differences, win rates and repeated seeds; numpy only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_CHUNK = 4_000_000
"""Resampled values held at a time."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the ends of its interval, which are None where one value alone gives no interval."""

    value: float
    low: float | None
    high: float | None


def bootstrap_mean(values: ArrayLike, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Interval:
    """Mean of ``values`` with its percentile bootstrap interval (Efron 1979).

    Args:
        values: one number for each item, items being what is resampled.
        confidence: share of such intervals that cover the mean, in (0, 1).
        resamples: number of bootstrap samples.
        seed: of the resampling, so that a report is the same every time.

    Raises:
        ValueError: ``values`` is empty or not one-dimensional, or ``confidence`` is out of range.
    """
    array = _vector(values)
    _check(confidence)
    generator = np.random.default_rng(seed)
    rows = max(1, _CHUNK // len(array))
    means = np.empty(resamples)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        picked = generator.integers(0, len(array), (count, len(array)))
        means[start : start + count] = array[picked].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(array.mean()), float(low), float(high))


def paired_difference(
    a: ArrayLike, b: ArrayLike, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Mean of ``a - b`` over the same items with its bootstrap interval; the items are resampled as pairs.

    Raises:
        ValueError: the two have different lengths, or as for `bootstrap_mean`.
    """
    left, right = _vector(a), _vector(b)
    if len(left) != len(right):
        raise ValueError(f"paired values must have the same length, got {len(left)} and {len(right)}")
    return bootstrap_mean(left - right, confidence, resamples, seed)


def win_rate(
    wins: int, ties: int, losses: int, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Share won, a tie counting one half, with its bootstrap interval.

    Raises:
        ValueError: there is no comparison.
    """
    outcomes = np.repeat([1.0, 0.5, 0.0], [wins, ties, losses])
    return bootstrap_mean(outcomes, confidence, resamples, seed)


def seed_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean over seeds with Student's t interval: mean +- t * sd / sqrt(n), sd with n - 1.

    Raises:
        ValueError: as for `bootstrap_mean`.
    """
    array = _vector(values)
    _check(confidence)
    mean = float(array.mean())
    if len(array) == 1:
        return Interval(mean, None, None)
    half = t_quantile(confidence, len(array) - 1) * float(array.std(ddof=1)) / math.sqrt(len(array))
    return Interval(mean, mean - half, mean + half)


def t_quantile(confidence: float, freedom: int) -> float:
    """The t with P(|T| < t) = ``confidence`` for ``freedom`` degrees of freedom, by bisection.

    Raises:
        ValueError: ``confidence`` is not in (0, 1), or ``freedom`` is below 1.
    """
    _check(confidence)
    if freedom < 1:
        raise ValueError(f"degrees of freedom must be at least 1, got {freedom}")
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _central_mass(middle, freedom) < confidence else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def t_mass(t: float, freedom: int) -> float:
    """P(|T| < t) for ``freedom`` degrees of freedom."""
    return _central_mass(math.atan(t / math.sqrt(freedom)), freedom)


def _central_mass(angle: float, freedom: int) -> float:
    """P(|T| < sqrt(freedom) * tan(angle)): Abramowitz and Stegun 26.7.3 and 26.7.4."""
    cosine, odd = math.cos(angle), freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    central = math.sin(angle) * total
    return 2 / math.pi * (angle + central) if odd else central


def _vector(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(f"expected a list of at least one number, got shape {array.shape}")
    return array


def _check(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
