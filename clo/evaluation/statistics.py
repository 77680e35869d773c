"""Intervals for means over items, win rates and repeated seeds, by scipy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

CHUNK = 25_000
"""Resampled values held at a time: what a core's cache holds; the number changes no result."""


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
    from scipy import stats

    array = as_vector(values)
    _check(confidence)
    mean = float(array.mean())
    if len(array) == 1:
        return Interval(mean, mean, mean)  # scipy resamples from two values on
    batch = max(1, CHUNK // len(array))
    found = stats.bootstrap((array,), np.mean, n_resamples=resamples, batch=batch, method="percentile", rng=seed)
    # Not its confidence_interval, whose rounding of the shares may turn the ends of equal values round by a last digit.
    low, high = np.quantile(found.bootstrap_distribution, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(mean, float(low), float(high))


def win_rate(
    wins: int, ties: int, losses: int, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Share won, a tie counting one half (so it is no binomial share), with its bootstrap interval.

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
    array = as_vector(values)
    _check(confidence)
    mean = float(array.mean())
    if len(array) == 1:
        return Interval(mean, None, None)
    half = t_quantile(confidence, len(array) - 1) * float(array.std(ddof=1)) / math.sqrt(len(array))
    return Interval(mean, mean - half, mean + half)


def t_quantile(confidence: float, freedom: int) -> float:
    """The t with P(|T| < t) = ``confidence`` for ``freedom`` degrees of freedom.

    Raises:
        ValueError: ``confidence`` is not in (0, 1), or ``freedom`` is below 1.
    """
    from scipy import special  # what stats.t.ppf calls, without a second's import of stats for a table of means

    _check(confidence)
    if freedom < 1:
        raise ValueError(f"degrees of freedom must be at least 1, got {freedom}")
    return float(special.stdtrit(freedom, (1 + confidence) / 2))


def as_vector(values: ArrayLike) -> NDArray[np.float64]:
    """``values`` as float64 [n], n at least 1; ValueError otherwise."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(f"expected a list of at least one number, got shape {array.shape}")
    return array


def _check(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
