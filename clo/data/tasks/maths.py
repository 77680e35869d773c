"""Sums, differences, comparisons and word problems: numbers that are the same in all languages.

Numbers are written as the language writes them (Unicode CLDR through babel): 1,200 and 1.2 in English, 1.200 and 1,2
in German and Indonesian. Years have no separator anywhere.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from babel.numbers import format_decimal

from clo.data.cldr import names
from clo.data.cldr.splits import blended, order
from clo.data.tasks.wording import ANSWERS, FORMS, capitalised, load_wording

COUNTS: dict[str, tuple[int, int, int]] = {
    "sum": (900, 14, 28),
    "sum_hundreds": (500, 7, 14),
    "sum_tenths": (500, 7, 14),
    "difference": (900, 14, 28),
    "difference_hundreds": (500, 7, 14),
    "difference_tenths": (500, 7, 14),
    "larger": (500, 7, 14),
    "smaller": (500, 7, 14),
    "earlier_year": (250, 4, 8),
    "later_year": (250, 4, 8),
    "earlier_month": (100, 2, 4),
    "later_month": (100, 2, 4),
    "word_sum": (500, 6, 12),
    "word_difference": (500, 6, 12),
    "word_both": (500, 6, 12),
}
"""Kind of problem -> how many of train, dev and test are of it."""
THINGS = ("book", "orange", "egg", "chair", "plate")
TOP = 99
"""No sum is larger, in units of its kind (ones, hundreds, tenths)."""
FIRST_YEAR, LAST_YEAR = 1900, 2020
_HIDDEN_MONTHS = frozenset({(1, 11), (2, 12)})
"""Months of which one's name stands inside the other's in Chinese or Korean."""
_EXPONENTS = {"hundreds": 2, "tenths": -1}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem."""

    kind: str
    numbers: tuple[int, ...]
    """The given numbers, in units of ten to the power of ``exponent``; months and years as they are."""
    exponent: int
    form: int
    """Which of the ways to ask."""
    thing: str = ""
    """What is counted in a word problem."""

    @property
    def id(self) -> str:
        """Another for every problem that is asked in other words."""
        return ".".join(map(str, (self.kind, self.exponent, *self.numbers, self.form, self.thing)))

    @property
    def key(self) -> str:
        """What it shares with the problems that are the same sum in other words, in other units or turned round."""
        a, b, *_ = self.numbers
        if self.kind == "word_both":
            return f"both|{self.numbers}"
        if self.sort in ("difference", "word_difference"):
            return f"difference|{a}|{b}"
        family = "sum" if self.sort in ("sum", "word_sum") else f"compare{self.sort.partition('_')[2]}"
        return f"{family}|{min(a, b)}|{max(a, b)}"

    @property
    def sort(self) -> str:
        """The kind by its wording: that of a sum does not hang on the size of its numbers."""
        return self.kind.partition("_")[0] if self.kind.endswith(tuple(_EXPONENTS)) else self.kind

    @property
    def result(self) -> int:
        """The answer, in the unit of the numbers."""
        a, b = self.numbers[:2]
        match self.sort:
            case "sum" | "word_sum":
                return a + b
            case "difference" | "word_difference":
                return a - b
            case "word_both":
                return a + b - self.numbers[2]
            case "larger" | "later_year" | "later_month":
                return max(a, b)
        return min(a, b)


def draw(kind: str, rng: random.Random) -> Problem:
    """Return a random problem of a kind, out of all that there are."""
    exponent = _EXPONENTS.get(kind.rpartition("_")[2], 0)
    thing = rng.choice(THINGS) if kind.startswith("word_") else ""
    while True:
        if kind in ("larger", "smaller"):
            exponent = rng.choice((0, 0, -1))
        problem = Problem(kind, _numbers(kind, exponent, rng), exponent, rng.randrange(FORMS), thing)
        if _fits(problem):
            return problem


def _numbers(kind: str, exponent: int, rng: random.Random) -> tuple[int, ...]:
    """Numbers for a problem; some pairs do not fit."""
    if kind.endswith("year"):
        return rng.randint(FIRST_YEAR, LAST_YEAR), rng.randint(FIRST_YEAR, LAST_YEAR)
    if kind.endswith("month"):
        return rng.randint(1, 12), rng.randint(1, 12)
    if kind == "word_both":
        return rng.randint(2, 30), rng.randint(2, 20), rng.randint(2, 20)
    if kind in ("larger", "smaller"):
        if exponent < 0 or rng.random() < 0.3:
            return rng.randint(10, TOP), rng.randint(10, TOP)
        thousands = rng.randint(1, 9) * 1000
        near = thousands if rng.random() < 0.5 else rng.randint(1, 9) * 1000
        return thousands + rng.randrange(1000), near + rng.randrange(1000)
    total, part = rng.randint(4, TOP), rng.randint(2, TOP)
    return (part, total - part) if "sum" in kind else (total, part)


