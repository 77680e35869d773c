"""Shares of the variance, against sums of squares by hand."""

from __future__ import annotations

import numpy as np
import pytest

from clo.evaluation.decomposition import decompose

BY_HAND = {"a": [0, 0, 0, 0, 1, 1, 1, 1], "b": [0, 0, 1, 1, 0, 0, 1, 1], "seed": [0, 1, 0, 1, 0, 1, 0, 1]}
VALUES = [1, 3, 5, 7, 2, 4, 12, 10]
"""Mean 5.5, sum of squares 348 - 8 * 5.5² = 106. Of a (means 4 and 7) 18; of b (2.5 and 8.5) 72; of the seed (5 and 6)
2; of the four cells (2, 6, 3, 11) 98, so of the pair of a and b 8; left are 6."""


def test_a_balanced_case_by_hand() -> None:
    found = decompose(VALUES, BY_HAND, alone=("seed",))
    assert found.balanced
    shares = {name: float(share) for name, share in found.factors.items()}
    assert shares == pytest.approx({"a": 18 / 106, "b": 72 / 106, "seed": 2 / 106}, abs=1e-14)
    assert float(found.pairs) == pytest.approx(8 / 106, abs=1e-14)
    assert float(found.rest) == pytest.approx(6 / 106, abs=1e-14)


def test_the_order_of_the_factors_says_nothing() -> None:
    """Unbalanced: each share is the mean of what it adds first and last, by two fits of numpy; together they are R²."""
    levels = {"a": [0, 0, 0, 1, 1, 1, 1], "b": [0, 0, 1, 1, 1, 1, 0]}
    values = np.array([1.0, 2.0, 4.0, 8.0, 7.0, 9.0, 3.0])

    def explained(*names: str) -> float:
        design = np.stack([np.ones(7), *(np.array(levels[name]) for name in names)], axis=1)
        left = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
        return float(1 - (left**2).sum() / ((values - values.mean()) ** 2).sum())

    found, both = decompose(values, levels), explained("a", "b")
    again = decompose(values, dict(reversed(levels.items())))
    for name, other in (("a", "b"), ("b", "a")):
        wanted = (explained(name) + both - explained(other)) / 2
        assert float(found.factors[name]) == pytest.approx(wanted, abs=1e-12) == float(again.factors[name])
    assert float(sum(found.factors.values())) == pytest.approx(both, abs=1e-12) and not found.balanced


def test_shares_sum_to_one_and_many_results_are_decomposed_at_once() -> None:
    values = np.random.default_rng(0).random((5, 8))
    found = decompose(values, BY_HAND, alone=("seed",))
    total = sum(found.factors.values()) + found.pairs + found.rest
    assert np.allclose(total, 1.0)
    one = decompose(values[3], BY_HAND, alone=("seed",))
    assert np.allclose([found.factors[name][3] for name in BY_HAND], [one.factors[name] for name in BY_HAND])


def test_what_alone_decides_explains_all_and_one_level_nothing() -> None:
    found = decompose([1.0, 1.0, 5.0, 5.0], {"a": ["x", "x", "y", "y"], "b": [0, 1, 0, 1], "one": [3, 3, 3, 3]})
    assert [round(float(share), 12) for share in found.factors.values()] == [1.0, 0.0, 0.0]
    assert float(found.rest) == pytest.approx(0.0, abs=1e-12)


def test_what_does_not_vary_has_no_shares_and_what_cannot_be_is_refused() -> None:
    assert np.isnan(decompose([2.0] * 8, BY_HAND).rest)
    for values, levels in (([1.0, 2.0], {}), ([1.0, 2.0], {"a": [1]}), ([], {"a": []})):
        with pytest.raises(ValueError, match="expected"):
            decompose(values, levels)
