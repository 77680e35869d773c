"""Numbers and short answers in every script."""

from __future__ import annotations

import pytest

from clo.evaluation.benchmarks.texts import chrf, exact, f1, first_line, last_number, rouge_l


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


def test_short_answers_are_compared_in_every_script() -> None:
    assert exact("  Nairobi. ", ["mombasa", "NAIROBI"]) and not exact("the Nairobi", ["Nairobi"])
    assert exact("ＡＢＣ", ["abc"]) and exact("北京 大学", ["北京大学。"]) and exact("STRASSE", ["straße"])
    assert f1("in Nairobi", ["Nairobi"]) == pytest.approx(2 / 3)
    assert f1("北京市", ["北京"]) == pytest.approx(4 / 5)
    assert f1("Ẹ̀mẹẹ̀rin", ["Ẹ̀mẹẹ̀rin"]) == 1 and f1("", ["x"]) == 0
    assert first_line("\n 18\nQ: next") == "18"
    assert rouge_l("北京大学", "北京") == pytest.approx(2 / 3) and chrf("same", "same") == pytest.approx(100)
