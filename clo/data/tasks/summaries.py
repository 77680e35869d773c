"""Lists of facts and the one sentence that says them: about one country, or about several of which some agree.

All names come from the CLDR tables of the embedded facts, so a list and its sentence exist in all languages.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from clo.data.cldr import wording as facts_wording
from clo.data.cldr.facts import RELATIONS, closed_fact, closed_facts, tables
from clo.data.cldr.splits import Fact, blended, held_out, order
from clo.data.tasks.wording import FORMS, Wording, capitalised, load_wording

COUNTS = {"portrait": (3600, 60, 120), "groups": (3000, 40, 80)}
"""Kind of list -> how many of train, dev and test are of it."""
ATTRIBUTES = {
    "continent": "territory_continent",
    "currency": "territory_currency",
    "language": "territory_language",
    "script": "territory_script",
    "code": "code_territory",
}
"""What is said of a country -> the relation that says it; the order is that of a portrait's sentence."""
GROUPED = ("continent", "language")
LEAST, MOST = 3, 5
"""Facts of one list."""
EVALUATED = 0.25
"""Share of the countries that dev and test list, and no row of train."""


@dataclass(frozen=True, slots=True)
class FactList:
    """One list and, with it, one sentence."""

    kind: str
    countries: tuple[str, ...]
    """Territory codes; of a portrait only one."""
    attributes: tuple[str, ...]
    """What is said, in the order of the list; of groups only one."""
    form: int

    @property
    def id(self) -> str:
        """Another for every prompt."""
        return ".".join((self.kind, *self.countries, *self.attributes, str(self.form)))

    @property
    def key(self) -> str:
        """What it shares with the same facts in another order or asked in other words."""
        return "|".join((self.kind, *sorted(self.countries), *sorted(self.attributes)))


@lru_cache(maxsize=4096)
def fact_of(country: str, attribute: str) -> Fact | None:
    """Return what is known of a country, None where nothing is."""
    relation = ATTRIBUTES[attribute]
    return closed_fact(relation, country) if country in tables()[relation] else None


@lru_cache(maxsize=4)
def _world(split: str) -> dict[str, tuple[str, ...]]:
    """Country -> what may be said of it, in the order of ``ATTRIBUTES``.

    Rows of train say nothing that the questions about facts hold out, else they would teach it by the back door.
    ``all`` is what a start model may read.
    """
    countries = sorted(tables()["code_territory"], key=lambda key: order(f"summaries{key}"))
    asked, hidden = round(len(countries) * EVALUATED), held_out(closed_facts())
    chosen = {"train": countries[asked:], "all": countries}.get(split, countries[:asked])
    world = {}
    for country in chosen:
        facts = {attribute: fact_of(country, attribute) for attribute in ATTRIBUTES}
        told = [name for name, fact in facts.items() if fact and (split != "train" or fact.key not in hidden)]
        world[country] = tuple(told)
    return world


def draw(kind: str, rng: random.Random, split: str = "all") -> FactList:
    """Return a random list out of all that may be said in a split."""
    world, form = _world(split), rng.randrange(FORMS)
    if kind == "portrait":
        country = rng.choice([country for country, told in world.items() if len(told) >= LEAST])
        count = rng.randint(LEAST, len(world[country]))
        return FactList(kind, (country,), tuple(rng.sample(world[country], count)), form)
    attribute = rng.choice(GROUPED)
    groups: dict[str, list[str]] = {}
    for country, told in world.items():
        if attribute in told and (fact := fact_of(country, attribute)):
            groups.setdefault(fact.object, []).append(country)
    first = rng.choice([thing for thing, members in sorted(groups.items()) if len(members) >= LEAST])
    other = rng.choice([thing for thing in sorted(groups) if thing != first])
    more = rng.randint(0, 2)
    listed = rng.sample(groups[first], rng.randint(2 if more else LEAST, LEAST))
    listed += rng.sample(groups[other], min(more, len(groups[other])))
    if len(listed) < LEAST:
        listed += [key for key in rng.sample(groups[first], LEAST) if key not in listed][: LEAST - len(listed)]
    return FactList(kind, tuple(rng.sample(listed, len(listed))), (attribute,), form)


