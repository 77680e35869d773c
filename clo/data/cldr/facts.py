"""The closed facts and generated formats behind the embedded rows, the same for all languages.

Only things that have a name in every core language are used, so a row exists in all of them, and lists for any pair or
trio of languages join by id.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from clo.data.cldr import names
from clo.data.cldr.splits import Fact, held_out, order

CORE_LANGUAGES = ("en", "zh", "de", "ko", "id", "sw", "yo")
"""Languages in which every fact has a name; more can be added if CLDR names the same things in them."""

TERRITORIES, LANGUAGES, CURRENCIES = 165, 135, 115
"""How many of each are used: few enough that a model of 1-2 million parameters can know all of them by heart."""
MOST = 95
"""Facts of one relation."""
SCRIPT_FACTS_LATIN, DATES, AMOUNTS, QUANTITIES = 30, 750, 700, 300
_UNINHABITED = frozenset(re.findall("..", "ACAQBVCPCQDGEAEUGSHMICIOSJTATFUMUNXAXBZZ"))
"""Territory codes without a lasting population of their own, and codes that are no country at all."""
_MISNAMED = frozenset({"cu", "ht", "ie", "li", "sa", "KP", "KR", "MP"})
"""Things that CLDR names by a description, or by the name of another, in one of the core languages."""
_WITHOUT_A_HOME = frozenset({"ar", "en", "es", "fr", "la", "pt", "yi"})
"""Languages of which CLDR's likely territory is neither the only home nor where most speakers live."""
_DOUBTFUL_SPEECH = frozenset({"FJ", "KM", "KZ", "VA"})
"""Territories whose most widely known language, by CLDR's shares, is not the one most people speak or write."""
_ISLANDS = frozenset({"CK", "SB", "SC", "TC"})
"""Territories whose time zone is named after an island, not a city."""
FORMATS = ("date", "amount", "unit")
RELATIONS: dict[str, tuple[str, str]] = {
    "territory_currency": ("territory", "currency"),
    "territory_language": ("territory", "language"),
    "territory_continent": ("territory", "continent"),
    "territory_script": ("territory", "script"),
    "code_territory": ("territory_code", "territory"),
    "code_language": ("language_code", "language"),
    "code_currency": ("currency_code", "currency"),
    "code_continent": ("territory_code", "continent"),
    "language_script": ("language", "script"),
    "language_home": ("language", "territory"),
    "language_continent": ("language", "continent"),
    "language_currency": ("language", "currency"),
    "currency_user": ("currency", "territory"),
    "currency_continent": ("currency", "continent"),
    "currency_language": ("currency", "language"),
    "city_territory": ("city", "territory"),
    "city_continent": ("city", "continent"),
    "city_currency": ("city", "currency"),
    "city_language": ("city", "language"),
    "month_after": ("month", "month"),
    "month_before": ("month", "month"),
    "month_half_year": ("month", "month"),
    "number_month": ("number", "month"),
    "day_after": ("day", "day"),
    "day_before": ("day", "day"),
    "date": ("iso_date", "full_date"),
    "amount": ("short_amount", "full_amount"),
    "unit": ("short_unit", "full_unit"),
}
"""Relation -> (kind of the subject, kind of the object). No object is a code: those are the same in every language."""

FOLDS: tuple[tuple[str, ...], ...] = (
    ("territory_language", "currency_user", "code_continent", "city_currency", "language_script", "month_before"),
    ("territory_currency", "language_home", "city_continent", "currency_language", "code_language", "day_after"),
    (
        "territory_continent",
        "code_territory",
        "language_currency",
        "city_language",
        "currency_continent",
        "month_after",
    ),
    (
        "territory_script",
        "code_currency",
        "language_continent",
        "city_territory",
        "day_before",
        "number_month",
        "month_half_year",
    ),
)
"""Relations that a fold holds out as a whole; there a model that has learned only phrases falls back to English."""


def _pick(kind: str, keys: Iterable[str], most: int) -> list[str]:
    """Pick things whose names exist, are unambiguous, and differ from English in as many core languages as possible."""
    table = {key: [names.name(kind, key, language) for language in CORE_LANGUAGES] for key in sorted(keys)}
    table = {key: row for key, row in table.items() if all(row)}
    for column in range(len(CORE_LANGUAGES)):
        seen: set[str] = set()
        for key in list(table):
            text = str(table[key][column]).casefold()
            if text in seen:
                del table[key]
            seen.add(text)
    ranked = sorted(table, key=lambda key: (sum(text == table[key][0] for text in table[key]), order(kind + key)))
    return sorted(ranked[:most])


