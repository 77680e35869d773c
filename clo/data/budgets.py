"""Items of several languages: as many of each as were asked for, and one at a time where that is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from clo.data.items import Item


def within(items: Iterable[Item], sizes: Sequence[int]) -> tuple[list[Item], list[int]]:
    """The first items of each target, as many as its size; an item is absent in a target that has enough.

    Args:
        items: of one source and L - 1 targets.
        sizes: of the targets, in the order of the items' languages.

    Returns:
        The items, and how many each target has.
    """
    kept: list[Item] = []
    counts = [0] * len(sizes)
    for item in items:
        wanted = [
            place
            for place, size in enumerate(sizes)
            if counts[place] < size and None not in (item.prompts[place + 1], item.responses[place + 1])
        ]
        if wanted:
            kept.append(_only(item, {0, *(place + 1 for place in wanted)}))
            for place in wanted:
                counts[place] += 1
    return kept, counts


def one_at_a_time(items: Iterable[Item]) -> list[Item]:
    """An item for every target of every item, with that target and the source, if it is there, alone."""
    return [_only(item, {0, place}) for item in items for place in targets_of(item) or [0]]


def rows_within(items: Iterable[Item], sizes: Sequence[int]) -> tuple[list[Item], list[int]]:
    """The first items of each language, the source too, as many as its size; absent in a language that has enough.

    Args:
        items: of L languages.
        sizes: of the languages, in the items' order.

    Returns:
        The items, and how many each language has.
    """
    kept: list[Item] = []
    counts = [0] * len(sizes)
    for item in items:
        wanted = {place for place in item.languages() if counts[place] < sizes[place]}
        if wanted:
            kept.append(_only(item, wanted))
        for place in wanted:
            counts[place] += 1
    return kept, counts


def one_language_each(items: Iterable[Item]) -> list[Item]:
    """An item for every language of every item."""
    return [_only(item, {place}) for item in items for place in item.languages()]


def targets_of(item: Item) -> list[int]:
    """Places of the languages beside the source that an item has a prompt in."""
    return [place for place, ids in enumerate(item.prompts) if place and ids is not None]


def _only(item: Item, languages: set[int]) -> Item:
    """An item with some of its languages; candidates beside the languages' own stay."""
    own = len(item.prompts)
    prompts = tuple(ids if place in languages else None for place, ids in enumerate(item.prompts))
    responses = tuple(ids if place in languages or place >= own else None for place, ids in enumerate(item.responses))
    return (
        item
        if (prompts, responses) == (item.prompts, item.responses)
        else replace(item, prompts=prompts, responses=responses)
    )


def columns_of(items: Sequence[Item]) -> list[int]:
    """Of each item the column that it is drawn from: its one target's place, or in a mixture its task and languages.

    Columns of a mixture are numbered in their order.
    """
    if not any(item.task for item in items):
        return [place for item in items for place in targets_of(item)]
    found = [(item.task, item.languages()) for item in items]
    numbers = {repr(column): number for number, column in enumerate(sorted({repr(one): one for one in found}.values()))}
    return [numbers[repr(column)] for column in found]


def shares(columns: Sequence[int], temperature: float) -> Mapping[int, float]:
    """Column -> its share of the draws: size ** (1 / temperature)."""
    sizes: dict[int, int] = {}
    for column in columns:
        sizes[column] = sizes.get(column, 0) + 1
    weights = {place: size ** (1 / temperature) for place, size in sorted(sizes.items())}
    return {place: weight / sum(weights.values()) for place, weight in weights.items()}
