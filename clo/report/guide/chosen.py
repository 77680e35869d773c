"""Which runs of a method speak for a task, and numbers of them as effects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clo.evaluation.scripts import scripts_of
from clo.report.claim_tests import Effect, NotTestedError
from clo.report.formats import decimal, signed
from clo.report.guide.cubes import SEEN, Lab
from clo.report.guide.runs import Arm

if TYPE_CHECKING:
    from clo.evaluation.statistics import Interval

LATIN, OTHER, MIXED = "Latin", "other", "mixed"
Place = tuple[str, str]
"""Model, and task or variable."""


def in_latin(lang: str) -> bool:
    """Whether a language is written in Latin letters."""
    return scripts_of(lang) == frozenset({"LATIN"})


@dataclass(frozen=True)
class GuideEffect(Effect):
    """A number with its interval; ``lang`` is the task, or what else the number is of."""

    unit: str = ""
    """After the number: empty for points, which have their sign."""
    digits: int = 1

    def __str__(self) -> str:
        words = decimal if self.unit else signed

        def one(value: float) -> str:
            return "beyond" if math.isinf(value) else words(value, self.digits)

        ends = f"{one(self.low)} to {one(self.high)}"
        return f"{self.model} {self.lang} {one(self.gap)}{self.unit and ' '}{self.unit} ({ends})"


class Chosen:
    """The runs of one method."""

    def __init__(self, lab: Lab, method: str) -> None:
        self.lab, self.method = lab, method

    def alone(self, model: str, task: str, kinds: Sequence[str] = ()) -> Arm:
        """The task alone, in the mixture with most scripts, amounts and languages, or of the first kind there is."""
        arms = [arm for arm in self.lab.arms(self.method, model, task) if not arm.joint]
        for kind in kinds:
            if own := [arm for arm in arms if self.kind(arm, task) == kind]:
                arms = own
                break
        else:
            arms = [] if kinds else arms
        if not arms:
            what = f"with rows in {kinds[0]} script alone" if kinds else "alone"
            raise NotTestedError(f"no run of {model} trains {task} {what}")

        def rank(arm: Arm) -> tuple[bool, int, int, str]:
            seen = len(self.lab.group(arm, task, SEEN))
            return self.kind(arm, task) == MIXED, len(self.lab.amounts(arm)), seen, arm.name

        return max(arms, key=rank)

    def kind(self, arm: Arm, task: str) -> str:
        """In which scripts the languages are that it trains beside the source; empty where there are none."""
        latin = {in_latin(lang) for lang in self.lab.group(arm, task, SEEN)}
        return MIXED if len(latin) > 1 else LATIN if latin == {True} else OTHER if latin else ""

    def seeds(self, arms: Sequence[Arm]) -> int:
        """The fewest that any amount of the arms has."""
        return min(len(self.lab.at(arm, amount)) for arm in arms for amount in self.lab.amounts(arm))

    def told(self, place: Place, what: str, found: Interval, arms: Sequence[Arm]) -> GuideEffect:
        """A number of the arms, in points.

        Raises:
            NotTestedError: there is no number.
        """
        low, high = (found.value if end is None else end for end in (found.low, found.high))
        if math.isnan(found.value):
            raise NotTestedError(f"no score of {' '.join(place)}")
        return GuideEffect(*place, what, found.value, low, high, self.seeds(arms))
