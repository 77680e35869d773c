"""Intervals: exact cases by hand, and coverage on simulated data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clo.evaluation import statistics
from clo.evaluation.statistics import bootstrap_mean, seed_interval, t_quantile, win_rate

FLOATS = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20)


def test_constant_values_have_no_width() -> None:
    interval = bootstrap_mean([0.25] * 7, resamples=100)
    assert (interval.value, interval.low, interval.high) == (0.25, 0.25, 0.25)


def test_two_values_by_hand() -> None:
    """The means of two draws from (0, 1) are 0, 1/2, 1 with weights 1/4, 1/2, 1/4."""
    wide, narrow = bootstrap_mean([0, 1]), bootstrap_mean([0, 1], confidence=0.4)
    assert (wide.value, wide.low, wide.high) == (0.5, 0.0, 1.0)
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_many_values_follow_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(3, 2, 5000)
    interval = bootstrap_mean(values, resamples=4000)
    half = 1.96 * values.std() / np.sqrt(5000)
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_chunks_do_not_change_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(2).random(40)
    whole = bootstrap_mean(values, resamples=1001)
    monkeypatch.setattr(statistics, "CHUNK", 40 * 7)
    assert bootstrap_mean(values, resamples=1001) == whole


@pytest.mark.parametrize(
    ("n", "confidence", "resamples", "seed", "low", "high"),
    [
        (2, 0.95, 10_000, 0, 0.1, 0.9414709848078965),
        (40, 0.95, 10_000, 0, -0.21263592719475224, 0.2166143652092566),
        (40, 0.90, 999, 7, -0.17675722925987164, 0.1849720580149511),
        (300, 0.95, 10_000, 3, 0.007434717578020478, 0.1680172571469929),
    ],
)  # fmt: skip
def test_intervals_of_published_results(
    n: int, confidence: float, resamples: int, seed: int, low: float, high: float
) -> None:
    """The draws are those of the bootstrap before scipy's, so that results already written stay as they are."""
    interval = bootstrap_mean(np.sin(np.arange(n) ** 2) + 0.1, confidence, resamples, seed)
    assert (interval.low, interval.high) == (pytest.approx(low, rel=1e-15), pytest.approx(high, rel=1e-15))


def test_equal_values_are_their_own_interval() -> None:
    for value, count in ((0.3, 1), (0.0009125781088292713, 2)):
        interval = bootstrap_mean([value] * count, resamples=200)
        assert (interval.value, interval.low, interval.high) == (value, value, value)


def test_seed_decides() -> None:
    values = np.random.default_rng(3).random(30)
    assert bootstrap_mean(values, resamples=200) == bootstrap_mean(values, resamples=200, seed=0)
    assert bootstrap_mean(values, resamples=200) != bootstrap_mean(values, resamples=200, seed=1)


@given(FLOATS, st.floats(-100, 100))
def test_bootstrap_properties(values: list[float], shift: float) -> None:
    interval = bootstrap_mean(values, resamples=200)
    slack = 1e-6
    assert min(values) - slack <= interval.low <= interval.high <= max(values) + slack
    moved = bootstrap_mean([value + shift for value in values], resamples=200)
    assert moved.low == pytest.approx(interval.low + shift, abs=1e-6)
    swapped = bootstrap_mean([-value for value in values], resamples=200)
    assert swapped.value == pytest.approx(-interval.value, abs=1e-9)
    assert (swapped.low, swapped.high) == (
        pytest.approx(-interval.high, abs=1e-6),
        pytest.approx(-interval.low, abs=1e-6),
    )


@given(FLOATS)
def test_more_confidence_is_wider(values: list[float]) -> None:
    narrow, wide = bootstrap_mean(values, 0.5, 200), bootstrap_mean(values, 0.95, 200)
    assert wide.low <= narrow.low <= narrow.high <= wide.high


