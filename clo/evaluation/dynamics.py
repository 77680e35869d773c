"""What scores do as training rows are added: curves, where they level off, slopes, correlations, all with intervals.

Scores stand in a *cube*: float [amounts, seeds, prompts] in points, the amounts being rows per language in rising
order, NaN where there is no run or no answer. Two things are chance, the seed and the prompts, and both are resampled,
crossed (the pigeonhole bootstrap: Owen 2007). What n draws of n move a mean by is too little by sqrt((n - 1) / n), with
three seeds a fifth; so it is stretched by as much (the rescaling bootstrap: Rao and Wu 1988).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clo.evaluation.statistics import Interval

Array = NDArray[np.float64]
RESAMPLES = 2_000
PEAK = 0.95
"""Share of the highest score at which a curve has levelled off."""


@dataclass(frozen=True)
class Draws:
    """What each seed and each prompt weighs in each resample, 1 on the mean."""

    seeds: Array
    """[resamples, seeds], stretched: a seed that is not drawn weighs a little less than nothing."""
    prompts: Array
    """[resamples, prompts], likewise."""
    counts: Array
    """[resamples, seeds]: how often each seed is drawn."""


def draw(seeds: int, prompts: int, resamples: int = RESAMPLES, seed: int = 0) -> Draws:
    """Resamples of seeds and prompts; of a single one there is nothing to draw, and it stays.

    Statistics that share one `Draws` are paired: they see the same seeds and prompts.

    Raises:
        ValueError: there is no seed or no prompt.
    """
    if seeds < 1 or prompts < 1:
        raise ValueError(f"expected at least one seed and one prompt, got {seeds} and {prompts}")
    chance = np.random.default_rng(seed)

    def drawn(n: int) -> Array:
        return chance.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)

    counts = drawn(seeds)
    return Draws(_stretched(counts), _stretched(drawn(prompts)), counts)


def _stretched(counts: Array) -> Array:
    n = counts.shape[1]
    return 1 + (counts - 1) * (n / (n - 1)) ** 0.5 if n > 1 else counts


def as_cube(values: ArrayLike) -> Array:
    """``values`` as float64 [amounts, seeds, prompts].

    Raises:
        ValueError: another shape, or nothing in it.
    """
    cube = np.asarray(values, np.float64)
    if cube.ndim != 3 or cube.size == 0:
        raise ValueError(f"expected scores [amounts, seeds, prompts], got shape {cube.shape}")
    return cube


def means(values: ArrayLike) -> Array:
    """Mean per amount [amounts] over the seeds and prompts that there are; NaN where there are none."""
    cube = as_cube(values)
    there = np.isfinite(cube)
    with np.errstate(invalid="ignore"):
        found: Array = np.where(there, cube, 0.0).sum((1, 2)) / there.sum((1, 2))
    return found


def resampled(values: ArrayLike, draws: Draws) -> Array:
    """Mean per amount of every resample [resamples, amounts]; NaN where it holds no run of the amount."""
    cube = as_cube(values)
    there = np.isfinite(cube)
    filled, weight = np.where(there, cube, 0.0), there.astype(np.float64)

    def total(of: Array) -> Array:
        return np.stack([((draws.seeds @ one) * draws.prompts).sum(1) for one in of], axis=1)

    sums = total(filled)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = sums / total(weight)
    return found


def interval(value: float, sample: ArrayLike, confidence: float = 0.95) -> Interval:
    """An estimate with the percentile interval of its resamples, which holds the estimate at least at an end.

    Resamples without a value (NaN) do not count; without any there are no ends. Ends may be infinite, where the
    statistic is.
    """
    ordered = np.sort(np.asarray(sample, np.float64))
    ordered = ordered[~np.isnan(ordered)]
    if not len(ordered):
        return Interval(value, None, None)
    tail = (1 - confidence) / 2
    # By hand: numpy's quantiles go between two values, which is no number where one of them is infinite.
    low, high = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (tail, 1 - tail))
    return Interval(value, float(np.fmin(low, value)), float(np.fmax(high, value)))


def curve(values: ArrayLike, draws: Draws) -> list[Interval]:
    """Mean score and its interval at every amount."""
    sample = resampled(values, draws)
    return [interval(float(mean), own) for mean, own in zip(means(values), sample.T, strict=True)]


def axis(amounts: ArrayLike) -> Array:
    """Where an amount of rows stands: log2(rows + 1), so that no rows have a place too."""
    found: Array = np.log2(np.asarray(amounts, np.float64) + 1)
    return found


def crossing(amounts: ArrayLike, scores: ArrayLike, share: float = PEAK) -> Array:
    """Rows at which a curve first has ``share`` of its highest score, as the least and the most that it may be.

    Between two amounts the curve is straight over `axis`. Where it gets there only on the way to the last amount, its
    peak may lie beyond: then the least is the last amount but one, and the most is infinite.

    Args:
        amounts: [amounts], rising.
        scores: [..., amounts].
        share: of the highest score.

    Returns:
        [..., 2]; NaN where no score is above 0 or one is missing.
    """
    rows, values = np.asarray(amounts, np.float64), np.asarray(scores, np.float64)
    place, last = axis(rows), len(rows) - 1
    wanted = share * values.max(-1, keepdims=True)
    first = (values >= wanted).argmax(-1)
    before = np.maximum(first - 1, 0)
    low, high = (np.take_along_axis(values, at[..., None], -1)[..., 0] for at in (before, first))
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(first == 0, 0.0, (wanted[..., 0] - low) / (high - low))
    between = 2 ** (place[before] + part * (place[first] - place[before])) - 1
    least = np.where(first == 0, rows[0], between)
    is_open = (first == last) & (last > 0)
    found = np.stack([np.where(is_open, rows[max(last - 1, 0)], least), np.where(is_open, np.inf, least)], -1)
    known = np.isfinite(values).all(-1) & (wanted[..., 0] > 0)
    told: Array = np.where(known[..., None], found, np.nan)
    return told


@dataclass(frozen=True)
class LevelOff:
    """Where a curve has levelled off."""

    rows: Interval
    """The least that it may be, from the lower end to the upper end; the upper one may be infinite."""
    state: str
    """``reached``, ``at the first point``, ``not reached`` (on the way to the last amount only) or ``no score``."""


def level_off(amounts: ArrayLike, values: ArrayLike, draws: Draws, share: float = PEAK) -> LevelOff:
    """Where ``share`` of the highest score is first reached, with its interval over resamples."""
    sample = crossing(amounts, resampled(values, draws), share)
    least, most = (float(end) for end in crossing(amounts, means(values), share))
    low, high = (interval(least, sample[:, end]) for end in (0, 1))
    if np.isnan(least):
        return LevelOff(Interval(least, None, None), "no score")
    first = float(np.asarray(amounts, np.float64)[0])
    state = "not reached" if np.isinf(most) else "at the first point" if least == first else "reached"
    return LevelOff(Interval(least, low.low, high.high), state)


def slope(x: ArrayLike, y: ArrayLike) -> Array:
    """Slope [...] of the least-squares line of ``y`` [..., n] over ``x`` [n], all points alike."""
    places, values = np.asarray(x, np.float64), np.asarray(y, np.float64)
    apart = places - places.mean()
    found: Array = (values * apart).sum(-1) / (apart**2).sum()
    return found


def correlation(left: ArrayLike, right: ArrayLike, draws: Draws) -> Interval:
    """Pearson's correlation over runs, a run being a cell and a seed: its mean on the left and on the right.

    A resample draws seeds, each with its runs at all cells, and the prompts that the runs' means are over.

    Args:
        left: [cells, seeds, prompts], such as the scores of seen languages.
        right: likewise, of unseen ones.
        draws: of these seeds and prompts.

    Raises:
        ValueError: the shapes differ.
    """
    cube = as_cube(left)
    seeds, prompts = (np.ones((1, n)) for n in cube.shape[1:])
    once = Draws(seeds, prompts, seeds)
    return interval(float(correlations(cube, right, once)[0]), correlations(cube, right, draws))


def correlations(left: ArrayLike, right: ArrayLike, draws: Draws) -> Array:
    """The correlation in every resample [resamples]; NaN where one side does not vary. As for `correlation`."""
    cubes = [as_cube(left), as_cube(right)]
    if cubes[0].shape != cubes[1].shape:
        raise ValueError(f"expected two equal shapes, got {cubes[0].shape} and {cubes[1].shape}")
    there = np.isfinite(cubes[0]) & np.isfinite(cubes[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        counts = np.einsum("csp,dp->dcs", there.astype(np.float64), draws.prompts, optimize=True)
        runs = [np.einsum("csp,dp->dcs", np.where(there, c, 0), draws.prompts, optimize=True) / counts for c in cubes]
        weight = np.where(counts > 0, draws.counts[:, None, :], 0.0)
        x, y = (np.where(weight > 0, one, 0.0) for one in runs)
        total = weight.sum((1, 2), keepdims=True)
        x, y = (one - (weight * one).sum((1, 2), keepdims=True) / total for one in (x, y))
        spread = np.sqrt((weight * x * x).sum((1, 2)) * (weight * y * y).sum((1, 2)))
        found: Array = np.where(spread > 1e-12, (weight * x * y).sum((1, 2)) / spread, np.nan)
    return found
