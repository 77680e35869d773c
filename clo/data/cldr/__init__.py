"""Embedded parallel rows: questions about CLDR facts with human-translated names, one wording file per language.

Source of the names and formats: Unicode CLDR through babel (Unicode licence). The sentences are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from clo.data.cldr import wording
from clo.data.cldr.facts import FOLDS, FORMATS, RELATIONS, can_be_told, closed_facts, generated_facts, same_as_english
from clo.data.cldr.splits import Fact, blended, order, split_facts
from clo.data.rows import Row
from clo.errors import UserError

SPLITS = ("train", "dev", "test")
FORMS = wording.QUESTIONS * wording.FRAMES
EVALUATION_SIZES = {
    "dev": {"closed": 84, "formats": 16, "unseen": 80},
    "test": {"closed": 85, "formats": 15, "unseen": 100},
}


def cldr_rows(split: str, languages: Sequence[str], fold: int = 0) -> list[Row]:
    """Return the rows of one split that exist in all the given languages, in a fixed order.

    Ids, order and evaluation sets do not depend on the languages, so lists of different pairs join by id. Every
    prefix of ``train`` has the same blend of relations, question forms and formats: a smaller data size is a prefix.
    No fact that a fold evaluates is trained on in any fold, unless its whole relation is unseen.

    Args:
        split: ``train``, ``dev`` or ``test``.
        languages: codes.
        fold: which quarter of the relations is held out as a whole (group ``unseen``).

    Raises:
        UserError: Unknown split or fold, or a language without a wording file.
    """
    if split not in SPLITS:
        raise UserError(f"data=cldr has no split {split!r}: use one of {list(SPLITS)}")
    if fold not in range(len(FOLDS)):
        raise UserError(f"data=cldr has no fold {fold}: data.fold is one of {list(range(len(FOLDS)))}")
    codes = list(dict.fromkeys(languages))
    for code in codes:
        wording.load_wording(code)
    unseen = set(FOLDS[fold])
    rows = []
    for fact, form in _plan(split, fold):
        group = "" if split == "train" else "unseen" if fact.relation in unseen else "seen"
        if all(wording.exists(fact, code) for code in codes):
            rows.append(_row(fact, form, codes, group))
    return rows


def replay_rows(language: str, fold: int = 0) -> list[Row]:
    """Rows in one language that a fold neither trains on nor evaluates, blended.

    They are of the relations that the fold holds out as a whole: away from those that are trained on, and other facts
    than those that dev and test ask, in any language and in either direction.

    Args:
        language: its code.
        fold: as of `cldr_rows`.
    """
    parts = split_facts(closed_facts(), {relation: relation in FOLDS[fold] for relation in RELATIONS})
    asked = {fact.key for split in ("dev", "test") for fact, _ in _plan(split, fold)}
    facts = [fact for name in ("dev.unseen", "test.unseen") for fact in parts[name] if fact.key not in asked]
    blended = _interleave([(fact, form) for fact in facts for form in range(FORMS)])
    return [_row(fact, form, [language], "") for fact, form in blended if wording.exists(fact, language)]


def answer_of(fact: Fact, form: int) -> int:
    """Which of the relation's answers goes with a prompt: more rows of a relation are more ways to say it."""
    return order(f"answer{fact.id}.{form}") % wording.ANSWERS


def _row(fact: Fact, form: int, languages: list[str], group: str) -> Row:
    which = answer_of(fact, form)
    return Row(
        id=f"{fact.id}.{form}",
        prompts={code: wording.question(fact, form, code) for code in languages},
        responses={code: wording.answer(fact, code, which) for code in languages},
        gold={code: wording.gold(fact, code) for code in languages},
        group=group,
    )


@lru_cache(maxsize=16)
def _plan(split: str, fold: int) -> tuple[tuple[Fact, int], ...]:
    """Return (fact, form) of every row of a split, blended."""
    parts = split_facts(closed_facts(), {relation: relation in FOLDS[fold] for relation in RELATIONS})
    formats = [(fact, _any_form(fact)) for fact in generated_facts()[split]]
    if split == "train":
        return _interleave([(fact, form) for fact in parts["train"] for form in range(FORMS)] + formats)
    sizes = EVALUATION_SIZES[split]
    chosen = _in_turn(parts[f"{split}.seen"], sizes["closed"]) + _in_turn(parts[f"{split}.unseen"], sizes["unseen"])
    some_formats = _interleave(formats)[: sizes["formats"]]
    return _interleave([(fact, _any_form(fact)) for fact in chosen] + list(some_formats), by_form=False)


def _any_form(fact: Fact) -> int:
    return order("form" + fact.id) % FORMS


def _in_turn(facts: list[Fact], count: int) -> list[Fact]:
    """Every relation in turn, so that all have a say; names that differ from the English ones first."""
    places: dict[str, int] = {}
    ranked = []
    for fact in sorted(filter(can_be_told, facts), key=lambda fact: (same_as_english(fact), order("member" + fact.id))):
        places[fact.relation] = places.get(fact.relation, -1) + 1
        ranked.append((places[fact.relation], order("turn" + fact.id), fact))
    return [fact for _, _, fact in sorted(ranked, key=lambda entry: entry[:2])[:count]]


def _interleave(pairs: list[tuple[Fact, int]], by_form: bool = True) -> tuple[tuple[Fact, int], ...]:
    """Blend relations evenly, with their forms or whatever the form."""

    def stratum(pair: tuple[Fact, int]) -> tuple[str, int]:
        fact, form = pair
        return fact.relation, form if by_form and fact.relation not in FORMATS else 0

    return tuple(blended(pairs, stratum, lambda pair: f"{pair[0].id}.{pair[1]}"))
