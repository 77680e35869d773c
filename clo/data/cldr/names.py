"""Names of territories, languages, scripts, currencies, months, days and written-out formats in one language.

Source: Unicode CLDR as shipped with babel. Everything is NFC-normalised, with plain spaces, so that equal looking
names are equal strings.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from functools import lru_cache

from babel import Locale
from babel.core import get_global
from babel.dates import format_date
from babel.numbers import format_currency
from babel.units import format_unit

_AWKWARD = re.compile(r"[()\[\]/{}]|length-|, |\.$")
_FREE_FORM = frozenset({"full_date", "full_amount", "full_unit"})
_SPACES = re.compile(r"[\u00a0\u202f\u2009\s]+")
UNITS = {
    "GB": "digital-gigabyte",
    "MB": "digital-megabyte",
    "PB": "digital-petabyte",
    "cd": "light-candela",
    "lm": "light-lumen",
    "st": "mass-stone",
}
"""Symbol -> unit; all that CLDR writes out in every core language (kilometres have no Yoruba name)."""
CODE_KINDS = frozenset({"territory_code", "language_code", "currency_code", "number"})


@lru_cache(maxsize=32)
def _locale(language: str) -> Locale:
    return Locale.parse(language)


def clean(text: str) -> str:
    """Return ``text`` in composed form, without soft hyphens, with every run of white space as one plain space."""
    return _SPACES.sub(" ", unicodedata.normalize("NFC", text.replace("\u00ad", ""))).strip()


@lru_cache(maxsize=65536)
def name(kind: str, key: str, language: str) -> str | None:
    """Return the name of one thing in one language, or ``None`` where CLDR has none that fits into a sentence.

    ``kind`` is a kind of thing (``territory``, ``currency``, ``month``, …).
    A ``*_code`` kind and a ``number`` are their own names everywhere.
    """
    if kind in CODE_KINDS:
        return key
    found = _lookup(kind, key, _locale(language))
    if found is None:
        return None
    found = clean(found)
    return None if not found or (kind not in _FREE_FORM and _AWKWARD.search(found)) else found


def _lookup(kind: str, key: str, locale: Locale) -> str | None:
    match kind:
        case "territory" | "continent":
            return locale.territories.get(key)
        case "language":
            return locale.languages.get(key)
        case "script":
            return locale.scripts.get(key)
        case "currency":
            return locale.currencies.get(key)
        case "month":
            return str(locale.months["format"]["wide"][int(key)])
        case "day":
            return str(locale.days["format"]["wide"][int(key)])
        case "city":
            return str(locale.time_zones.get(key, {}).get("city") or key.rsplit("/", 1)[-1].replace("_", " "))
        case "iso_date":
            return key
        case "full_date":
            return format_date(date.fromisoformat(key), "long", locale=locale)
        case "short_amount":
            return key
        case "full_amount":
            number, code = key.split()
            return format_currency(int(number), code, locale=locale, format_type="name", currency_digits=False)
        case "short_unit":
            return key
        case "full_unit":
            number, symbol = key.split()
            text = format_unit(int(number), UNITS[symbol], "long", locale=locale)
            return None if UNITS[symbol] in text else text  # babel prints the id of a unit that has no name
    raise ValueError(f"unknown kind of name {kind!r}")


def languages() -> list[str]:
    """Return the codes of all languages that CLDR names in English."""
    return sorted(str(key) for key in _locale("en").languages)


def territory_currency() -> dict[str, str]:
    """Return territory -> the legal tender it introduced last and still uses."""
    table: dict[str, str] = {}
    for territory, periods in get_global("territory_currencies").items():
        current = [(start, code) for code, start, end, tender in periods if tender and end is None and start]
        if current:
            table[territory] = max(current)[1]
    return table


def territory_language(least_percent: float = 50.0) -> dict[str, str]:
    """Return territory -> the language with the largest share of speakers, if that is at least ``least_percent``."""
    table: dict[str, str] = {}
    for territory, shares in get_global("territory_languages").items():
        if not shares:
            continue
        language, share = max(shares.items(), key=lambda item: (item[1]["population_percent"], item[0]))
        if share["population_percent"] >= least_percent:
            table[territory] = language
    return table


CONTINENTS = {"Africa": "002", "America": "019", "Asia": "142", "Europe": "150", "Australia": "009", "Pacific": "009"}
"""First part of a time zone's id -> the code under which CLDR names that part of the world (UN M49)."""
_ON_TWO_CONTINENTS = frozenset({"AM", "AZ", "CY", "EG", "GE", "KZ", "RU", "TR"})
_MAINLAND = {"ES": "150", "EC": "019"}
"""Territories whose first time zone is that of a part overseas."""


def continent(territory: str) -> str | None:
    """Return the continent of a territory, by its time zone; None for those of the oceans, and for those on two."""
    zones = get_global("territory_zones").get(territory) or [""]
    if territory in _ON_TWO_CONTINENTS:
        return None
    return _MAINLAND.get(territory, CONTINENTS.get(zones[0].split("/")[0]))


def territory_zone() -> dict[str, str]:
    """Return territory -> its time zone, for territories with exactly one."""
    return {territory: zones[0] for territory, zones in get_global("territory_zones").items() if len(zones) == 1}


def likely(language: str) -> tuple[str, str] | None:
    """Return (script, home territory) that CLDR assumes for a bare language code."""
    parts = str(get_global("likely_subtags").get(language, "")).split("_")
    return (parts[1], parts[2]) if len(parts) == 3 else None
