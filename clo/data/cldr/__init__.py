"""Embedded parallel rows: questions about CLDR facts with human-translated names, one wording file per language.

Source of the names and formats: Unicode CLDR through babel (Unicode licence). The sentences are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from clo.data.cldr import wording
from clo.data.cldr.facts import FORMATS, closed_facts, generated_facts
from clo.data.cldr.splits import Fact, order
from clo.data.rows import Row
from clo.errors import UserError

SPLITS = ("train", "dev", "test")
FORMS = wording.QUESTIONS * wording.FRAMES
EVALUATION_SIZES = {
    "dev": {"closed": 84, "formats": 16, "unseen": 50},
    "test": {"closed": 100, "formats": 20, "unseen": 80},
}


def cldr_rows(split: str, languages: Sequence[str]) -> list[Row]:
    """Return the rows of one split that exist in all the given languages, in a fixed order.

    Ids, order and evaluation sets do not depend on the languages, so lists of different pairs join by id. Every
    prefix of ``train`` has the same blend of relations, question forms and formats: a smaller data size is a prefix.

    Raises:
        UserError: Unknown split, or a language without a wording file.
    """
    if split not in SPLITS:
        raise UserError(f"data=cldr has no split {split!r}: use one of {list(SPLITS)}")
    codes = list(dict.fromkeys(languages))
    for code in codes:
        wording.load_wording(code)
    return [_row(fact, form, codes, split) for fact, form in _plan(split) if _exists(fact, codes)]


def _row(fact: Fact, form: int, languages: list[str], split: str) -> Row:
    return Row(
        id=f"{fact.id}.{form}",
        prompts={code: wording.question(fact, form, code) for code in languages},
        responses={code: wording.answer(fact, code) for code in languages},
        gold={code: wording.gold(fact, code) for code in languages},
        group="" if split == "train" else fact.group,
    )


def _exists(fact: Fact, languages: list[str]) -> bool:
    return all(wording.exists(fact, code) for code in languages)


@lru_cache(maxsize=4)
def _plan(split: str) -> tuple[tuple[Fact, int], ...]:
    """Return (fact, form) of every row of a split, blended."""
    closed = [fact for fact in closed_facts() if fact.split == split]
    formats = [fact for fact in generated_facts() if fact.split == split]
    if split == "train":
        pairs = [(fact, form) for fact in closed for form in range(FORMS)]
        return _interleave(pairs + [(fact, _any_form(fact)) for fact in formats])
    pools = {
        "closed": [fact for fact in closed if fact.group == "seen"],
        "formats": formats,
        "unseen": [fact for fact in closed if fact.group == "unseen"],
    }
    chosen: list[tuple[Fact, int]] = []
    for part, count in EVALUATION_SIZES[split].items():
        chosen += _interleave([(fact, _any_form(fact)) for fact in pools[part]], by_form=False)[:count]
    return _interleave(chosen, by_form=False)


def _any_form(fact: Fact) -> int:
    return order("form" + fact.id) % FORMS


def _interleave(pairs: list[tuple[Fact, int]], by_form: bool = True) -> tuple[tuple[Fact, int], ...]:
    """Blend strata evenly: the k-th of n members of a stratum comes at about (k + jitter) / n of the whole list."""
    strata: dict[tuple[str, int], list[tuple[Fact, int]]] = {}
    for fact, form in pairs:
        fine = by_form and fact.relation not in FORMATS
        strata.setdefault((fact.relation, form if fine else 0), []).append((fact, form))
    placed: list[tuple[float, int, tuple[Fact, int]]] = []
    for members in strata.values():
        members.sort(key=lambda pair: order(f"member{pair[0].id}.{pair[1]}"))
        for place, pair in enumerate(members):
            tie = order(f"place{pair[0].id}.{pair[1]}")
            placed.append(((place + tie / 2**64) / len(members), tie, pair))
    placed.sort(key=lambda item: item[:2])
    return tuple(pair for _, _, pair in placed)
