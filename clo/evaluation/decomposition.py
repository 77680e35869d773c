"""How much of the variance of a result each factor of a study explains, and how much is left.

The share of a factor is what it adds to R², averaged over all orders in which the factors may come in (LMG, after
Lindeman, Merenda and Gold 1980; the Shapley value of R²), so that no order is chosen. In a balanced study nothing hangs
on the order, and the shares are the eta² of an analysis of variance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
MOST_FACTORS = 8
"""Their subsets are all fitted: 256 of them."""


@dataclass(frozen=True)
class Shares:
    """Shares of the variance, each [...] with the leading shape of the results; they sum to 1."""

    factors: dict[str, Array]
    """What each factor explains by itself."""
    pairs: Array
    """What pairs of the factors explain beyond them: that one works otherwise where the other differs."""
    rest: Array
    """What neither explains."""
    balanced: bool
    """Whether every combination of levels has as many results: only then does no share hang on another factor."""


def decompose(values: ArrayLike, factors: Mapping[str, Sequence[object]], alone: Sequence[str] = ()) -> Shares:
    """Decompose results by least squares on the levels of the factors.

    Args:
        values: [..., n], such as n results in each of many resamples.
        factors: name -> level of each of the n; factors with one level explain nothing.
        alone: factors that make no pairs, such as the seed.

    Returns:
        Shares; NaN where the results do not vary.

    Raises:
        ValueError: no factor or too many, no result, or lengths that differ.
    """
    results = np.asarray(values, np.float64)
    n = results.shape[-1] if results.ndim else 0
    if not 0 < len(factors) <= MOST_FACTORS:
        raise ValueError(f"expected 1 to {MOST_FACTORS} factors, got {len(factors)}")
    if n == 0 or any(len(levels) != n for levels in factors.values()):
        raise ValueError(f"expected a level of every factor for each of {n} results, at least one")
    columns = {name: _columns(levels) for name, levels in factors.items()}
    names, centred = list(factors), results - results.mean(-1, keepdims=True)
    total = (centred**2).sum(-1)
    flat = total <= 1e-18 * n * np.maximum(1.0, (results**2).max(-1, initial=0))

    def explained(parts: Sequence[Array]) -> Array:
        """R² [...] of a fit on blocks of columns."""
        if not parts:
            return np.zeros(results.shape[:-1])
        basis = _basis(np.concatenate(parts, axis=1))
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Array = ((centred @ basis) ** 2).sum(-1) / total
        return found

    by_set = {
        own: explained([columns[name] for name in names if name in own])
        for size in range(len(names) + 1)
        for own in map(frozenset, combinations(names, size))
    }
    shares = {name: _average(name, names, by_set) for name in names}
    makes_pairs = [name for name in names if name not in alone]
    products = [_product(columns[a], columns[b]) for a, b in combinations(makes_pairs, 2)]
    mains = by_set[frozenset(names)]
    both = explained([*columns.values(), *products])
    counts = Counter(zip(*factors.values(), strict=True))
    cells = np.prod([len(set(levels)) for levels in factors.values()])
    told = [np.where(flat, np.nan, one) for one in (*shares.values(), both - mains, 1 - both)]
    balanced = len(counts) == cells and len(set(counts.values())) == 1
    return Shares(dict(zip(names, told[:-2], strict=True)), told[-2], told[-1], balanced)


def _columns(levels: Sequence[object]) -> Array:
    """[n, levels - 1]: 0 or 1, centred, of all levels but the first."""
    _, place = np.unique([str(level) for level in levels], return_inverse=True)
    ones = np.eye(place.max() + 1)[place][:, 1:]
    found: Array = ones - ones.mean(0)
    return found


def _product(a: Array, b: Array) -> Array:
    """Columns of the levels of one factor where the other has its own; centred."""
    both = (a[:, :, None] * b[:, None, :]).reshape(len(a), -1)
    found: Array = both - both.mean(0) if both.size else both
    return found


def _basis(columns: Array) -> Array:
    """Orthonormal columns of the same span; some may follow from others."""
    left, scale, _ = np.linalg.svd(columns, full_matrices=False)
    return left[:, scale > 1e-9 * max(scale.max(initial=0.0), 1e-300)]


def _average(name: str, names: Sequence[str], by_set: Mapping[frozenset[str], Array]) -> Array:
    """What a factor adds to those before it, averaged over all orders."""
    others = [other for other in names if other != name]
    found = np.zeros_like(by_set[frozenset()])
    for size in range(len(others) + 1):
        for before in map(frozenset, combinations(others, size)):
            gain = by_set[before | {name}] - by_set[before]
            found = found + gain / (len(names) * comb(len(others), size))
    return found
