"""Short answers and summaries in every script."""

from __future__ import annotations

import pytest

from clo.evaluation.benchmarks.texts import exact, f1, first_line, rouge_l


def test_short_answers_are_compared_in_every_script() -> None:
    assert exact("  Nairobi. ", ["mombasa", "NAIROBI"]) and not exact("the Nairobi", ["Nairobi"])
    assert exact("ＡＢＣ", ["abc"]) and exact("北京 大学", ["北京大学。"]) and exact("STRASSE", ["straße"])
    assert f1("in Nairobi", ["Nairobi"]) == pytest.approx(2 / 3)
    assert f1("北京市", ["北京"]) == pytest.approx(4 / 5)
    assert f1("Ẹ̀mẹẹ̀rin", ["Ẹ̀mẹẹ̀rin"]) == 1 and f1("", ["x"]) == 0
    assert first_line("\n 18\nQ: next") == "18"
    assert rouge_l("北京大学", "北京") == pytest.approx(2 / 3)


def test_rouge_is_the_librarys_where_its_own_tokenizer_can_read() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    usual = RougeScorer(["rougeL"])
    for answer, reference in (
        ("The cat sat on the mat.", "A cat is on the mat!"),
        ("Prices rose by 3.5% in May", "In May, prices rose 3.5 per cent"),
        ("", "words"),
        ("other", "words"),
    ):
        assert rouge_l(answer, reference) == pytest.approx(usual.score(reference, answer)["rougeL"].fmeasure)
    assert usual.score("北京大学", "北京大学")["rougeL"].fmeasure == 0  # why ours reads with its own


def test_korean_is_compared_by_syllables_and_other_languages_by_words() -> None:
    case = "대통령은 서울에서 연설했다", "대통령이 서울에 연설을 했다"
    assert rouge_l(*case) == 0 and rouge_l(*case, "ko") == pytest.approx(2 * 10 / (12 + 12))
    assert rouge_l("Häuser brennen", "Die Häuser brennen", "de") == pytest.approx(4 / 5)
    assert rouge_l("Ẹ̀kọ́ dára", "ẹ̀kọ́ dára gan-an", "yo") == pytest.approx(2 * 2 / (2 + 4))
    assert rouge_l("地震が起きた", "地震が起きました", "ja") == pytest.approx(2 * 6 / (6 + 8))