def test_bootstrap_covers() -> None:
    """600 samples of 80 paired differences with mean 0.3: a 95% interval covers it in .92 to .98 of them."""
    generator = np.random.default_rng(5)
    hits = 0
    for k in range(600):
        shared = generator.normal(0, 5, 80)
        a, b = shared + generator.normal(0.3, 1, 80), shared + generator.normal(0, 1, 80)
        interval = bootstrap_mean(a - b, resamples=500, seed=k)
        hits += interval.low <= 0.3 <= interval.high
    assert 0.92 <= hits / 600 <= 0.98


def test_win_rate_covers() -> None:
    generator = np.random.default_rng(6)
    hits = 0
    for k in range(600):
        wins, ties, losses = generator.multinomial(120, [0.3, 0.5, 0.2])
        interval = win_rate(wins, ties, losses, resamples=500, seed=k)
        hits += interval.low <= 0.55 <= interval.high
    assert 0.92 <= hits / 600 <= 0.98


def test_seed_interval_covers() -> None:
    generator = np.random.default_rng(7)
    hits = 0
    for values in generator.normal(1, 2, (2000, 3)):
        interval = seed_interval(values)
        hits += interval.low <= 1 <= interval.high
    assert 0.935 <= hits / 2000 <= 0.965


def test_win_rate_by_hand() -> None:
    assert win_rate(2, 4, 2).value == 0.5
    assert win_rate(3, 1, 0).value == 0.875
    sure = win_rate(5, 0, 0)
    assert (sure.value, sure.low, sure.high) == (1.0, 1.0, 1.0)
    interval = win_rate(600, 0, 400)
    half = 1.96 * (0.6 * 0.4 / 1000) ** 0.5
    assert (interval.low, interval.high) == (
        pytest.approx(0.6 - half, abs=2e-3),
        pytest.approx(0.6 + half, abs=2e-3),
    )


@pytest.mark.parametrize(
    ("confidence", "freedom", "value"),
    [
        (0.95, 1, 12.706205), (0.95, 2, 4.302653), (0.95, 3, 3.182446), (0.95, 4, 2.776445),
        (0.95, 5, 2.570582), (0.95, 9, 2.262157), (0.95, 30, 2.042272), (0.99, 1, 63.656741),
        (0.99, 10, 3.169273), (0.90, 7, 1.894579), (0.95, 1000, 1.962339),
    ],
)  # fmt: skip
def test_t_quantiles_of_the_tables(confidence: float, freedom: int, value: float) -> None:
    assert t_quantile(confidence, freedom) == pytest.approx(value, abs=2e-6 * max(1, value))


@pytest.mark.parametrize(
    ("confidence", "freedom", "value"),
    [
        (0.95, 1, 12.706204736174659), (0.95, 2, 4.302652729749458), (0.95, 7, 2.364624251592783),
        (0.99, 3, 5.840909309733318), (0.90, 199, 1.6525467461665595), (0.80, 30, 1.3104150253913958),
    ],
)  # fmt: skip
def test_t_quantiles_of_published_results(confidence: float, freedom: int, value: float) -> None:
    """By bisection of the finite series of Abramowitz and Stegun 26.7.3 and 26.7.4, as before scipy."""
    assert t_quantile(confidence, freedom) == pytest.approx(value, abs=1e-9)


def test_seed_interval_by_hand() -> None:
    """1, 2, 3: mean 2, sd 1, t(2) = 4.302653, so 2 +- 4.302653 / sqrt(3)."""
    interval = seed_interval([1, 2, 3])
    assert interval.value == 2
    assert (interval.low, interval.high) == (
        pytest.approx(-0.484138, abs=1e-6),
        pytest.approx(4.484138, abs=1e-6),
    )


def test_one_seed_has_no_interval() -> None:
    interval = seed_interval([0.7])
    assert (interval.value, interval.low, interval.high) == (0.7, None, None)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="at least one number"):
        bootstrap_mean([])
    with pytest.raises(ValueError, match="at least one number"):
        win_rate(0, 0, 0)
    with pytest.raises(ValueError, match="in \\(0, 1\\)"):
        seed_interval([1, 2], confidence=95)
    with pytest.raises(ValueError, match="at least 1"):
        t_quantile(0.95, 0)
