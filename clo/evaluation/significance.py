"""Is a difference between two runs more than chance: paired tests, correction for many of them, what could be seen.

Three things may be chance: which test items were asked, what kinds of items there are (relations), and which seed
trained. A difference must hold over all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clo.evaluation.statistics import CHUNK, Interval, as_vector, bootstrap_mean, seed_interval, t_quantile

POWER = 0.8
"""Chance that a difference of the detectable size is found."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of A - B over shared items."""

    interval: Interval
    """From the lowest to the highest end of the bootstrap intervals over items and over clusters and the t-interval
    over seeds."""
    p: float
    """Two-sided, the largest of the tests over items, clusters and seeds that there are."""
    detectable: float
    """The smallest true difference that would be found 4 times in 5 at this confidence."""
    items: int
    seeds: int


def difference(
    a: ArrayLike,
    b: ArrayLike,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    clusters: Sequence[str] | None = None,
) -> Difference:
    """Compare two methods on the same items and seeds.

    Args:
        a: float [seeds, items] or [items]; NaN where a seed has no such item, every seed and every item has some.
        b: likewise, of the same shape.
        confidence: of the interval, in (0, 1).
        resamples: of the bootstrap and of the signs.
        seed: of the resampling.
        clusters: what each item belongs to, items of one cluster being alike; none where each stands for itself.

    Raises:
        ValueError: shapes differ, or there is nothing to compare.
    """
    left, right = np.atleast_2d(np.asarray(a, float)), np.atleast_2d(np.asarray(b, float))
    if left.shape != right.shape or left.size == 0:
        raise ValueError(f"expected two equal shapes [seeds, items], got {left.shape} and {right.shape}")
    gaps = left - right  # scipy has no test over crossed prompts and seeds: all must agree
    if not (np.isfinite(gaps).any(0).all() and np.isfinite(gaps).any(1).all()):
        raise ValueError("a seed or an item has no difference at all")
    per_item, per_seed = np.nanmean(gaps, 0), np.nanmean(gaps, 1)
    intervals = [bootstrap_mean(per_item, confidence, resamples, seed)]
    p = sign_flip_test(per_item, resamples, seed)
    detectable = [_detectable(per_item, confidence)]
    if clusters is not None and 1 < len(set(clusters)) < len(per_item):
        sums, linear = _clustered(per_item, clusters)
        intervals.append(bootstrap_mean(linear, confidence, resamples, seed))
        p = max(p, sign_flip_test(sums, resamples, seed))
        detectable.append(_detectable(linear, confidence))
    if len(gaps) > 1:
        intervals.append(seed_interval(per_seed, confidence))
        p = max(p, t_test(per_seed))
        detectable.append(_detectable(per_seed, confidence))
    low, high = min(_low(i) for i in intervals), max(_high(i) for i in intervals)
    mean = float(per_item.mean() if np.isfinite(gaps).all() else per_seed.mean())
    return Difference(Interval(mean, low, high), p, max(detectable), gaps.shape[1], len(gaps))


def _clustered(per_item: NDArray[np.float64], clusters: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sum of each cluster, and values of clusters whose mean and its error are those of the mean over items.

    Clusters have unlike sizes, so the mean over items is a ratio of sums; its error is taken to first order
    (linearisation: Cochran 1977, chapter 6).
    """
    _, place = np.unique(np.asarray(clusters), return_inverse=True)
    sums, counts, mean = np.bincount(place, per_item), np.bincount(place), per_item.mean()
    return sums, mean + (sums - mean * counts) * (len(counts) / len(per_item))


def _low(interval: Interval) -> float:
    return interval.value if interval.low is None else interval.low


def _high(interval: Interval) -> float:
    return interval.value if interval.high is None else interval.high


def _detectable(gaps: NDArray[np.float64], confidence: float) -> float:
    """(t + z) standard errors: Cohen 1988, chapter 2, with the t quantile in place of the normal one.

    By hand: scipy.stats.power simulates.
    """
    from scipy import special

    if len(gaps) < 2:
        return math.inf
    error = float(gaps.std(ddof=1)) / math.sqrt(len(gaps))
    return (t_quantile(confidence, len(gaps) - 1) + float(special.ndtri(POWER))) * error


def sign_flip_test(gaps: ArrayLike, resamples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p-value of a mean of 0: the share of random signs under which |mean| is at least as large.

    Exact over all signs up to 13 items, drawn beyond, the observed signs counted in (Phipson and Smyth 2010), so it is
    never 0.

    Raises:
        ValueError: there are no values.
    """
    from scipy import stats

    values = as_vector(gaps)
    n, total = len(values), float(np.abs(values).sum())
    if total == 0:
        return 1.0

    def distance(flips: NDArray[Any], axis: int = -1) -> NDArray[np.float64]:
        """|sum| as a share of the largest there is, where ``flips`` [..., n] is 1 for a sign that changes, else 0."""
        # Rounded: sums that are equal but for the order of their terms are ties, and scipy's slack for them is smaller.
        rounded: NDArray[np.float64] = (np.abs(values.sum() - 2.0 * (flips @ values)) / total).round(12)
        return rounded

    # stats.permutation_test makes its permutations in Python: 100 times slower where it is exact, 8 where it draws.
    unflipped = np.zeros(n)
    if n <= 13:
        flips = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return float((distance(flips) >= distance(unflipped)).mean())
    generator = np.random.default_rng(seed)
    found = stats.monte_carlo_test(
        unflipped,
        lambda size: generator.integers(0, 2, size),
        distance,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, CHUNK // n),
        alternative="greater",
    )
    return float(found.pvalue)


def t_test(values: ArrayLike) -> float:
    """Two-sided p-value of a mean of 0, Student's t; 1 for a single value.

    Raises:
        ValueError: there are no values.
    """
    from scipy import stats

    array = as_vector(values)
    if len(array) == 1:
        return 1.0
    largest = float(np.abs(array).max())
    if np.ptp(array) <= 1e-14 * largest:  # equal but for rounding: scipy warns, and gives no number for zeros
        return 1.0 if largest == 0 else 0.0
    return float(stats.ttest_1samp(array, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number so that any false positive among them stays at its level (Holm 1979)."""
    # By hand: scipy corrects for the false discovery rate alone.
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[k]))
        corrected[k] = largest
    return corrected
