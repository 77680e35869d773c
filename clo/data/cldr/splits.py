"""What a fact is, and which facts fine-tuning sees.

A fact and its reverse (currency to country, country to currency) share one ``key``: they are trained on together or
held out together, else the answer would leak through the back door. Which keys are held out is the same in every fold;
a fold also holds whole relations out, and every relation is held out in exactly one of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")

HELD_OUT = 0.25
"""Share of the facts of a relation that fine-tuning never sees."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact."""

    relation: str
    subject: str
    object: str
    key: str
    """What it shares with its reverse; begins with the family of relations, the kinds of both things."""

    @property
    def id(self) -> str:
        """The id, unique over all relations."""
        return f"{self.relation}.{self.subject}".replace(" ", "_")


def order(text: str) -> int:
    """Return a pseudo-random but everlasting rank of ``text`` (Python's own hash changes from run to run)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def blended(items: Sequence[Item], stratum: Callable[[Item], Hashable], name: Callable[[Item], str]) -> list[Item]:
    """Blend strata evenly: the k-th of n members of a stratum comes at about (k + jitter) / n of the whole list.

    Args:
        items: what is put in order; their own order has no effect.
        stratum: what an item is one of.
        name: its own name, which the jitter hangs on.
    """
    strata: dict[Hashable, list[Item]] = {}
    for item in items:
        strata.setdefault(stratum(item), []).append(item)
    placed: list[tuple[float, int, Item]] = []
    for members in strata.values():
        members.sort(key=lambda item: order(f"member{name(item)}"))
        for place, item in enumerate(members):
            tie = order(f"place{name(item)}")
            placed.append(((place + tie / 2**64) / len(members), tie, item))
    placed.sort(key=lambda entry: entry[:2])
    return [item for _, _, item in placed]


def held_out(facts: Sequence[Fact]) -> frozenset[str]:
    """The keys that fine-tuning never sees: of every family the same share, in every fold the same ones."""
    families: dict[str, set[str]] = {}
    for fact in facts:
        families.setdefault(fact.key.split("|")[0], set()).add(fact.key)
    held: set[str] = set()
    for keys in families.values():
        ranked = sorted(keys, key=lambda key: order("split" + key))
        held.update(ranked[: round(len(ranked) * HELD_OUT)])
    return frozenset(held)


def split_facts(facts: Sequence[Fact], unseen: Mapping[str, bool]) -> dict[str, list[Fact]]:
    """Divide facts over ``train``, and ``dev`` and ``test`` of the groups ``seen`` and ``unseen``.

    A fact of an unseen relation is left out where its reverse is trained on.

    Args:
        facts: all closed facts.
        unseen: relation -> whether this fold holds it out as a whole.

    Returns:
        ``train``, ``dev.seen``, ``dev.unseen``, ``test.seen`` and ``test.unseen``, in the order given.
    """
    held = held_out(facts)
    trained = {fact.key for fact in facts if not unseen[fact.relation] and fact.key not in held}
    parts: dict[str, list[Fact]] = {
        name: [] for name in ("train", "dev.seen", "dev.unseen", "test.seen", "test.unseen")
    }
    for fact in facts:
        if unseen[fact.relation]:
            if fact.key not in trained:
                parts[f"{evaluation_split(fact.key)}.unseen"].append(fact)
        elif fact.key in held:
            parts[f"{evaluation_split(fact.key)}.seen"].append(fact)
        else:
            parts["train"].append(fact)
    return parts


def evaluation_split(key: str) -> str:
    """Return dev or test for a key that is held out."""
    return "dev" if order("evaluation" + key) % 20 < 9 else "test"
