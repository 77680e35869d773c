"""From replies to win rates: both orders averaged, intervals, length control, and how far the judge can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from clo.evaluation import statistics
from clo.judge.ask import answer, questions
from clo.judge.pairs import SIDES, Pair
from clo.server.cache import ReplyCache

TIE = 1e-9
"""A preference closer than this to one half is a tie."""
PENALTY = 1.0
"""Half of it times the squared slope of length is taken off the log-likelihood; assumed."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A pair and what the judge said about it."""

    pair: Pair
    run_first: tuple[float, bool] | None
    """Preference for the first answer and whether log-probabilities gave it; None: not asked, or out of format."""
    against_first: tuple[float, bool] | None
    asked: int
    """Comparisons asked: 2, or 0 where an answer is empty or both are equal."""
    language_run: bool | None
    """Whether the run's answer is in its instruction's language; None: empty, or out of format."""
    language_against: bool | None
    language_asked: int

    @property
    def preference(self) -> float | None:
        """For the run's answer, in [0, 1]: the mean of both orders, None where one of them is missing."""
        run, against = self.pair.run.strip(), self.pair.against.strip()
        if not self.asked:
            return 0.5 if run == against else float(bool(run))
        if self.run_first is None or self.against_first is None:
            return None
        return (self.run_first[0] + 1 - self.against_first[0]) / 2

    def to_dict(self) -> dict[str, Any]:
        """The JSON object: a line of the file of pairs."""
        orders = {"run_first": self.run_first, "against_first": self.against_first}
        first = {
            name: None if said is None else {"prefers_first": said[0], "log_probs": said[1]}
            for name, said in orders.items()
        }
        pair = self.pair
        texts = {"id": pair.id, "side": pair.side, "prompt": pair.instruction, "run": pair.run, "against": pair.against}
        language = {"language_run": self.language_run, "language_against": self.language_against}
        return {**texts, "preference": self.preference, **first, **language}


def judged(pairs: Sequence[Pair], cache: ReplyCache) -> list[Judged]:
    """What the replies in the cache say about every pair."""
    found = []
    for pair in pairs:
        asked = questions(pair)
        said = {name: answer(question, cache) for name, question in asked.items()}
        found.append(
            Judged(
                pair,
                said.get("run_first"),
                said.get("against_first"),
                sum(question.kind == "quality" for question in asked.values()),
                said.get("language_run"),
                said.get("language_against"),
                sum(question.kind == "language" for question in asked.values()),
            )
        )
    return found


def by_side(found: Sequence[Judged]) -> dict[str, dict[str, Any]]:
    """`measure` of every side there is."""
    sides = {one.pair.side for one in found}
    return {side: measure([one for one in found if one.pair.side == side]) for side in SIDES if side in sides}


