"""Is a difference between two runs more than chance: paired tests, correction for many of them, what could be seen.

Two things may be chance: which test items were asked, and which seed trained. A difference must hold over both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clo.evaluation.statistics import Interval, bootstrap_mean, seed_interval, t_mass, t_quantile

POWER_Z = 0.8416212335729143
"""Standard normal quantile of a power of 80 %."""
_CHUNK = 4_000_000
"""Values drawn at a time."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of A - B over shared items."""

    interval: Interval
    """The wider of the bootstrap interval over items and the t-interval over seeds."""
    p: float
    """Two-sided, the larger of the two tests; over items alone where there is one seed."""
    detectable: float
    """The smallest true difference that would be found 4 times in 5 at this confidence."""
    items: int
    seeds: int


def difference(
    a: ArrayLike, b: ArrayLike, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Difference:
    """Compare two methods on the same items and seeds.

    Args:
        a: float [seeds, items] or [items].
        b: likewise, of the same shape.
        confidence: of the interval, in (0, 1).
        resamples: of the bootstrap and of the signs.
        seed: of the resampling.

    Raises:
        ValueError: shapes differ, or there is nothing to compare.
    """
    left, right = np.atleast_2d(np.asarray(a, float)), np.atleast_2d(np.asarray(b, float))
    if left.shape != right.shape or left.size == 0:
        raise ValueError(f"expected two equal shapes [seeds, items], got {left.shape} and {right.shape}")
    gaps = left - right
    per_item, per_seed = gaps.mean(0), gaps.mean(1)
    intervals = [bootstrap_mean(per_item, confidence, resamples, seed)]
    p = sign_flip_test(per_item, resamples, seed)
    detectable = [_detectable(per_item, confidence)]
    if len(gaps) > 1:
        intervals.append(seed_interval(per_seed, confidence))
        p = max(p, t_test(per_seed))
        detectable.append(_detectable(per_seed, confidence))
    low, high = min(_low(i) for i in intervals), max(_high(i) for i in intervals)
    return Difference(Interval(float(per_item.mean()), low, high), p, max(detectable), gaps.shape[1], len(gaps))


def _low(interval: Interval) -> float:
    return interval.value if interval.low is None else interval.low


def _high(interval: Interval) -> float:
    return interval.value if interval.high is None else interval.high


def _detectable(gaps: NDArray[np.float64], confidence: float) -> float:
    """(t + z) standard errors: Cohen 1988, chapter 2, with the t quantile in place of the normal one."""
    if len(gaps) < 2:
        return math.inf
    error = float(gaps.std(ddof=1)) / math.sqrt(len(gaps))
    return (t_quantile(confidence, len(gaps) - 1) + POWER_Z) * error


def sign_flip_test(gaps: ArrayLike, resamples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p-value of a mean of 0: the share of random signs under which |mean| is at least as large.

    Exact over all signs up to 13 items, drawn beyond, the observed signs counted in (Phipson and Smyth 2010), so it is
    never 0.

    Raises:
        ValueError: there are no values.
    """
    values = np.asarray(gaps, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"expected a list of at least one difference, got shape {values.shape}")
    n, observed = len(values), abs(float(values.sum())) * (1 - 1e-12)
    if n <= 13:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(signs @ values) >= observed).mean())
    generator, hits = np.random.default_rng(seed), 0
    rows = max(1, _CHUNK // n)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        signs = 1.0 - 2.0 * generator.integers(0, 2, (count, n))
        hits += int((np.abs(signs @ values) >= observed).sum())
    return (hits + 1) / (resamples + 1)


def t_test(values: ArrayLike) -> float:
    """Two-sided p-value of a mean of 0, Student's t; 1 for a single value.

    Raises:
        ValueError: there are no values.
    """
    array = np.asarray(values, dtype=np.float64)
    if len(array) == 0:
        raise ValueError("expected at least one value")
    if len(array) == 1:
        return 1.0
    error = float(array.std(ddof=1)) / math.sqrt(len(array))
    mean = abs(float(array.mean()))
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return 1.0 - t_mass(mean / error, len(array) - 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number so that any false positive among them stays at its level (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[k]))
        corrected[k] = largest
    return corrected
