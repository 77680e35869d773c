"""Scores of tasks by hand: every metric, the gate of language, and the table of means."""

from __future__ import annotations

import dataclasses

import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import sentence_chrf

from clo.config.choices import Identify
from clo.data.rows import Row
from clo.data.tasks import task_rows
from clo.errors import UserError
from clo.evaluation.fidelity import LanguageIdentifier
from clo.evaluation.tasks import METRICS, Metric, TaskSample, score_tasks, task_table

RUN = LanguageIdentifier("zh", further=("de", "sw", "ko", "id", "yo"))
SENTENCES = {
    "en": "She has {} apples in her basket this morning.",
    "zh": "今天早上她的篮子里一共有 {} 个苹果。",
    "de": "Heute Morgen hat sie {} Äpfel in ihrem Korb.",
    "ko": "오늘 아침 그녀의 바구니에는 사과가 {}개 있습니다.",
    "id": "Pagi ini dia punya {} buah apel di dalam keranjangnya.",
    "sw": "Asubuhi hii ana matofaa {} ndani ya kikapu chake kidogo.",
    "yo": "Ní òwúrọ̀ yìí ó ní èso ápù {} nínú apẹ̀rẹ̀ rẹ̀.",
}


def row(task: str, gold: str, lang: str = "en", response: str = "r", prompt: str = "p") -> Row:
    return Row(f"{task}.1", {lang: prompt}, {lang: response}, {lang: gold} if gold else {}, task=task)


def score(one: Row, answer: str, lang: str = "en", others: tuple[Row, ...] = ()) -> TaskSample:
    return score_tasks([one, *others], lang, [answer, *([""] * len(others))], RUN, METRICS)[0]


@pytest.mark.parametrize("lang", SENTENCES)
@pytest.mark.parametrize(
    ("number", "gold", "right"), [("1234", "1234", 1), ("1234.5", "1234.5", 1), ("1234", "1235", 0), ("-7", "-7", 1)]
)
def test_a_number_is_read_in_every_language(lang: str, number: str, gold: str, right: int) -> None:
    from babel.numbers import format_decimal

    for written in (
        number.replace(".", "," if lang in ("de", "id") else "."),
        format_decimal(float(number), locale=lang),
    ):
        sample = score(row("maths", gold, lang), SENTENCES[lang].format(written), lang)
        assert (sample.ungated, sample.score, sample.right_language) == (right, right, True), written


@pytest.mark.parametrize("lang", SENTENCES)
@pytest.mark.parametrize("other", SENTENCES)
def test_a_right_number_in_the_wrong_language_is_wrong_and_told_apart(lang: str, other: str) -> None:
    sample = score(row("maths", "42", lang), SENTENCES[other].format(42), lang)
    assert sample.ungated == 1 and sample.right_language is (lang == other) and sample.score == (lang == other)


PARALLEL = Row(
    "maths.2",
    {"en": "How many?", "sw": "Ngapi?", "zh": "多少？"},
    {"en": "The answer is 5.", "sw": "Jibu ni 5.", "zh": "答案是5。"},
    {"en": "5", "sw": "5", "zh": "5"},
    task="maths",
)
"""Too short for the identifier, as `MIN_LETTERS` has it."""


@pytest.mark.parametrize(
    ("lang", "answer", "right"),
    [
        ("sw", "5", True),
        ("zh", "5", True),
        ("zh", "5 km", True),
        ("sw", "Jibu ni 5.", True),
        ("sw", "Ni 5.", True),
        ("sw", "It is 5.", False),  # words of the English references
        ("en", "Jibu ni 5", False),
        ("zh", "It is 5.", False),  # two words of another script
        ("zh", "答案是 5.", True),
        ("zh", "答案 is 5.", True),  # a letter of its own script: undecided, as it was
        ("sw", "Embe 5", True),  # a word that no reference has
        ("sw", "答案 5", False),
        ("en", "", False),
        ("en", " \u200b\n", False),
    ],
)
def test_short_answers_are_right_unless_their_words_speak_against_it(lang: str, answer: str, right: bool) -> None:
    sample = score(PARALLEL, answer, lang)
    assert sample.right_language is right
    assert sample.score == (sample.ungated if right else 0)


def test_the_very_reference_is_in_its_language() -> None:
    text = "Kulingana na orodha, bara la Kuba, Trinidad na Tobago na St. Martin ni Amerika."
    assert RUN.codes([text]) == ["other"]  # the names
    assert score(row("summaries", "", "sw", text), text, "sw").score == 1
    assert score(row("summaries", "", "sw", "Bara ni Amerika."), text, "sw").score == 0