def measure(found: Sequence[Judged]) -> dict[str, Any]:
    """The result of one side, as it stands in the file.

    Returns:
        ``n`` pairs with a preference, ``left_out`` pairs without (a reply out of format), ``wins``, ``ties``,
        ``losses`` of the run, ``win_rate`` (mean preference), ``interval`` (its 95 % bootstrap over pairs),
        ``length_controlled`` (see `length_controlled`), ``position_bias`` (share of the decided replies that take the
        first answer; 0.5 is none), ``disagreement`` (share of the pairs asked in both orders whose two verdicts
        differ), ``log_probs`` (share of comparisons decided by log-probabilities), ``unparsed`` (replies out of
        format), ``empty`` (empty answers of either), ``equal`` (pairs of equal answers), and ``same_language`` (share
        of either's answers in the language of the instruction, empty and unparsed ones left out). A share of nothing
        is None.
    """
    kept = [(one, value) for one in found if (value := one.preference) is not None]
    values = [value for _, value in kept]
    lengths = [len(one.pair.run.strip()) - len(one.pair.against.strip()) for one, _ in kept]
    rate = statistics.bootstrap_mean(values) if values else None
    replies = [said for one in found for said in (one.run_first, one.against_first) if said is not None]
    decided = [said[0] > 0.5 for said in replies if abs(said[0] - 0.5) > TIE]
    both = [(one.run_first[0], 1 - one.against_first[0]) for one in found if one.run_first and one.against_first]
    languages = {
        "run": [one.language_run for one in found if one.language_run is not None],
        "against": [one.language_against for one in found if one.language_against is not None],
    }
    asked = sum(one.asked + one.language_asked for one in found)
    return {
        "n": len(values),
        "left_out": len(found) - len(values),
        "wins": sum(value > 0.5 + TIE for value in values),
        "ties": sum(abs(value - 0.5) <= TIE for value in values),
        "losses": sum(value < 0.5 - TIE for value in values),
        "win_rate": None if rate is None else rate.value,
        "interval": None if rate is None else [rate.low, rate.high],
        "length_controlled": length_controlled(values, lengths) if values else None,
        "position_bias": _share(decided),
        "disagreement": _share([_verdict(a) != _verdict(b) for a, b in both]),
        "log_probs": _share([by_log_probs for _, by_log_probs in replies]),
        "unparsed": asked - len(replies) - sum(map(len, languages.values())),
        "empty": {
            "run": sum(not one.pair.run.strip() for one in found),
            "against": sum(not one.pair.against.strip() for one in found),
        },
        "equal": sum(one.pair.run.strip() == one.pair.against.strip() != "" for one in found),
        "same_language": {name: _share(said) for name, said in languages.items()},
    }


def _share(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


def _verdict(preference: float) -> int:
    return 0 if abs(preference - 0.5) <= TIE else 1 if preference > 0.5 else -1


def length_controlled(preferences: ArrayLike, differences: ArrayLike) -> float:
    """Win rate had both answers been of the same length, after AlpacaEval 2 (Dubois et al. 2024), simplified.

    Fits P(run preferred) = sigmoid(a + b * tanh(d / sd(d))) to the preferences by maximum likelihood, d being the
    difference of the lengths in characters, and returns sigmoid(a), the prediction at d = 0. AlpacaEval's third term,
    the difficulty of each instruction (fitted on many models), is left out. A ridge on b alone (`PENALTY`) keeps it
    finite where length separates wins from losses; a is free, so equal lengths give the plain win rate.

    Args:
        preferences: for the run, each in [0, 1].
        differences: characters of the run's answer less those of the other.

    Raises:
        ValueError: the two have different lengths, or there is no pair.
    """
    y, d = np.asarray(preferences, np.float64), np.asarray(differences, np.float64)
    if y.shape != d.shape or y.ndim != 1 or len(y) == 0:
        raise ValueError(f"expected a preference and a difference for each pair, got shapes {y.shape} and {d.shape}")
    mean, spread = float(y.mean()), float(d.std())
    if mean in (0.0, 1.0):
        return mean  # no finite a: every prediction is this one
    x = np.tanh(d / spread) if spread > 0 else np.zeros_like(d)
    if not x.any():
        return mean
    return 1 / (1 + math.exp(-_fit(x, y)[0]))


def _fit(x: Any, y: Any) -> tuple[float, float]:
    """The a and b of the penalised likelihood, which is strictly concave, by Newton's method with step halving."""
    features = np.stack([np.ones_like(x), x], 1)
    ridge = np.diag([0.0, PENALTY])

    def loss(w: Any) -> float:
        z = features @ w
        return float((np.logaddexp(0, z) - y * z).sum() + w @ ridge @ w / 2)

    w = np.array([math.log(y.mean() / (1 - y.mean())), 0.0])
    for _ in range(100):
        p = 1 / (1 + np.exp(-(features @ w)))
        gradient = features.T @ (p - y) + ridge @ w
        if np.abs(gradient).max() < 1e-10:
            break
        step = np.linalg.solve(features.T @ (features * (p * (1 - p))[:, None]) + ridge, gradient)
        size = 1.0
        while loss(w - size * step) > loss(w) and size > 1e-8:
            size /= 2
        w = w - size * step
    return float(w[0]), float(w[1])
