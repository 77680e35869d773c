"""Numbers as their languages write them: by hand, and as CLDR formats them in every locale."""

from __future__ import annotations

from decimal import Decimal

import pytest
from babel import localedata
from babel.numbers import format_decimal
from hypothesis import given, settings
from hypothesis import strategies as st

from clo.evaluation.numbers import equal_numbers, last_number, read_number


@pytest.mark.parametrize(
    ("text", "lang", "number"),
    [
        ("The answer is 18.", "en", 18),
        ("first 3, then 5", "en", 5),
        ("$1,234.50", "en", 1234.5),
        ("1.234,50 Euro", "de", 1234.5),
        ("1,234", "en", 1234),
        ("1,234", "de", 1.234),
        ("1.234", "de", 1234),
        ("1.234", "sw", 1.234),
        ("0.125", "id", 0.125),
        ("1.234.567", "en", 1234567),
        ("12\u202f345", "de", 12345),
        ("1,2,3", "en", 3),
        ("10-5", "en", 5),
        ("minus: -5", "en", -5),
        ("−7", "en", -7),
        ("-$7", "en", -7),
        (".5", "en", 0.5),
        ("答案是１８。", "zh", 18),
        ("٣٤", "en", 34),
        ("twenty 20 30", "en", 30),
        ("keine", "de", None),
        ("", "en", None),
    ],
)
def test_the_last_number_is_found(text: str, lang: str, number: float | None) -> None:
    assert last_number(text, lang) == number
    assert read_number(text, lang) == number


@pytest.mark.parametrize(
    ("text", "lang", "number"),
    [
        ("12,34,567.5", "hi", 1234567.5),
        ("1\u202f234,5", "fr", 1234.5),
        ("1.234", "es", 1234),
        ("1,234", "es", 1.234),
        ("1,234", "es-MX", 1234),
        ("1.234", "tlh", 1.234),
        ("٣٬٤٥٦٫٥", "ar", 3456.5),
        ("1’234.5", "de-CH", 1234.5),
        ("25 m²", "en", 25),
        ("6 CO₂", "en", 6),
        ("10 年后，30% 的树", "zh", 30),
        ("共 15，20 天", "zh", 20),
        ("共 15，200 元", "zh", 15200),
        ("\u200e-7", "he", -7),
    ],
)
def test_signs_are_those_of_the_language(text: str, lang: str, number: float) -> None:
    assert last_number(text, lang) == number and read_number(text, lang) == number


@pytest.mark.parametrize(
    ("text", "lang", "number"),
    [
        ("答案是四十二。", "zh", 42),
        ("一共有一百零五个，这是唯一的答案", "zh", 105),
        ("两万五千", "zh", 25000),
        ("一亿二千万", "zh", 120_000_000),
        ("一万亿", "zh", 10**12),
        ("二〇二四年", "zh", 2024),
        ("三点五", "zh", 3.5),
        ("负五", "zh", -5),
        ("第一", "zh", 1),
        ("答えは百二十です", "ja", 120),
        ("三十 3", "zh", 3),
        ("三十", "ko", None),
        ("没有", "zh", None),
        ("3万", "zh", 30000),
        ("-3万", "zh", -30000),
        ("3,000万元", "zh", 30_000_000),
        ("1.2亿", "zh", 120_000_000),
        ("1万2千", "zh", 12000),
        ("３万", "ja", 30000),
        ("3만 5천 원입니다", "ko", 35000),
        ("1만 2345원", "ko", 12345),
        ("3천만", "ko", 30_000_000),
        ("10千克", "zh", 10),
        ("5 千米", "zh", 5),
        ("3万", "en", 3),
        ("zwölf", "de", None),
    ],
)
def test_units_and_numerals_of_han_characters(text: str, lang: str, number: float | None) -> None:
    assert read_number(text, lang) == number


LOCALES = sorted(name for name in localedata.locale_identifiers() if "_" not in name and name not in ("tok", "ps"))
"""All languages of CLDR but Toki Pona, which groups by two, and Pashto, whose digits have another decimal sign each."""
NUMBERS = st.one_of(
    st.integers(-(10**9), 10**9).map(Decimal),
    st.decimals(-(10**6), 10**6, places=3, allow_nan=False, allow_infinity=False),
    st.decimals(-(10**6), 10**6, places=2, allow_nan=False, allow_infinity=False),
)


@settings(max_examples=400, deadline=None)
@given(
    NUMBERS,
    st.sampled_from(["en", "zh", "de", "ko", "id", "sw", "yo"]) | st.sampled_from(LOCALES),
    st.sampled_from(["{}", "= {}.", "$5 + x = {}", "({})", "7 {}", "{} km²", "{}%", "{} $", "答案是{}。"]),
    st.sampled_from(["latn", "default"]),
)
def test_what_cldr_writes_is_read_back(number: Decimal, lang: str, around: str, digits: str) -> None:
    written = format_decimal(number, locale=lang, numbering_system=digits)
    assert read_number(around.format(written), lang) == float(number)


def test_equal_is_equal_but_for_rounding() -> None:
    assert equal_numbers(3.0000001, 3) and not equal_numbers(3.01, 3) and not equal_numbers(None, 3)
