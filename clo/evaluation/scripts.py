"""In which script a text is written: all that can be told of a language that no identifier knows."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

_TABLE = """
Arab ARABIC ar arz ary ckb fa ks ps sd sdh ug ur
Armn ARMENIAN hy
Beng BENGALI as bn
Cher CHEROKEE chr
Cyrl CYRILLIC ab av ba be bg ce cv kk kv ky mk mn os ru sah sr tg tt tyv udm uk
Deva DEVANAGARI bho brx doi gom hi mai mr ne sa
Ethi ETHIOPIC am ti
Geor GEORGIAN ka
Grek GREEK el grc
Gujr GUJARATI gu
Guru GURMUKHI pa
Hans,Hant CJK wuu yue zh
Hang,Kore HANGUL ko
Hebr HEBREW hbo he yi
Jpan HIRAGANA,KATAKANA,CJK ja
Khmr KHMER km
Knda KANNADA kn
Laoo LAO lo
Latn LATIN
Mlym MALAYALAM ml
Mtei MEETEI mni
Mong MONGOLIAN
Mymr MYANMAR my shn
Nkoo NKO nqo
Olck OL sat
Orya ORIYA or
Sinh SINHALA si
Syrc SYRIAC syr
Taml TAMIL ta
Telu TELUGU te
Tfng TIFINAGH zgh
Thaa THAANA dv
Thai THAI th
Tibt TIBETAN bo dz
"""
"""ISO 15924 codes, first words of the Unicode names of the script's letters, languages written in it by default."""

_ROWS = [line.split() for line in _TABLE.strip().splitlines()]
_BY_SCRIPT = {code: frozenset(row[1].split(",")) for row in _ROWS for code in row[0].split(",")}
_WORDS = frozenset().union(*_BY_SCRIPT.values())
_BY_LANGUAGE = {language: frozenset(row[1].split(",")) for row in _ROWS for language in row[2:]}


def scripts_of(language: str) -> frozenset[str] | None:
    """First words of the Unicode names of a language's letters.

    Args:
        language: ISO 639 code; a script behind it (ISO 15924, ``sr-Latn``) wins over the table. A language that is
            not in the table is written in Latin letters.

    Returns:
        The words, or None where the code names a script that is not in the table.
    """
    first, *more = re.split(r"[-_]", language)
    named = next((part.capitalize() for part in more if len(part) == 4 and part.isalpha()), None)
    if named is not None:
        return _BY_SCRIPT.get(named)
    return _BY_LANGUAGE.get(first.lower(), frozenset(("LATIN",)))


def known_scripts() -> list[str]:
    """The ISO 15924 codes of the table."""
    return sorted(_BY_SCRIPT)


def letters_by_script(text: str) -> Counter[str]:
    """Letters of a text by the first word of their Unicode names."""
    return Counter(_script(char) for char in text if is_letter(char))


def is_letter(char: str) -> bool:
    """Whether a character is a letter, or a vowel sign that a script writes for one (Bengali, Hindi, Tamil, Thai).

    Marks of no script of the table are none: an accent (``COMBINING ...``) belongs to the letter before it, a
    ``VARIATION SELECTOR`` to an emoji.
    """
    return char.isalpha() or (unicodedata.category(char)[0] == "M" and _script(char) in _WORDS)


@lru_cache(maxsize=8192)
def _script(char: str) -> str:
    return unicodedata.name(char, "").split(" ")[0].split("-")[0]
