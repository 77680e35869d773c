"""Tests of tests: false positives at most nominal, intervals that cover, differences that are found as promised."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clo.evaluation import significance
from clo.evaluation.significance import _units, difference, holm, mean_interval, sign_flip_test, t_test

RNG = np.random.default_rng(7)


def simulated(
    trials: int, seeds: int, items: int, effect: float = 0.0, between: float = 0.0
) -> list[tuple[float, bool]]:
    """(p, interval covers the truth) of simulated comparisons; ``between`` is the seeds' own spread."""
    found = []
    for _ in range(trials):
        common = RNG.normal(size=items)
        a = common + RNG.normal(effect, 1, (seeds, items)) + RNG.normal(0, between, (seeds, 1))
        b = common + RNG.normal(0, 1, (seeds, items)) + RNG.normal(0, between, (seeds, 1))
        d = difference(a, b, resamples=999)
        assert d.interval.low is not None and d.interval.high is not None
        found.append((d.p, d.interval.low <= effect <= d.interval.high))
    return found


@pytest.mark.parametrize(("seeds", "items", "between"), [(1, 40, 0.0), (3, 60, 0.0), (3, 60, 0.5), (5, 30, 1.0)])
def test_no_more_false_positives_than_promised(seeds: int, items: int, between: float) -> None:
    """Also where seeds spread more than items do, which a test over items alone would take for a difference."""
    found = simulated(300, seeds, items, between=between)
    assert np.mean([p < 0.05 for p, _ in found]) <= 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / 300)
    assert np.mean([covers for _, covers in found]) >= 0.95 - 2.6 * math.sqrt(0.05 * 0.95 / 300) - 0.01


def test_one_seed_cannot_see_the_spread_of_seeds() -> None:
    """Why several are wanted: the same spread, one seed each, and a third of the differences would be believed."""
    assert np.mean([p < 0.05 for p, _ in simulated(200, 1, 60, between=0.5)]) > 0.3


def test_a_detectable_difference_is_found_four_times_in_five() -> None:
    items, found = 80, []
    for _ in range(300):
        a, b = RNG.normal(0, 1, items), RNG.normal(0, 1, items)
        size = difference(a, b, resamples=999).detectable
        found.append(difference(a + size, b, resamples=999).p < 0.05)
    assert 0.72 < np.mean(found) < 0.88


def test_skewed_differences() -> None:
    """chrF differences are mostly 0 with a tail; the interval still covers."""
    covers = []
    for _ in range(300):
        gaps = np.where(RNG.random(200) < 0.2, RNG.exponential(30, 200), 0.0)
        d = difference(gaps, np.zeros(200), resamples=999)
        assert d.interval.low is not None and d.interval.high is not None
        covers.append(d.interval.low <= 6.0 <= d.interval.high)
    assert np.mean(covers) > 0.91


def test_sign_flips_by_hand() -> None:
    values = [3.0, 1.0, -2.0, 0.5]
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in itertools.product((1, -1), repeat=4)
    ]
    assert sign_flip_test(values) == sum(total >= 2.5 for total in sums) / 16
    assert sign_flip_test([0.0] * 20) == 1.0
    assert sign_flip_test([1.0] * 20) == pytest.approx(1 / 10_001)
    drawn = sign_flip_test(RNG.normal(0.5, 1, 14), resamples=100_000)
    assert 0 < drawn < 0.5


def waves(n: int) -> np.ndarray:
    values: np.ndarray = np.sin(np.arange(n) ** 2)
    return values


@pytest.mark.parametrize(
    ("n", "p"),
    [
        (1, 1.0), (5, 0.4375), (13, 0.689208984375), (14, 0.8135186481351865), (60, 0.07029297070292971),
        (300, 1 / 10_001),
    ],
)  # fmt: skip
def test_sign_flips_of_published_results(n: int, p: float) -> None:
    """The draws are those of the test before scipy's, so that results already written stay as they are."""
    assert sign_flip_test(waves(n) + 0.2) == sign_flip_test(waves(n) + 0.2) == pytest.approx(p, abs=1e-12)


