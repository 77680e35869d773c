"""The last number of a text, read as its language writes numbers.

Signs that part groups and decimals are those of CLDR for the language. Digits of any script are read, and in Chinese,
Japanese and Korean the units 万 and 億 behind digits; numerals in Han characters are read where a Chinese or Japanese
text has no digit. Numerals in words of other languages are not read.
"""

from __future__ import annotations

import math
import re
import unicodedata
from functools import lru_cache

_NUMBER = re.compile(
    r"""(?:(?<![\w)])(?P<minus>-)[$€£¥]?)?  # a hyphen after a letter, a digit or a bracket is no sign
    (?:
      (?<![\d.,'’])(?P<grouped>\d{1,3}(?P<sign>[.,'’])\d{3}(?:(?P=sign)\d{3})*)(?:(?!(?P=sign))[.,](?P<rest>\d+))?
      (?![\d]|[.,]\d)
      | (?P<whole>\d+)(?:[.,](?P<decimals>\d+))?
      | (?<![\w.,])[.,](?P<part>\d+)
    )""",
    re.VERBOSE | re.ASCII,
)
_NARROW = re.compile("(?<=\\d)[\u00a0\u2009\u202f](?=\\d{3}(?!\\d))")
"""Spaces that do not break a line, between groups of digits; plain ones part numbers."""
_RAISED = re.compile("[\u00b2\u00b3\u00b9\u2070\u2074-\u2079\u2080-\u2089]+")
"""Digits above and below the line: parts of a unit (m²) or of a formula."""
_BREAK = re.compile("(?<!\\d)，|，(?!\\d{3}(?!\\d))")
"""A Chinese comma that parts phrases, not groups of digits: 10 年后，30% 的树."""
_PAIRS = re.compile(r"(?<![\d,.])\d{1,2}(?:,\d{2})+,\d{3}(?!\d)", re.ASCII)
"""12,34,567: lakhs and crores."""
_SIGNS = str.maketrans({"\u2212": "-", "\u066b": ".", "\u066c": "'", "\u060c": ","})

_HAN_DIGITS = ("零〇", "一", "二两兩", "三", "四", "五", "六", "七", "八", "九")
_DIGITS = {char: value for value, chars in enumerate(_HAN_DIGITS) for char in chars}
_SMALL = {char: value for chars, value in (("十십", 10), ("百백", 100), ("千천", 1000)) for char in chars}
_LARGE = {char: value for chars, value in (("万萬만", 10**4), ("亿億억", 10**8), ("兆조", 10**12)) for char in chars}
_S, _L, _D = (f"[{''.join(chars)}]" for chars in (_SMALL, _LARGE, _DIGITS))
_MIXED = re.compile(
    rf"(?<![\d,.])\d[\d,]*(?:\.\d+)?\s?{_S}?{_L}+"
    rf"(?:\s?\d[\d,]*(?:\.\d+)?(?:{_S}{_L}*|{_L}+))*(?:(?:\s?\d{{3,4}}|\d{{1,2}})(?![\d.,]))?"
)
"""Digits with units behind them, the first one at least 10,000: 3万, 1.2亿, 3만 5천 (10千克 is a weight)."""
_HAN = re.compile(rf"负?(?:{_D}|{_S}|{_L})+(?:点{_D}+)?")
_PART = re.compile(rf"\d[\d,]*(?:\.\d+)?|{_D}|{_S}|{_L}")
_UNITS, _NUMERALS = ("zh", "yue", "wuu", "ja", "ko"), ("zh", "yue", "wuu", "ja")
"""Languages that put units behind digits, and that write numerals in Han characters."""


def last_number(text: str, lang: str = "en") -> float | None:
    """The last number in digits in a text, or None.

    Digits of any script are read. Where both a comma and a point occur the last of them is the decimal sign; one kind
    that parts several groups of three digits is no decimal sign; a lone one before three digits parts groups if it is
    the language's sign for that and no lone 0 precedes, and is the decimal sign otherwise (so 1,234 is 1234 in English
    and 1.234 in German).

    Args:
        text: any text.
        lang: code of the language that it is in; one that CLDR does not know is read as English is.
    """
    text = _plain(text)
    comma, pairs = _habits(lang)
    if pairs:
        text = _PAIRS.sub(lambda found: found.group().replace(",", ""), text)
    found = list(_NUMBER.finditer(text))
    return _value(found[-1], comma) if found else None