@pytest.mark.parametrize("task", METRICS)
def test_embedded_references_are_right_in_their_language_and_wrong_in_every_other(task: str) -> None:
    rows = task_rows(task, "dev", list(SENTENCES))[:40]
    for lang in SENTENCES:
        for other in SENTENCES:
            samples = score_tasks(rows, lang, [one.responses[other] for one in rows], RUN, METRICS)
            assert {(one.score, one.right_language) for one in samples} == {(lang == other, lang == other)}


def test_without_an_identifier_the_gate_is_open() -> None:
    blind = LanguageIdentifier("zh", by=Identify.none)
    (sample,) = score_tasks([row("maths", "42", "zh")], "zh", [SENTENCES["en"].format(42)], blind, METRICS)
    assert sample.right_language and sample.score == 1


def test_an_object_is_the_gold_text_as_whole_words_and_no_evidence_of_a_language() -> None:
    assert score(row("facts", "Kenyan shilling"), "It is the kenyan Shilling, of course, as we know.").score == 1
    assert score(row("facts", "Euro"), "Euros").score == 0
    assert score(row("facts", "유로", "ko"), "안도라의 통화는 유로입니다.", "ko").score == 1
    latin = score(row("facts", "New York Stock", "zh"), "New York Stock", "zh")
    assert latin.right_language and latin.score == 1
    assert not score(row("facts", "纽约", "zh"), "New York", "zh").right_language


MORE = row("maths", "Ana", "en", "Ana has more than Ben.", "Ana has 5, Ben has 3. Who has more?")
LESS = row("maths", "Ben", "en", "Ben has more than Ana.", "Ana has 2, Ben has 3. Who has more?")


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("Ana", 1),
        ("Ana has more than Ben.", 1),
        ("Ana has more than Ben, and Ben has less.", 1),
        ("Ben has more than Ana.", 0),
        ("Ben", 0),
        ("Anabel", 0),
        ("5", 0),
        ("", 0),
    ],
)
def test_the_answer_to_a_comparison_is_the_word_named_first(answer: str, right: int) -> None:
    assert score(MORE, answer, others=(LESS,)).ungated == right


def test_without_a_gold_number_it_is_the_last_of_the_reference() -> None:
    reasoned = row("maths", "", "de", "Erst sind es 3, dann 1.234. Die Antwort lautet 1.237.")
    assert score(reasoned, "1237", "de").score == 1 and score(reasoned, "1,237", "de").score == 0


def test_where_the_reference_has_the_word_last_the_answer_has_it_last() -> None:
    last = dataclasses.replace(MORE, responses={"en": "Ben has less than Ana."})
    assert [score(last, a, others=(LESS,)).ungated for a in ("Ben has less than Ana.", "Ana", "Ana than Ben")] == [
        1,
        1,
        0,
    ]


def test_rouge_and_chrf_are_the_libraries() -> None:
    answer, reference = "The river rose by two metres on Monday night.", "On Monday the river rose two metres."
    usual = RougeScorer(["rougeL"]).score(reference, answer)["rougeL"].fmeasure
    assert score(row("summaries", "", "en", reference), answer).score == pytest.approx(usual)
    (sample,) = score_tasks([row("open", "", "en", reference)], "en", [answer], RUN, {"open": Metric.chrf})
    assert sample.score == pytest.approx(sentence_chrf(answer, [reference]).score / 100)
    assert score(row("summaries", "", "zh", "河水上涨了两米"), "河水在周一上涨了两米", "zh").score == pytest.approx(
        14 / 17
    )


def test_the_table_has_means_by_task_and_language() -> None:
    rows = [row("maths", "42", "sw"), row("maths", "42", "sw"), row("summaries", "", "sw", SENTENCES["sw"])]
    answers = [SENTENCES["sw"].format(42), SENTENCES["en"].format(42), SENTENCES["sw"]]
    samples = score_tasks(rows, "sw", answers, RUN, METRICS)
    samples += score_tasks([row("maths", "1")], "en", ["0"], RUN, METRICS)
    assert task_table(samples) == {
        "maths": {
            "sw": {"n": 2, "score": 0.5, "ungated": 1, "right_language": 0.5},
            "en": {"n": 1, "score": 0, "ungated": 0, "right_language": 1},
        },
        "summaries": {"sw": {"n": 1, "score": 1, "ungated": 1, "right_language": 1}},
    }
    first = samples[0]
    assert (first.task, first.lang, first.id, first.prompt) == ("maths", "sw", "maths.1", "p")


def test_what_a_metric_needs_is_told() -> None:
    for task in ("facts", "maths"):
        with pytest.raises(UserError, match=rf"row '{task}\.1' has no gold text in 'en', which tasks\.{task}\.metric="):
            score(row(task, ""), "a")
    with pytest.raises(UserError, match=r"row 'open\.1' is of the task 'open', which has no metric; set tasks"):
        score(row("open", ""), "a")
