"""Curves, where they level off, slopes and correlations, against arithmetic by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clo.evaluation.dynamics import (
    axis,
    correlation,
    crossing,
    curve,
    draw,
    interval,
    level_off,
    means,
    resampled,
    slope,
)


def cube(per_amount: list[list[float]], prompts: int = 4) -> np.ndarray:
    """[amounts, seeds] as a cube whose prompts are all alike."""
    return np.repeat(np.array(per_amount, dtype=float)[:, :, None], prompts, axis=2)


def test_means_are_over_what_there_is() -> None:
    """By hand: (1 + 2 + 3) / 3; a missing answer is left out, a missing amount has no mean."""
    values = np.array([[[1.0, 2.0, 3.0]], [[4.0, np.nan, 8.0]], [[np.nan] * 3]])
    assert means(values)[:2].tolist() == [2.0, 6.0] and math.isnan(means(values)[2])
    points = curve(values, draw(1, 3))
    assert points[0].value == 2.0 and points[2].low is None
    far = 1.5**0.5  # 4 alone, drawn thrice, is 2 below the mean; stretched
    assert points[1].low == pytest.approx(6 - 2 * far, abs=1) and points[1].high == pytest.approx(6 + 2 * far, abs=1)


@pytest.mark.parametrize("seeds", [2, 3, 6])
def test_resampled_means_vary_as_a_mean_of_seeds_does(seeds: int) -> None:
    """The variance over resamples is s² / n, without the bias of draws as they are; alike prompts add nothing."""
    values = np.arange(seeds, dtype=float) ** 1.5
    sample = resampled(cube([values.tolist()]), draw(seeds, 4, 40_000))[:, 0]
    assert sample.var() == pytest.approx(values.var(ddof=1) / seeds, rel=0.03)
    assert sample.mean() == pytest.approx(values.mean(), rel=0.02)


def test_resampled_means_vary_with_prompts_and_seeds_crossed() -> None:
    """Of a sum of a seed's and a prompt's effect: the variances of both means add up."""
    seed, prompt = np.array([0.0, 3.0, 5.0]), np.linspace(0, 40, 9) ** 0.7
    sample = resampled((seed[:, None] + prompt)[None], draw(3, 9, 40_000))[:, 0]
    assert sample.var() == pytest.approx(seed.var(ddof=1) / 3 + prompt.var(ddof=1) / 9, rel=0.03)


def test_amounts_share_their_draws() -> None:
    """Paired: what is 5 points higher at every seed and prompt is so in every resample."""
    first = np.random.default_rng(0).random((1, 3, 7)) * 100
    sample = resampled(np.concatenate([first, first + 5]), draw(3, 7))
    assert np.allclose(sample[:, 1] - sample[:, 0], 5.0)


def test_an_interval_by_hand() -> None:
    """Of 1 to 1000 the 26th and the 976th value; what is no number does not count, what is infinite may be an end."""
    sample = np.arange(1, 1001, dtype=float)
    found = interval(500.0, np.random.default_rng(0).permutation(sample))
    assert (found.value, found.low, found.high) == (500.0, 26.0, 976.0)
    found = interval(2.5, [math.nan, 2.0, math.inf])
    assert (found.low, found.high) == (2.0, math.inf)
    assert interval(1.0, [math.nan]).low is None


def test_the_point_of_95_percent_by_hand() -> None:
    """Amounts 0, 1, 3, 7 stand at 0, 1, 2, 3; 95 of 100 lies nine tenths of the way from 50 at 1 to 100 at 2."""
    amounts = [0, 1, 3, 7]
    assert axis(amounts).tolist() == [0, 1, 2, 3]
    assert crossing(amounts, [0, 50, 100, 100]) == pytest.approx([2**1.9 - 1] * 2)
    assert crossing(amounts, [96, 100, 10, 10]).tolist() == [0, 0], "English alone is enough"
    assert crossing(amounts, [0, 10, 20, 100]).tolist() == [3, math.inf], "still rising at the last amount"
    assert crossing(amounts, [0, 10, 96, 100]) == pytest.approx([2 ** (1 + 85 / 86) - 1] * 2)
    assert np.isnan(crossing(amounts, [0, 0, 0, 0])).all() and np.isnan(crossing(amounts, [1, np.nan, 2, 2])).all()
    both = crossing(amounts, [[0, 50, 100, 100], [0, 10, 20, 100]])
    assert both.shape == (2, 2) and both[1].tolist() == [3, math.inf]
    assert crossing([5], [3.0]).tolist() == [5, 5]


@pytest.mark.parametrize(
    ("scores", "state", "rows"),
    [
        ([[0.0] * 3, [50.0] * 3, [100.0] * 3, [100.0] * 3], "reached", 2**1.9 - 1),
        ([[99.0] * 3, [100.0] * 3, [100.0] * 3, [100.0] * 3], "at the first point", 0.0),
        ([[0.0] * 3, [10.0] * 3, [20.0] * 3, [100.0] * 3], "not reached", 3.0),
        ([[0.0] * 3] * 4, "no score", math.nan),
    ],
)
def test_levelling_off_has_a_state(scores: list[list[float]], state: str, rows: float) -> None:
    """Without any chance in the scores the interval is the point; beyond the last amount it has no end."""
    found = level_off([0, 1, 3, 7], cube(scores), draw(3, 4))
    assert found.state == state and found.rows.value == pytest.approx(rows, nan_ok=True)
    if state != "no score":
        assert found.rows.low == pytest.approx(rows)
        assert found.rows.high == (math.inf if state == "not reached" else pytest.approx(rows))


def test_levelling_off_is_as_unsure_as_its_seeds() -> None:
    """One seed of three levels off later: the interval reaches from the early ones to it."""
    scores = [[0.0, 0.0, 0.0], [100.0, 100.0, 20.0], [100.0, 100.0, 100.0], [100.0, 100.0, 100.0]]
    found = level_off([0, 1, 3, 7], cube(scores), draw(3, 4))
    assert found.rows.low == pytest.approx(2**0.95 - 1)
    late = (220 - 160 * 1.5**0.5) / 3  # the mean of the second amount where the late seed alone is drawn, stretched
    assert found.rows.high == pytest.approx(2 ** (1 + (95 - late) / (100 - late)) - 1)


def test_of_two_seeds_an_interval_holds_the_estimate() -> None:
    """Two curves that cross: each seed alone levels off later than their mean does, and the mean is drawn too."""
    scores = [[0.0, 0.0], [90.0, 102.0], [100.0, 100.0], [110.0, 90.0]]
    found = level_off([0, 1, 3, 7], cube(scores), draw(2, 4))
    assert found.rows.low is not None and found.rows.low <= found.rows.value <= (found.rows.high or 0)
    assert interval(1.0, [2.0, 3.0]).low == 1.0 and interval(4.0, [2.0, 3.0]).high == 4.0


def test_a_slope_by_hand() -> None:
    assert slope([0, 1, 2], [1.0, 3.0, 5.0]) == 2.0
    assert slope([0, 1, 2], [[0.0, 0.0, 3.0], [4.0, 4.0, 4.0]]).tolist() == [1.5, 0.0]


def test_a_correlation_by_hand() -> None:
    """Over the means of runs, as numpy has it; what does not vary has none; missing runs are left out."""
    chance = np.random.default_rng(1)
    left, right = chance.random((4, 3, 5)), chance.random((4, 3, 5))
    found = correlation(left, right, draw(3, 5))
    runs = [one.mean(-1).ravel() for one in (left, right)]
    assert found.value == pytest.approx(np.corrcoef(*runs)[0, 1], abs=1e-12)
    assert found.low is not None and found.low < found.value < (found.high or 0)
    assert correlation(left, 3 * left + 1, draw(3, 5)).low == pytest.approx(1.0)
    assert math.isnan(correlation(left, np.ones_like(left), draw(3, 5)).value)
    left[0, 0] = np.nan
    runs = [one.mean(-1).ravel()[1:] for one in (left, right)]
    assert correlation(left, right, draw(3, 5)).value == pytest.approx(np.corrcoef(*runs)[0, 1], abs=1e-12)


def test_shapes_that_cannot_be_are_refused() -> None:
    for call in (
        lambda: means([1.0]),
        lambda: draw(0, 3),
        lambda: correlation(cube([[1.0]]), cube([[1.0, 2.0]]), draw(1, 4)),
    ):
        with pytest.raises(ValueError, match="expected"):
            call()