def read_number(text: str, lang: str) -> float | None:
    """The last number in a text as its language writes it, or None: `last_number`, units and Han numerals too."""
    first = lang.replace("_", "-").split("-")[0].lower()
    if first in _UNITS:
        text = _MIXED.sub(lambda found: f"{_composed(found.group()):.15g}", _plain(text))
    number = last_number(text, lang)
    if number is None and first in _NUMERALS:
        runs = [run for run in _HAN.findall(text) if run.strip("负点")]
        # a lone 一 is more often "the", "once" or a part of a word than the number
        runs = [run for run in runs if run != "一"] or runs
        return _han(runs[-1]) if runs else None
    return number


def equal_numbers(answer: float | None, gold: float) -> bool:
    """Whether both are the same number up to rounding in the sixth digit."""
    return answer is not None and math.isclose(answer, gold, rel_tol=1e-6, abs_tol=1e-9)


def _plain(text: str) -> str:
    """NFKC with ASCII digits, minus and signs; white space inside a number is gone."""
    text = _BREAK.sub(" ", _NARROW.sub("'", _RAISED.sub("", text)))
    text = unicodedata.normalize("NFKC", text).translate(_SIGNS)
    return "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)


def _value(found: re.Match[str], comma: bool) -> float:
    """The number of a match of ``_NUMBER``, the comma being the decimal sign or the point."""
    if found["part"]:
        value = float(f"0.{found['part']}")
    elif found["whole"]:
        value = float(f"{found['whole']}.{found['decimals'] or 0}")
    else:
        parts = found["grouped"].split(found["sign"])
        grouping = "." if comma else ","
        lone = len(parts) == 2 and found["rest"] is None and found["sign"] in ",."
        if lone and (found["sign"] != grouping or parts[0] == "0"):
            value = float(".".join(parts))
        else:
            value = float(f"{''.join(parts)}.{found['rest'] or 0}")
    return -value if found["minus"] else value


@lru_cache(maxsize=256)
def _habits(lang: str) -> tuple[bool, bool]:
    """Whether a language's decimal sign is a comma, and whether it groups digits above a thousand by two (CLDR)."""
    from babel import Locale, UnknownLocaleError

    try:
        locale = Locale.parse(lang.replace("_", "-"), sep="-")
    except (UnknownLocaleError, ValueError):
        return False, False
    symbols = locale.number_symbols.get("latn", {})
    return symbols.get("decimal") == ",", locale.decimal_formats[None].grouping[1] == 2


def _han(run: str) -> float:
    """The value of a numeral in Han characters: 四十二, 二〇二四, 三点五."""
    whole, _, part = run.removeprefix("负").partition("点")
    parts = "".join(str(_DIGITS[char]) for char in part)
    if all(char in _DIGITS for char in whole):
        value = float(f"{''.join(str(_DIGITS[char]) for char in whole)}.{parts or 0}")
    else:
        value = _composed(whole) + float(f"0.{parts or 0}")
    return -value if run.startswith("负") else value


def _composed(run: str) -> float:
    """The sum of numbers with units: of 10,000 there are as many as stand before it since the last larger unit."""
    total = section = 0.0
    current: float | None = None
    for part in _PART.findall(run):
        if part in _SMALL:
            section += (1 if current is None else current) * _SMALL[part]
            current = None
        elif part in _LARGE:
            section += current or 0
            if section:
                total += section * _LARGE[part]
            else:  # directly behind a smaller unit (万亿), or at the beginning
                total = (total or 1) * _LARGE[part]
            section, current = 0.0, None
        else:
            current = float(_DIGITS[part]) if part in _DIGITS else float(part.replace(",", ""))
    return total + section + (current or 0)
