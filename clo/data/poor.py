"""Rows that can be read and are probably not meant: copies between languages, repeated examples, empty-looking texts.

A few are normal (a quotation, a line of code, a name) and are said; more than that and the data are refused, unless
``data.poor_rows=say``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clo.config.choices import PoorRows
from clo.data.rows import Row
from clo.data.texts import key
from clo.errors import UserError

LONG = 24
"""Characters from which on one equal text of an example counts: names, numbers and short answers are often equal."""
SHOWN = 3
"""Rows that are named."""


@dataclass(frozen=True)
class Poor:
    """What one file has of one kind of poor row."""

    file: str
    kind: str
    """What is wrong with them, after "n of m rows"."""
    count: int
    rows: int
    """Rows of the file."""
    first: tuple[str, ...]
    """The first of them: place and id."""
    most: int
    """As many are normal; 0 where every one counts."""

    def line(self) -> str:
        """For a person."""
        places = ", ".join(place.removeprefix(f"{self.file}, ") for place in self.first)
        more = ", …" if self.count > len(self.first) else ""
        return f"{self.file}: {self.count:,} of {self.rows:,} rows {self.kind} ({places}{more})"

    def worth_saying(self) -> bool:
        """Whether it is more than a stray row."""
        return self.count > min(self.most, max(1, self.rows // 1000))

    def record(self) -> dict[str, Any]:
        """For results.json."""
        return {"file": self.file, "kind": self.kind, "rows": self.count, "of": self.rows, "first": list(self.first)}


def check_poor(rows: Sequence[Row], file: str, languages: Sequence[str], policy: PoorRows) -> tuple[Poor, ...]:
    """What the rows of one file have of each kind.

    Args:
        rows: all of one file.
        file: its name.
        languages: source and target.
        policy: whether more than a few are refused.

    Raises:
        UserError: there are more of a kind than its share, and they are not meant.
    """
    found = tuple(_found(rows, file, list(languages)))
    over = [one for one in found if one.count > one.most]
    if over and policy is PoorRows.stop:
        raise UserError(
            f"{'; '.join(one.line() for one in over)}; mend or drop them, or set data.poor_rows=say if they are meant"
        )
    return found


def _found(rows: Sequence[Row], file: str, languages: list[str]) -> list[Poor]:
    """Kinds that occur, with the share of the rows from which on they are refused."""
    keys = [[(key(row.prompts[lang]), key(row.responses[lang])) for lang in languages] for row in rows]
    names = " and ".join(languages)
    before: set[tuple[str, tuple[str, str]]] = set()

    def repeated(place: int) -> bool:
        mine = set(zip(languages, keys[place], strict=True))
        again = bool(mine & before)
        before.update(mine)
        return again

    def half(place: int) -> bool:
        prompts, responses = zip(*keys[place], strict=True)
        return not _same(keys[place]) and any(_same(texts) and len(texts[0]) >= LONG for texts in (prompts, responses))

    def bare(place: int) -> bool:
        return not all(any(map(_tells, text)) for pair in keys[place] for text in pair)

    kinds: list[tuple[str, float, Callable[[int], bool]]] = [
        (f"have the same prompt and response in {names}", 0.01, lambda place: _same(keys[place])),
        (f"have the same long prompt or the same long response in {names}", 0.1, half),
        ("repeat the prompt and response of an earlier row under another id", 0.01, repeated),
        ("have a prompt or response of signs alone", 0.01, bare),
    ]
    found = []
    for kind, share, test in kinds:
        places = [place for place in range(len(rows)) if test(place)]
        if places:
            first = tuple(named(rows[place]) for place in places[:SHOWN])
            found.append(Poor(file, kind, len(places), len(rows), first, max(1, int(share * len(rows)))))
    return found


def named(row: Row) -> str:
    """Where a row stands and how it is called."""
    return f"{row.where} (id {row.id!r:.60})" if row.where else f"id {row.id!r:.60}"


def _same(texts: Sequence[Any]) -> bool:
    return all(text == texts[0] for text in texts)


def _tells(character: str) -> bool:
    """A letter, a digit or a symbol, such as an emoji; marks and punctuation alone tell nothing."""
    return unicodedata.category(character)[0] in "LNS"