def same_as_english(fact: Fact) -> int:
    """In how many core languages the object's name equals the English one, and so is no evidence of anything."""
    kind = RELATIONS[fact.relation][1]
    english = names.name(kind, fact.object, "en")
    return sum(names.name(kind, fact.object, code) == english for code in CORE_LANGUAGES[1:])


@lru_cache(maxsize=1)
def _hidden() -> frozenset[tuple[str, str]]:
    """(Kind, key) of objects whose name stands inside that of another one in some core language.

    Guinea is found in Equatorial Guinea, and the Chinese name of January in that of November: such an answer could not
    be told from a wrong one, so they are no questions of an evaluation.
    """
    things: dict[str, set[str]] = {}
    for fact in closed_facts():
        things.setdefault(RELATIONS[fact.relation][1], set()).add(fact.object)
    hidden = set()
    for kind, keys in things.items():
        for code in CORE_LANGUAGES:
            told = {key: str(names.name(kind, key, code)).casefold() for key in keys}
            hidden |= {(kind, a) for a in keys for b in keys if a != b and told[a] in told[b]}
    return frozenset(hidden)


def can_be_told(fact: Fact) -> bool:
    """Whether an answer with the fact's object can be told from one with another."""
    return (RELATIONS[fact.relation][1], fact.object) not in _hidden()


class _World:
    """What belongs to what, among the things that are used."""

    def __init__(self) -> None:
        tender = names.territory_currency()
        countries = [key for key in tender if len(key) == 2 and key.isalpha() and key not in _UNINHABITED | _MISNAMED]
        spoken = [key for key in names.languages() if len(key) == 2 and key not in _MISNAMED and names.likely(key)]
        self.territories = _pick("territory", countries, TERRITORIES)
        self.languages = _pick("language", spoken, LANGUAGES)
        self.currencies = _pick("currency", set(tender.values()), CURRENCIES)
        likely = {key: pair for key in self.languages if (pair := names.likely(key))}
        scripts = set(_pick("script", {script for script, _ in likely.values()}, 1000))
        self.script = {key: script for key, (script, _) in likely.items() if script in scripts}
        self.home = {
            key: home for key, (_, home) in likely.items() if home in self.territories and key not in _WITHOUT_A_HOME
        }
        self.money = {key: tender[key] for key in self.territories if tender[key] in set(self.currencies)}
        main = names.territory_language()
        spoken_in = [key for key in self.territories if key not in _DOUBTFUL_SPEECH]
        self.speech = {key: main[key] for key in spoken_in if main.get(key) in set(self.languages)}
        self.continent = {key: found for key in self.territories if (found := names.continent(key))}
        users: dict[str, list[str]] = {}
        for key, code in tender.items():
            users.setdefault(code, []).append(key)
        single = {code: users[code][0] for code in self.currencies if len(users.get(code, ())) == 1}
        self.user = {code: key for code, key in single.items() if key in set(self.territories)}
        zones = names.territory_zone()
        with_city = [key for key in self.territories if key in zones and key not in _ISLANDS]
        self.city = {zones[key]: key for key in with_city if _city_fits(key, zones[key])}


def _city_fits(territory: str, zone: str) -> bool:
    """Tell whether the city's name is translated and not a part of its territory's name (Singapore answers itself)."""
    if any(names.name("city", zone, code) == names.name("city", zone, "en") for code in ("zh", "ko")):
        return False
    pairs = [(names.name("territory", territory, code), names.name("city", zone, code)) for code in CORE_LANGUAGES]
    return all(where and city and where not in city and city not in where for where, city in pairs)


def _joined(first: dict[str, str], second: dict[str, str]) -> dict[str, str]:
    """Subject -> what its object leads to."""
    return {key: second[value] for key, value in first.items() if value in second}