@pytest.mark.parametrize("n", [2, 6, 9, 13])
@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_exact_sign_flips_are_a_permutation_test(n: int, shift: float) -> None:
    values = waves(n) + shift
    found = stats.permutation_test((values,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_test(values) == pytest.approx(min(1.0, found.pvalue), abs=1e-12)


@pytest.mark.parametrize("n", [10, 40, 200])
def test_ties_are_ties_whatever_the_order_of_sums(n: int) -> None:
    """Gaps of accuracy over 3 seeds are thirds: their sums are equal in truth and not in floating point."""
    generator = np.random.default_rng(11)
    for _ in range(20):
        whole = generator.integers(-3, 4, n)
        assert sign_flip_test(whole / 3, resamples=2000) == sign_flip_test(whole, resamples=2000)


@pytest.mark.parametrize("n", [40, 200])
def test_chunks_do_not_change_the_p_value(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = waves(n) + 0.1
    before = sign_flip_test(values, resamples=1001)
    monkeypatch.setattr(significance, "CHUNK", n * 7)
    assert sign_flip_test(values, resamples=1001) == before


def test_difference_of_published_results() -> None:
    a = np.sin(np.arange(120).reshape(3, 40) ** 2)
    b = np.cos(np.arange(120).reshape(3, 40) * 1.7) - 0.3
    several, alone = difference(a, b), difference(a[0], b[0])
    assert several == difference(a, b)
    found = [(d.interval.value, d.interval.low, d.interval.high, d.p, d.detectable) for d in (several, alone)]
    assert found == [
        pytest.approx(
            (0.29288563255355904, 0.02933228656107001, 0.556438978546048, 0.04106365231824327, 0.31510575007864994),
            abs=1e-9,
        ),
        pytest.approx(
            (0.20202349009367335, -0.06503480706291398, 0.45528231751168863, 0.14858514148585142, 0.38431052450410963),
            abs=1e-9,
        ),
    ]


@pytest.mark.parametrize(
    ("values", "p"),
    [
        ([1.0, 2.0, 4.0], 0.11808289631180313),
        ([0.1, -0.3, 0.2, 0.5], 0.5042577334309545),
        (waves(9) + 0.5, 0.14059690951442194),
        ([3.0, 3.001], 0.0001060856134768029),
        (waves(30) + 0.9, 2.815522887722466e-06),
    ],
)
def test_t_tests_of_published_results(values: list[float], p: float) -> None:
    assert t_test(values) == pytest.approx(p, abs=1e-9)


@pytest.mark.filterwarnings("error")
def test_a_t_test_of_equal_values_says_nothing_aloud() -> None:
    assert t_test([5.0, 5.0 + 1e-15, 5.0]) == 0.0 and t_test([-0.1] * 3) == 0.0 and t_test([0.0] * 3) == 1.0


def test_t_test_against_tables() -> None:
    """t = 2.776 at 4 degrees of freedom is the two-sided 5 % point."""
    values = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    error = values.std(ddof=1) / math.sqrt(5)
    assert t_test(values + 2.776 * error) == pytest.approx(0.05, abs=2e-4)
    assert t_test([1.0]) == 1.0 and t_test([0.0, 0.0]) == 1.0 and t_test([1.0, 1.0]) == 0.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_order_and_lies_between(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(p <= c <= min(1, p * len(p_values)) + 1e-12 or c <= 1 for p, c in zip(p_values, corrected, strict=True))
    assert all(p <= c for p, c in zip(p_values, corrected, strict=True))
    pairs = sorted(zip(p_values, corrected, strict=True))
    assert all(a[1] <= b[1] for a, b in itertools.pairwise(pairs))


def test_a_grid_of_nothing_gives_nothing() -> None:
    """Family-wise: in at most 5 % of grids of 12 comparisons is anything told."""
    grids = [min(holm([p for p, _ in simulated(12, 1, 20)])) < 0.05 for _ in range(60)]
    assert np.mean(grids) <= 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / 60)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="two equal shapes"):
        difference([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="at least one number"):
        sign_flip_test([])
    with pytest.raises(ValueError, match="at least one number"):
        t_test([])


def test_seeds_may_be_tested_on_items_of_their_own() -> None:
    """Nobody's items are thrown away: a seed's own difference is over its own items, and the mean is over seeds."""
    nan = float("nan")
    a = np.array([[1.0, 1.0, nan, 0.0], [1.0, nan, 0.0, 0.0], [nan, 1.0, 1.0, 1.0]])
    b = np.array([[0.0, 1.0, nan, 0.0], [0.0, nan, 0.0, 1.0], [nan, 0.0, 1.0, 0.0]])
    found = difference(a, b)
    assert found.interval.value == pytest.approx((1 / 3 + 0.0 + 2 / 3) / 3)
    assert (found.items, found.seeds) == (4, 3)
    with pytest.raises(ValueError, match="no difference at all"):
        difference(np.array([[1.0, nan]]), np.array([[0.0, nan]]))


@pytest.mark.parametrize("clusters", [None, [f"r{k // 10}" for k in range(60)]])
def test_an_interval_lies_around_the_mean_that_is_told(clusters: list[str] | None) -> None:
    """Items that one seed alone was asked weigh in it as they do in the mean over seeds, here 0.5 and not 1/3."""
    values = np.full((2, 60), np.nan)
    values[0, :40], values[1, 20:] = 0.0, 0.0
    values[:, 20:40] = 1.0
    noise = RNG.normal(0, 0.05, 60)
    found = mean_interval(values + noise, clusters=clusters)
    assert found.low is not None and found.high is not None and found.value == pytest.approx(0.5, abs=0.03)
    for _, linear in _units(values + noise, clusters):
        assert linear.mean() == pytest.approx(found.value, abs=1e-12)
    equal = mean_interval(np.where(np.isnan(values), np.nan, 2.0), clusters=clusters)
    assert (equal.low, equal.high) == pytest.approx((2.0, 2.0), abs=1e-12), "what never varies is certain"


def test_an_interval_covers_where_seeds_have_items_of_their_own() -> None:
    """Two halves of items, each asked by another seed, and a quarter by both: the truth is that of all items alike."""
    covers, asked = [], np.array([[1] * 50 + [0] * 30, [0] * 30 + [1] * 50], bool)
    for _ in range(200):
        gaps = RNG.normal(1, 2, 80) + RNG.normal(0, 0.5, (2, 80))
        d = difference(np.where(asked, gaps, np.nan), np.zeros((2, 80)), resamples=499).interval
        assert d.low is not None and d.high is not None
        covers.append(d.low <= 1.0 <= d.high)
    assert np.mean(covers) > 0.92


def test_items_of_one_relation_are_no_independent_evidence() -> None:
    """Differences that belong to relations, not items: items alone find chance too often, clusters do not."""
    names = [f"r{k // 12}" for k in range(144)]
    alone, clustered, covered = [], [], []
    for _ in range(200):
        a = np.repeat(RNG.normal(0, 1, 12), 12) + RNG.normal(0, 1, 144)
        alone.append(difference(a, np.zeros(144), resamples=499).p < 0.05)
        found = difference(a, np.zeros(144), resamples=499, clusters=names)
        clustered.append(found.p < 0.05)
        covered.append(found.interval.low <= 0.0 <= found.interval.high)  # type: ignore[operator]
    assert np.mean(alone) > 0.3 and np.mean(clustered) < 0.12 and np.mean(covered) > 0.85


def test_clusters_keep_the_mean_over_items_and_its_error() -> None:
    gaps = np.array([1.0, 2.0, 3.0, -1.0, 4.0])
    found = difference(gaps, np.zeros(5), clusters=["a", "a", "a", "b", "c"])
    assert found.interval.value == pytest.approx(gaps.mean())
    sizes = RNG.integers(1, 9, 60)
    names = [f"r{k}" for k, size in enumerate(sizes) for _ in range(size)]
    many = np.repeat(RNG.normal(1, 1, 60), sizes) + RNG.normal(0, 0.1, len(names))
    sums = np.array([part.sum() for part in np.split(many, sizes.cumsum()[:-1])])
    drawn = RNG.integers(0, 60, (20_000, 60))
    low, high = np.quantile(sums[drawn].sum(1) / sizes[drawn].sum(1), [0.025, 0.975])  # the ratio, resampled as it is
    near = difference(many, np.zeros(len(many)), clusters=names).interval
    assert near.low == pytest.approx(low, abs=0.04) and near.high == pytest.approx(high, abs=0.04)
    for names in (["a"] * 5, list("abcde")):  # one cluster tells nothing, clusters of one item are the items
        assert difference(gaps, np.zeros(5), clusters=names) == difference(gaps, np.zeros(5))
