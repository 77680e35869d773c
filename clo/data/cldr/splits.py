"""What a fact is, and which facts fine-tuning sees.

A fact and its reverse (country to code, code to country) share one ``key``: they are trained on together or held out
together, else the answer would leak through the back door.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

HELD_OUT = 0.25
"""Share of the facts of a seen relation that fine-tuning never sees."""

UNSEEN = ("territory_language", "territory_city", "currency_user")
"""Relations without any training row: here a model that has learned only phrases falls back to English."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact; ``split`` is train, dev, test or rest (held out, but in no evaluation set)."""

    relation: str
    subject: str
    object: str
    key: str
    split: str = ""

    @property
    def id(self) -> str:
        """The id, unique over all relations."""
        return f"{self.relation}.{self.subject}".replace(" ", "_")

    @property
    def group(self) -> str:
        """``unseen`` for relations that never occur in training, else ``seen``."""
        return "unseen" if self.relation in UNSEEN else "seen"


def order(text: str) -> int:
    """Return a pseudo-random but everlasting rank of ``text`` (Python's own hash changes from run to run)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def with_splits(facts: list[Fact]) -> list[Fact]:
    """Return the facts with their splits: by key, and per family of relations so that the shares hold in each."""
    families: dict[str, list[str]] = {}
    for fact in facts:
        if fact.group == "seen" and fact.key not in families.setdefault(fact.key.split(":")[0], []):
            families[fact.key.split(":")[0]].append(fact.key)
    splits: dict[str, str] = {}
    for keys in families.values():
        ranked = sorted(keys, key=lambda key: order("split" + key))
        held = round(len(ranked) * HELD_OUT)
        splits |= {key: "train" if place >= held else evaluation_split(key) for place, key in enumerate(ranked)}
    trained = {(f.subject, f.object) for f in facts if f.relation == "language_home" and splits[f.key] == "train"}
    chosen = []
    for fact in facts:
        split = splits.get(fact.key) if fact.group == "seen" else evaluation_split(fact.key)
        leaks = (fact.relation == "currency_user" and splits.get(fact.key) == "train") or (
            fact.relation == "territory_language" and (fact.object, fact.subject) in trained
        )
        chosen.append(Fact(fact.relation, fact.subject, fact.object, fact.key, "rest" if leaks else str(split)))
    return chosen


def evaluation_split(key: str) -> str:
    """Return dev or test for a key that is held out."""
    return "dev" if order("evaluation" + key) % 20 < 9 else "test"