@lru_cache(maxsize=1)
def tables() -> dict[str, dict[str, str]]:
    """Return closed relation -> subject -> object, of all things that are used: more than is asked about."""
    world = _World()
    themselves = {key: key for key in (*world.territories, *world.languages, *world.currencies)}
    months, days = [str(number) for number in range(1, 13)], [str(number) for number in range(7)]
    return {
        "territory_currency": world.money,
        "territory_language": world.speech,
        "territory_continent": world.continent,
        "territory_script": _joined(world.speech, world.script),
        "code_territory": {key: themselves[key] for key in world.territories},
        "code_language": {key: themselves[key] for key in world.languages},
        "code_currency": {key: themselves[key] for key in world.currencies},
        "code_continent": world.continent,
        "language_script": world.script,
        "language_home": world.home,
        "language_continent": _joined(world.home, world.continent),
        "language_currency": _joined(world.home, world.money),
        "currency_user": world.user,
        "currency_continent": _joined(world.user, world.continent),
        "currency_language": _joined(world.user, world.speech),
        "city_territory": world.city,
        "city_continent": _joined(world.city, world.continent),
        "city_currency": _joined(world.city, world.money),
        "city_language": _joined(world.city, world.speech),
        "month_after": {month: months[(place + 1) % 12] for place, month in enumerate(months)},
        "month_before": {month: months[place - 1] for place, month in enumerate(months)},
        "month_half_year": {month: months[(place + 6) % 12] for place, month in enumerate(months)},
        "number_month": {month: month for month in months},
        "day_after": {day: days[(place + 1) % 7] for place, day in enumerate(days)},
        "day_before": {day: days[place - 1] for place, day in enumerate(days)},
    }


def _kept(relation: str, table: dict[str, str]) -> Iterator[str]:
    """The subjects that are used: few whose script is Latin, for most languages are written in it."""
    latin = 0
    for count, subject in enumerate(sorted(table, key=lambda key: order(relation + key))):
        latin += table[subject] == "Latn"
        if count < 2 * MOST and (table[subject] != "Latn" or latin <= SCRIPT_FACTS_LATIN):
            yield subject


@lru_cache(maxsize=1)
def closed_facts() -> tuple[Fact, ...]:
    """Return every closed fact, in a fixed order."""
    facts = []
    for relation, table in tables().items():
        for subject in sorted(list(_kept(relation, table))[:MOST]):
            facts.append(closed_fact(relation, subject))
    return tuple(facts)


def closed_fact(relation: str, subject: str) -> Fact:
    """Return what a closed relation says of one of its subjects."""
    kinds, thing = RELATIONS[relation], tables()[relation][subject]
    ends = sorted(f"{kind}:{key}" for kind, key in zip(kinds, (subject, thing), strict=True))
    return Fact(relation, subject, thing, f"{'~'.join(sorted(kinds))}|{'~'.join(ends)}")


@lru_cache(maxsize=1)
def generated_facts() -> dict[str, tuple[Fact, ...]]:
    """Return the generated formats by split: dates, amounts in a currency that is trained on, and quantities."""
    held = held_out(closed_facts())
    trained = sorted(f.subject for f in closed_facts() if f.relation == "code_currency" and f.key not in held)
    symbols = sorted(names.UNITS)
    makers: dict[str, tuple[int, Callable[[int], str]]] = {
        "date": (DATES, _date_of),
        "amount": (AMOUNTS, lambda rank: f"{2 + rank % 98} {trained[rank // 98 % len(trained)]}"),
        "unit": (QUANTITIES, lambda rank: f"{1 + rank % 60} {symbols[rank // 60 % len(symbols)]}"),
    }
    parts: dict[str, list[Fact]] = {"train": [], "dev": [], "test": []}
    for relation, (count, make) in makers.items():
        number, subjects = 0, dict[str, None]()
        while len(subjects) < count:
            subjects[make(order(f"{relation}{number}"))] = None
            number += 1
        for place, subject in enumerate(subjects):
            split = "test" if place % 20 == 0 else "dev" if place % 20 == 1 else "train"
            parts[split].append(Fact(relation, subject, subject, f"{relation}|{subject}"))
    return {split: tuple(facts) for split, facts in parts.items()}


def _date_of(rank: int) -> str:
    year, month = 1980 + rank % 50, 1 + rank // 50 % 12
    return f"{year}-{month:02d}-{1 + rank // 600 % calendar.monthrange(year, month)[1]:02d}"
