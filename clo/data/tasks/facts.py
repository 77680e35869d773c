"""Questions about facts: those of :mod:`clo.data.cldr`, without whole relations held out and without formats."""

from __future__ import annotations

from functools import lru_cache

from clo.data.cldr import FORMS
from clo.data.cldr.facts import can_be_told, closed_facts
from clo.data.cldr.splits import Fact, blended, order, split_facts

COUNTS = {"dev": 100, "test": 200}
LEFT_OUT = frozenset({"language_currency", "currency_continent", "currency_language", "city_currency", "city_language"})
"""Relations that the task does not ask about: one step more than the others."""


@lru_cache(maxsize=1)
def asked_facts() -> tuple[Fact, ...]:
    """Return the facts of the task: all closed ones, without the relations that are left out."""
    return tuple(fact for fact in closed_facts() if fact.relation not in LEFT_OUT)


@lru_cache(maxsize=4)
def plan(split: str) -> tuple[tuple[Fact, int], ...]:
    """Return (fact, form of its question) of every row of a split, blended."""
    facts = asked_facts()
    parts = split_facts(facts, dict.fromkeys({fact.relation for fact in facts}, False))
    if split == "train":
        pairs = [(fact, form) for fact in parts["train"] for form in range(FORMS)]
    else:
        ranked = sorted(filter(can_be_told, parts[f"{split}.seen"]), key=lambda fact: order(f"tasks{fact.id}"))
        rounds = [(fact, (order(f"form{fact.id}") + turn) % FORMS) for turn in range(FORMS) for fact in ranked]
        pairs = rounds[: COUNTS[split]]  # a fact is asked again, in other words, once all have been
    return tuple(blended(pairs, lambda pair: (pair[0].relation, pair[1]), lambda pair: f"tasks{pair[0].id}.{pair[1]}"))
