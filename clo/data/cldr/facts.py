"""The closed facts and generated formats behind the embedded rows, the same for all languages.

Only things that have a name in every core language are used, so a row exists in all of them, and lists for any pair or
trio of languages join by id.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from clo.data.cldr import names
from clo.data.cldr.splits import Fact, order, with_splits

CORE_LANGUAGES = ("en", "zh", "de", "ko", "id", "sw", "yo")
"""Languages in which every fact has a name; more can be added if CLDR names the same things in them."""

TERRITORIES, LANGUAGES, CURRENCIES = 180, 160, 150
"""How many of each are used: few enough that a model of 1-2 million parameters can know all of them by heart."""
SCRIPT_FACTS_LATIN, CITIES, DATES, AMOUNTS, QUANTITIES = 40, 80, 900, 900, 300
_UNINHABITED = frozenset(re.findall("..", "ACAQBVCPCQDGEAEUGSHMICIOSJTATFUMUNXAXBZZ"))
"""Territory codes without a lasting population of their own, and codes that are no country at all."""
_MISNAMED = frozenset({"cu", "ht", "ie", "li", "sa", "KP", "KR", "MP"})
"""Things that CLDR names by a description, or by the name of another, in one of the core languages."""
FORMATS = ("date", "amount", "unit")
RELATIONS: dict[str, tuple[str, str]] = {
    "territory_currency": ("territory", "currency"),
    "territory_code": ("territory", "territory_code"),
    "code_territory": ("territory_code", "territory"),
    "language_code": ("language", "language_code"),
    "code_language": ("language_code", "language"),
    "language_script": ("language", "script"),
    "language_home": ("language", "territory"),
    "currency_code": ("currency", "currency_code"),
    "code_currency": ("currency_code", "currency"),
    "month_after": ("month", "month"),
    "month_before": ("month", "month"),
    "day_after": ("day", "day"),
    "day_before": ("day", "day"),
    "territory_language": ("territory", "language"),
    "territory_city": ("territory", "city"),
    "currency_user": ("currency", "territory"),
    "date": ("iso_date", "full_date"),
    "amount": ("short_amount", "full_amount"),
    "unit": ("short_unit", "full_unit"),
}
"""Relation -> (kind of the subject, kind of the object)."""


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


@dataclass(frozen=True, slots=True)
class _Pools:
    territories: list[str]
    languages: list[str]
    currencies: list[str]


def _pools() -> _Pools:
    tender = names.territory_currency()
    countries = [key for key in tender if len(key) == 2 and key.isalpha() and key not in _UNINHABITED | _MISNAMED]
    spoken = [key for key in names.languages() if len(key) == 2 and key not in _MISNAMED and names.likely(key)]
    territories = _pick("territory", countries, TERRITORIES)
    return _Pools(
        territories, _pick("language", spoken, LANGUAGES), _pick("currency", set(tender.values()), CURRENCIES)
    )


def _cycle(after: str, before: str, keys: list[str]) -> list[Fact]:
    facts = []
    for first, second in zip(keys, keys[1:] + keys[:1], strict=True):
        key = f"{after}:{first}"
        facts += [Fact(after, first, second, key), Fact(before, second, first, key)]
    return facts


def _territory_facts(pools: _Pools) -> list[Fact]:
    tender, spoken, zones = names.territory_currency(), names.territory_language(), names.territory_zone()
    currencies, languages, facts = set(pools.currencies), set(pools.languages), []
    for key in pools.territories:
        facts += [
            Fact("territory_code", key, key, f"territory:{key}"),
            Fact("code_territory", key, key, f"territory:{key}"),
        ]
        if tender[key] in currencies:
            facts.append(Fact("territory_currency", key, tender[key], f"money:{key}"))
        if spoken.get(key) in languages:
            facts.append(Fact("territory_language", key, spoken[key], f"speech:{key}"))
    cities = [key for key in pools.territories if key in zones and _city_fits(key, zones[key])]
    for key in sorted(sorted(cities, key=lambda key: order("city" + key))[:CITIES]):
        facts.append(Fact("territory_city", key, zones[key], f"city:{key}"))
    users: dict[str, list[str]] = {}
    for key, code in tender.items():
        users.setdefault(code, []).append(key)
    for code in pools.currencies:
        if len(users.get(code, ())) == 1 and users[code][0] in pools.territories:
            facts.append(Fact("currency_user", code, users[code][0], f"money:{users[code][0]}"))
    return facts


def _city_fits(territory: str, zone: str) -> bool:
    """Tell whether the city's name is translated and not a part of its territory's name (Singapore answers itself)."""
    if any(names.name("city", zone, code) == names.name("city", zone, "en") for code in ("zh", "ko")):
        return False
    pairs = [(names.name("territory", territory, code), names.name("city", zone, code)) for code in CORE_LANGUAGES]
    return all(where and city and where not in city and city not in where for where, city in pairs)


def _language_facts(pools: _Pools) -> list[Fact]:
    facts, latin = [], 0
    scripts = set(_pick("script", {pair[0] for key in pools.languages if (pair := names.likely(key))}, 1000))
    territories = set(pools.territories)
    for key in sorted(pools.languages, key=lambda key: order("script" + key)):
        facts += [
            Fact("language_code", key, key, f"language:{key}"),
            Fact("code_language", key, key, f"language:{key}"),
        ]
        script, home = names.likely(key) or ("", "")
        latin += script == "Latn"
        if script in scripts and (script != "Latn" or latin <= SCRIPT_FACTS_LATIN):
            facts.append(Fact("language_script", key, script, f"script:{key}"))
        if home in territories:
            facts.append(Fact("language_home", key, home, f"home:{key}"))
    return facts


@lru_cache(maxsize=1)
def closed_facts() -> tuple[Fact, ...]:
    """Return every closed fact with its split, in a fixed order."""
    pools = _pools()
    facts = _territory_facts(pools) + _language_facts(pools)
    for code in pools.currencies:
        facts += [
            Fact("currency_code", code, code, f"currency:{code}"),
            Fact("code_currency", code, code, f"currency:{code}"),
        ]
    facts += _cycle("month_after", "month_before", [str(number) for number in range(1, 13)])
    facts += _cycle("day_after", "day_before", [str(number) for number in range(7)])
    return tuple(with_splits(facts))


@lru_cache(maxsize=1)
def generated_facts() -> tuple[Fact, ...]:
    """Return the generated formats: dates, amounts in a currency of the training split, and quantities with a unit."""
    trained = sorted(
        {fact.object for fact in closed_facts() if (fact.relation, fact.split) == ("currency_code", "train")}
    )
    symbols = sorted(names.UNITS)
    makers: dict[str, tuple[int, Callable[[int], str]]] = {
        "date": (DATES, _date_of),
        "amount": (AMOUNTS, lambda rank: f"{2 + rank % 98} {trained[rank // 98 % len(trained)]}"),
        "unit": (QUANTITIES, lambda rank: f"{1 + rank % 60} {symbols[rank // 60 % len(symbols)]}"),
    }
    facts = []
    for relation, (count, make) in makers.items():
        number, subjects = 0, dict[str, None]()
        while len(subjects) < count:
            subjects[make(order(f"{relation}{number}"))] = None
            number += 1
        for place, subject in enumerate(subjects):
            split = "test" if place % 20 == 0 else "dev" if place % 20 == 1 else "train"
            facts.append(Fact(relation, subject, subject, f"{relation}:{subject}", split))
    return tuple(facts)


def _date_of(rank: int) -> str:
    year, month = 1980 + rank % 50, 1 + rank // 50 % 12
    return f"{year}-{month:02d}-{1 + rank // 600 % calendar.monthrange(year, month)[1]:02d}"
