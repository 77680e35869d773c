"""What becomes of a row that cannot be used: the first one stops, or each is skipped, counted, and some are named."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from clo.errors import UserError

_PLACE = re.compile(r"^.*?, (?:line|row|record|entry) [\d,]+:? |^[^:]*: ")
_VALUE = re.compile(r"(?<=id )'[^']*'|'[^']{12,}'|\"[^\"]*\"|\d[\d,.]*")
NAMED = 10
"""Rows that are named; the others are counted."""


@dataclass
class BadRows:
    """The rows of one reading that were refused."""

    skip: bool = False
    """Whether a refused row is left out instead of ending everything."""
    count: int = 0
    first: list[str] = field(default_factory=list)
    """What is wrong with the first of them, with their places."""
    reasons: Counter[str] = field(default_factory=Counter)
    """How many there are of each reason: what is wrong without its place and values."""

    @contextmanager
    def row(self) -> Iterator[None]:
        """Read one row inside; a UserError there is raised, or counted."""
        try:
            yield
        except UserError as error:
            self.refuse(error)

    def refuse(self, error: UserError) -> None:
        """Raise it, or count it.

        Raises:
            UserError: rows are not to be skipped; the way to skip them is told.
        """
        if not self.skip:
            raise error
        self.count += 1
        self.reasons[_reason(str(error))] += 1
        if len(self.first) < NAMED:
            self.first.append(str(error))

    def lines(self) -> list[str]:
        """For a person; nothing where no row was refused."""
        if not self.count:
            return []
        more = self.count - len(self.first)
        return [f"{self.count:,} rows refused and skipped:", *self.first, *([f"and {more:,} more"] if more else [])]


def _reason(sentence: str) -> str:
    """What is wrong, without the place in front, the values in it, and the advice behind."""
    fault = _PLACE.sub("", sentence, count=1).partition("; ")[0]
    return " ".join(_VALUE.sub("…", fault).split())
