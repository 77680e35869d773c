"""Square items: token ids of each prompt and each candidate response of one example, source first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clo.config.choices import LengthPolicy
from clo.data.prompt import Renderer
from clo.data.rows import Row
from clo.errors import UserError

if TYPE_CHECKING:
    from clo.data.batch import Cell

Ids = tuple[int, ...]
"""Token ids."""


@dataclass(frozen=True, slots=True)
class Item:
    """Token ids of one example in L languages: L prompts, source first, and K >= L candidate responses.

    What is None is absent, and so are its cells; the source's prompt and response are always there, but in a mixture,
    where one language is. Nothing that is there is empty, and every response ends with the end-of-turn token.

    Raises:
        ValueError: fewer candidates than prompts, or no language with both prompt and response.
    """

    id: str
    prompts: tuple[Ids | None, ...]
    """L prompts."""
    responses: tuple[Ids | None, ...]
    """K candidates: the responses in the L languages, then any others."""
    replayed: bool = False
    """Whether it is no item of the method's, but a row that holds the source language (``method.anchor=replay``)."""
    task: str = ""
    """Of a mixture."""

    def __post_init__(self) -> None:
        if len(self.responses) < len(self.prompts) or not self.languages():
            raise ValueError(f"item {self.id!r} has no language whole, or fewer responses than prompts")

    def prompt(self, i: int) -> Ids:
        """A prompt that is there."""
        ids = self.prompts[i]
        assert ids is not None, f"item {self.id!r} has no prompt {i}"
        return ids

    def response(self, j: int) -> Ids:
        """A response that is there."""
        ids = self.responses[j]
        assert ids is not None, f"item {self.id!r} has no response {j}"
        return ids

    def languages(self) -> list[int]:
        """Places of the languages that have both prompt and response."""
        return [i for i, ids in enumerate(self.prompts) if ids is not None and self.responses[i] is not None]

    def is_whole(self) -> bool:
        """Whether nothing is absent."""
        return None not in self.prompts and None not in self.responses

    def present(self, cells: Sequence[Cell]) -> Sequence[Cell]:
        """Those of the cells that are there, in their order."""
        if self.is_whole():
            return cells
        return [(i, j) for i, j in cells if self.prompts[i] is not None and self.responses[j] is not None]

    def key(self) -> str:
        """Content hash of the ids (not of the name): equal for equal squares."""
        return hashlib.sha256(repr((self.prompts, self.responses)).encode()).hexdigest()[:32]

    def longest(self) -> int:
        """Tokens of the longest prompt + response."""
        return max(len(ids) for ids in self.prompts if ids) + max(len(ids) for ids in self.responses if ids)


def replay_items(rows: Iterable[Row], like: Item, renderer: Renderer, max_length: int, limit: int) -> list[Item]:
    """Encode rows of the source language alone until ``limit`` items fit the window; others are passed over.

    Args:
        rows: with one language.
        like: an item of the run's: so many prompts and candidates, of which the source's own are there.
        renderer: the model's.
        max_length: the window, tokens.
        limit: most items.

    Raises:
        UserError: nothing fits.
    """
    absent = [(None,) * (len(side) - 1) for side in (like.prompts, like.responses)]
    items: list[Item] = []
    for row in rows:
        if len(items) == limit:
            break
        (prompt,), (response,) = row.prompts.values(), row.responses.values()
        ids = tuple(renderer.prompt_ids(prompt)), tuple(renderer.response_ids(response))
        item = Item(row.id, (ids[0], *absent[0]), (ids[1], *absent[1]), replayed=True)
        if item.longest() <= max_length:
            items.append(item)
    if not items:
        raise UserError(f"no row of data.replay fits model.max_length={max_length}; raise it, or bring shorter rows")
    return items


@dataclass(frozen=True)
class ItemCounts:
    """What became of the rows."""

    kept: int
    too_long: int
    first_too_long: str | None


def absences(items: Sequence[Item]) -> tuple[list[int], list[int]]:
    """How many items lack each of the L prompts, and each of the K responses."""
    prompts = zip(*(item.prompts for item in items), strict=True)
    responses = zip(*(item.responses for item in items), strict=True)
    return [column.count(None) for column in prompts], [column.count(None) for column in responses]


def build_items(
    rows: Iterable[Row],
    languages: Sequence[str],
    renderer: Renderer,
    max_length: int,
    policy: LengthPolicy = LengthPolicy.drop,
    limit: int | None = None,
) -> tuple[list[Item], ItemCounts]:
    """Encode rows until ``limit`` items fit the window (all rows without a limit); what a row lacks is absent.

    The length policy is symmetric: an item with any cell over ``max_length`` tokens is left out in all languages and
    counted, so no language sees a cut or a smaller set.

    Raises:
        UserError: an item is too long under the ``error`` policy, or nothing fits.
    """
    items: list[Item] = []
    too_long, first = 0, None
    for row in rows:
        if limit is not None and len(items) == limit:
            break
        item = Item(
            row.id,
            tuple(tuple(renderer.prompt_ids(row.prompts[c])) if c in row.prompts else None for c in languages),
            tuple(
                tuple(renderer.response_ids(texts[c])) if c in texts else None
                for texts in (row.responses, *([row.rejected] if row.rejected else []))
                for c in languages
            ),
            task=row.task,
        )
        if item.longest() <= max_length:
            items.append(item)
            continue
        too_long, first = too_long + 1, first or f"{row.id!r} ({item.longest()} tokens)"
        if policy is LengthPolicy.error:
            raise UserError(
                f"item {first} is longer than model.max_length={max_length}; raise it or set data.length_policy=drop"
            )
    if not items:
        raise UserError(f"no item fits model.max_length={max_length}; the first is {first}; raise model.max_length")
    return items, ItemCounts(len(items), too_long, first)