@lru_cache(maxsize=1)
def lists() -> dict[str, tuple[FactList, ...]]:
    """Return the lists of every split; no two splits say the same things."""
    taken: set[str] = set()
    parts: dict[str, tuple[FactList, ...]] = {}
    for split, place in (("test", 2), ("dev", 1), ("train", 0)):
        found = [one for kind, counts in COUNTS.items() for one in _distinct(kind, counts[place], taken, split)]
        taken |= {one.key for one in found}
        parts[split] = tuple(found)
    return parts


def plan(split: str) -> list[FactList]:
    """Return the list of every row of a split, blended."""
    return blended(lists()[split], lambda one: (one.kind, one.form), lambda one: one.id)


def _distinct(kind: str, count: int, taken: set[str], split: str) -> Iterator[FactList]:
    rng, seen = random.Random(order(f"summaries{split}{kind}")), set[str]()
    while len(seen) < count:
        one = draw(kind, rng, split)
        if one.key not in taken and one.id not in seen:
            seen.add(one.id)
            yield one


@lru_cache(maxsize=1)
def held_out_lists() -> frozenset[str]:
    """The keys of dev and test, which the text of the start models does not hold."""
    return frozenset(one.key for split in ("dev", "test") for one in lists()[split])


def _country(country: str, language: str) -> str:
    return facts_wording.surface("territory", country, language)


def thing(country: str, attribute: str, language: str) -> str:
    """Return the name of what is said of a country."""
    relation = ATTRIBUTES[attribute]
    if attribute == "code":
        return country
    fact = fact_of(country, attribute)
    if fact is None:
        raise ValueError(f"nothing is known of {attribute} of {country}")
    return facts_wording.surface(RELATIONS[relation][1], fact.object, language)


def known(one: FactList, language: str) -> list[str]:
    """Return the names that a list holds."""
    said = [thing(country, attribute, language) for country in one.countries for attribute in one.attributes]
    return [*(_country(country, language) for country in one.countries), *said]


def question(one: FactList, language: str) -> str:
    """Return the prompt: the list, and what is asked."""
    wording = load_wording(language)
    said, form = wording.summaries, wording.summaries["item"]
    entries = [(country, attribute) for country in one.countries for attribute in one.attributes]
    shown = [
        form.format(
            k=said["attributes"][attribute] if one.kind == "portrait" else _country(country, language),
            o=thing(country, attribute, language),
        )
        for country, attribute in entries
    ]
    name = wording.listed([_country(one.countries[0], language)])
    return capitalised(said[one.kind]["prompts"][one.form].format(s=name, list=said["between"].join(shown)))


def answer(one: FactList, language: str, which: int) -> str:
    """Return the sentence under one of the openings; a row has the opening of its form."""
    wording = load_wording(language)
    sentence = bare(one, language)
    opening: str = wording.summaries["openings"][which]
    begins = opening.index("{q}")
    return opening.format(q=capitalised(sentence) if opening[:begins].endswith(": ") else sentence)


def bare(one: FactList, language: str) -> str:
    """Return the sentence without an opening and a full stop."""
    wording = load_wording(language)
    said = wording.summaries[one.kind]
    if one.kind == "groups":
        return _joined([clause for clause in _group_clauses(one, wording, language)], said["last"], said["last"])
    country = one.countries[0]
    clauses = [
        said["clauses"][attribute].format(o=thing(country, attribute, language))
        for attribute in ATTRIBUTES
        if attribute in one.attributes
    ]
    text: str = said["sentence"].format(
        s=wording.listed([_country(country, language)]), clauses=_joined(clauses, said["comma"], said["last"])
    )
    return text


def _group_clauses(one: FactList, wording: Wording, language: str) -> Iterator[str]:
    (attribute,) = one.attributes
    groups: dict[str, list[str]] = {}
    for country in one.countries:
        groups.setdefault(thing(country, attribute, language), []).append(_country(country, language))
    for shared, members in groups.items():
        yield wording.summaries["groups"]["clauses"][attribute].format(n=wording.listed(members), o=shared)


def _joined(clauses: list[str], comma: str, last: str) -> str:
    head = comma.join(clauses[:-1])
    return head + last + clauses[-1] if head else clauses[-1]