def _fits(problem: Problem) -> bool:
    numbers, least = problem.numbers, 2 if problem.thing else 1
    if problem.exponent < 0 and any(number % 10 == 0 for number in (*numbers, problem.result)):
        return False  # no tenth is left to write
    if "sum" in problem.kind or "difference" in problem.kind or problem.thing:
        return min(numbers) >= 2 and problem.result >= least
    pair = (min(numbers), max(numbers))
    return numbers[0] != numbers[1] and not (problem.kind.endswith("month") and pair in _HIDDEN_MONTHS)


@lru_cache(maxsize=1)
def problems() -> dict[str, tuple[Problem, ...]]:
    """Return the problems of every split; no two splits share a key (see :attr:`Problem.key`)."""
    parts: dict[str, list[Problem]] = {"test": [], "dev": [], "train": []}
    taken: set[str] = set()
    for split, place in (("test", 2), ("dev", 1), ("train", 0)):
        found: set[str] = set()
        for kind, counts in COUNTS.items():
            for problem in _distinct(kind, counts[place], taken, split):
                parts[split].append(problem)
                found.add(problem.key)
        taken |= found
    return {split: tuple(members) for split, members in parts.items()}


def plan(split: str) -> list[Problem]:
    """Return the problem of every row of a split, blended."""
    return blended(problems()[split], lambda one: (one.kind, one.form), lambda one: one.id)


def _distinct(kind: str, count: int, taken: set[str], split: str) -> Iterator[Problem]:
    rng, seen = random.Random(order(f"maths{split}{kind}")), set[str]()
    while len(seen) < count:
        problem = draw(kind, rng)
        if problem.key not in taken and problem.id not in seen:
            seen.add(problem.id)
            yield problem


@lru_cache(maxsize=1)
def held_out() -> frozenset[str]:
    """The keys of dev and test, which neither training rows nor the text of the start models hold."""
    return frozenset(problem.key for split in ("dev", "test") for problem in problems()[split])


@lru_cache(maxsize=65536)
def written(number: int, exponent: int, language: str) -> str:
    """Return a number as the language writes it: 12 with exponent 2 is 1,200 in English and 1.200 in German."""
    return str(format_decimal(Decimal(number).scaleb(exponent), "#,##0.###", locale=language))


def _places(problem: Problem, language: str) -> dict[str, object]:
    wording, values = load_wording(language), (*problem.numbers, problem.result)
    letters = [*"abd"[: len(problem.numbers)], "c"]
    if problem.thing:
        shown: list[object] = [wording.counted(problem.thing, str(value)) for value in values]
        return {"many": wording.things[problem.thing]["many"], **dict(zip(letters, shown, strict=True))}
    return {letter: _told(problem, value, language) for letter, value in zip(letters, values, strict=True)}


def _told(problem: Problem, value: int, language: str) -> str:
    if problem.kind.endswith("month"):
        return str(names.name("month", str(value), language))
    return str(value) if problem.kind.endswith("year") else written(value, problem.exponent, language)


def question(problem: Problem, language: str) -> str:
    """Return the prompt of a problem."""
    asked = load_wording(language).maths[problem.sort]["questions"][problem.form]
    return capitalised(asked.format(**_places(problem, language)))


def answer(problem: Problem, language: str, which: int) -> str:
    """Return one of the full sentences that answer a problem."""
    said = load_wording(language).maths[problem.sort]["answers"][which]
    return capitalised(said.format(**_places(problem, language)))


def shown(problem: Problem, language: str) -> str:
    """Return the answer alone, as it stands in the sentence."""
    return str(_places(problem, language)["c"])


def answer_of(problem: Problem) -> int:
    """Which of the answers goes with a problem's row."""
    return order(f"answer{problem.id}") % ANSWERS


def gold(problem: Problem, language: str) -> str:
    """Return the answer alone: a number in ASCII digits with a decimal point, or the name of a month."""
    if problem.kind.endswith("month"):
        return _told(problem, problem.result, language)
    return f"{Decimal(problem.result).scaleb(problem.exponent):f}"
