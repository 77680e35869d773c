"""Square items: token ids of each prompt and each response of one example, in L languages, source first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clo.config.choices import LengthPolicy
from clo.data.prompt import Renderer
from clo.data.rows import Row
from clo.errors import UserError


@dataclass(frozen=True, slots=True)
class Item:
    """Token ids of one example; nothing is empty and every response ends with the end-of-turn token."""

    id: str
    prompts: tuple[tuple[int, ...], ...]
    """L prompts."""
    responses: tuple[tuple[int, ...], ...]
    """L responses."""

    def key(self) -> str:
        """Content hash of the ids (not of the name): equal for equal squares."""
        return hashlib.sha256(repr((self.prompts, self.responses)).encode()).hexdigest()[:32]

    def longest(self) -> int:
        """Tokens of the longest prompt + response."""
        return max(map(len, self.prompts)) + max(map(len, self.responses))


@dataclass(frozen=True)
class ItemCounts:
    """What became of the rows."""

    kept: int
    too_long: int
    first_too_long: str | None


def build_items(
    rows: Iterable[Row],
    languages: Sequence[str],
    renderer: Renderer,
    max_length: int,
    policy: LengthPolicy = LengthPolicy.drop,
    limit: int | None = None,
) -> tuple[list[Item], ItemCounts]:
    """Encode rows until ``limit`` items fit the window (all rows without a limit).

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
            tuple(tuple(renderer.prompt_ids(row.prompts[lang])) for lang in languages),
            tuple(tuple(renderer.response_ids(row.responses[lang])) for lang in languages),
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
