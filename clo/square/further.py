"""A method's comparisons beside those between languages: own answers, quality pairs, and rankings of four responses."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from clo.config.choices import Prompts
from clo.config.rejected import kinds_of
from clo.data.candidates import Further, further_candidates, own_prompts, prompts_of
from clo.errors import UserError
from clo.square.comparisons import Comparison

if TYPE_CHECKING:
    from clo.config.method import MethodConfig


def further_comparisons(method: MethodConfig, languages: int) -> tuple[Prompts, tuple[Comparison, ...]]:
    """(Prompts that still prefer their language over the others, all other comparisons).

    Own answers stand in the translation's place under the prompts that they are to; quality pairs under all.

    Args:
        method: the method.
        languages: L, the source first.

    Raises:
        UserError: a ranking under the source's prompts with several targets, whose "other" language is not told.
    """
    kinds, between = kinds_of(method), method.preference
    places = {one: languages + k for k, one in enumerate(further_candidates(method, languages))}
    if method.ranking is not None and between is not Prompts.none:
        return Prompts.none, tuple(_ranked(method, method.ranking, languages))
    if kinds == ("own",):
        over = own_prompts(method)
        between = Prompts.source if over is Prompts.target and between is Prompts.both else Prompts.none
    elif "translation" not in kinds:
        between = Prompts.none
    compared = [
        Comparison(i, i, places[Further(kind, i)], f"{kind}_{_side(i)}")
        for kind in ("quality", "own")
        for i in prompts_of(method.preference, languages)
        if Further(kind, i) in places
    ]
    return between, tuple(compared)


def _ranked(method: MethodConfig, gains: list[float], languages: int) -> Iterator[Comparison]:
    """All pairs of the four responses to each prompt whose gains differ, the higher one chosen, best first."""
    prompts = prompts_of(method.preference, languages)
    if 0 in prompts and languages > 2:
        raise UserError(
            "method.ranking takes the other language of a source prompt from the run's one target, and there are "
            f"{languages - 1}; set method.preference=target"
        )
    for i in prompts:
        other = 0 if i else 1
        places = (i, other, languages + i, languages + other)
        ranked = sorted(zip(gains, places, strict=True), key=lambda one: -one[0])
        for (high, chosen), (low, rejected) in combinations(ranked, 2):
            if high > low:
                yield Comparison(i, chosen, rejected, _name(i, chosen, rejected, languages), high - low)


def _name(i: int, chosen: int, rejected: int, languages: int) -> str:
    """In the log: between languages, of one quality, as in all methods; between qualities of a language; the rest."""
    if (chosen, rejected) == (i, 0 if i else 1):
        return ""
    return f"{'quality' if rejected == languages + chosen else 'ranking'}_{_side(i)}"


def _side(i: int) -> str:
    return "target" if i else "en"
