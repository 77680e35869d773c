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
    p, detectable = 0.0, []
    for sums, linear in _units(gaps, clusters):
        p = max(p, sign_flip_test(sums, resamples, seed))
        detectable.append(_detectable(linear, confidence))
    if len(gaps) > 1:
        per_seed = np.nanmean(gaps, 1)
        p = max(p, t_test(per_seed))
        detectable.append(_detectable(per_seed, confidence))
    interval = mean_interval(gaps, confidence, resamples, seed, clusters)
    return Difference(interval, p, max(detectable), gaps.shape[1], len(gaps))


def mean_interval(
    values: ArrayLike,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    clusters: Sequence[str] | None = None,
) -> Interval:
    """Mean over seeds, each of them counting alike, and the widest of its intervals over items, clusters and seeds.

    Args:
        values: float [seeds, items]; NaN where a seed has no such item, every seed and every item has some.
        confidence: in (0, 1).
        resamples: of the bootstrap.
        seed: of the resampling.
        clusters: what each item belongs to, as for `difference`.
    """
    values = np.asarray(values, float)
    found = [bootstrap_mean(linear, confidence, resamples, seed) for _, linear in _units(values, clusters)]
    if len(values) > 1:
        found.append(seed_interval(np.nanmean(values, 1), confidence))
    ends = [end for one in found for end in (one.low, one.high) if end is not None]
    return Interval(float(np.nanmean(values, 1).mean()), min(ends), max(ends))


def _units(
    values: NDArray[np.float64], clusters: Sequence[str] | None
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Of items, and of clusters where items have some: a part of the mean each, and values with its error.

    The means of both are the mean over seeds, in which an answer weighs 1 / (seeds x answers of its seed). Items that
    some seeds alone were asked and clusters of unlike sizes weigh unlike, so that mean is a ratio of sums; its error is
    taken to first order (linearisation: Cochran 1977, chapter 6).
    """
    known = np.isfinite(values)
    weights = known / (len(values) * known.sum(1, keepdims=True))
    parts, mean = np.where(known, values, 0.0) * weights, np.nanmean(values, 1).mean()
    places = [np.arange(values.shape[1])]
    if clusters is not None and 1 < len(set(clusters)) < values.shape[1]:
        places.append(np.unique(np.asarray(clusters), return_inverse=True)[1])
    found = []
    for place in places:
        sums, weight = (np.bincount(place, of.sum(0)).astype(np.float64) for of in (parts, weights))
        found.append((len(sums) * sums, mean + len(sums) * (sums - mean * weight)))
    return found


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
