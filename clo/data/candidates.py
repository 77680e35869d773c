"""Further candidates of the square: which ones a method compares with, and their places after the languages'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from clo.config.choices import Prompts
from clo.config.rejected import kinds_of

if TYPE_CHECKING:
    from clo.config.method import MethodConfig
    from clo.data.items import Ids, Item


class Further(NamedTuple):
    """One candidate that is no response of a language's row."""

    kind: str
    """``quality``, the worse response of a pair, or ``own``, what the start model answers."""
    language: int
    """Of the response; of ``own`` that of the prompt."""


def further_candidates(method: MethodConfig, languages: int) -> tuple[Further, ...]:
    """Those that a method compares with, in their places: candidate ``languages`` is the first of them.

    Args:
        method: the method.
        languages: L, the source first.
    """
    kinds = kinds_of(method)
    quality = [Further("quality", i) for i in range(languages) if "quality" in kinds]
    return (*quality, *(Further("own", i) for i in prompts_of(own_prompts(method), languages)))


def own_prompts(method: MethodConfig) -> Prompts:
    """The prompts that the start model is asked for answers to be rejected."""
    if "own" not in kinds_of(method):
        return Prompts.none
    return method.preference if method.own_prompts is Prompts.both else Prompts.target


def prompts_of(prompts: Prompts, languages: int) -> range:
    """Places of the prompts that a choice names."""
    first, last = {
        Prompts.none: (0, 0),
        Prompts.source: (0, 1),
        Prompts.target: (1, languages),
        Prompts.both: (0, languages),
    }[prompts]
    return range(first, last)


def with_further(item: Item, responses: Sequence[Ids | None]) -> Item:
    """The item with more candidates, None where it has none."""
    return replace(item, responses=(*item.responses, *responses))
