"""Exact match, chrF, content and the summaries, by hand; and the whole evaluation with a scripted model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from clo.config import EvaluationConfig, LangConfig
from clo.data.rows import Row
from clo.errors import UserError
from clo.evaluation import evaluate as evaluation
from clo.evaluation.answer_log import Answer
from clo.evaluation.evaluate import by_group, evaluate
from clo.evaluation.exact import Sample, chrf, content, exact_match, normalise, score_answers, summarise
from clo.evaluation.fidelity import LanguageIdentifier
from clo.evaluation.subject import Subject


def sample(**changes: Any) -> Sample:
    values = {
        "id": "a", "group": "", "side": "target", "prompt": "p", "reference": "r", "answer": "x",
        "verdict": "target", "exact": False, "chrf": 50.0, "content": None, "nll": 1.0,
    }  # fmt: skip
    return Sample(**{**values, **changes})


def test_normalise() -> None:
    assert normalise("  Owo\u0301 \n\t naa\u0300\u00a0") == "Owó naà"


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        ("Nairobi.\n", "Nairobi.", True),
        ("o\u0301 dára", "ó  dára", True),
        ("nairobi.", "Nairobi.", False),
        ("Nairobi", "Nairobi.", False),
        ("", "Nairobi.", False),
    ],
)
def test_exact_match(answer: str, reference: str, same: bool) -> None:
    assert exact_match(answer, reference) is same


def test_chrf_values() -> None:
    assert chrf("Sarafu ya Kenya", " Sarafu  ya Kenya ") == pytest.approx(100)
    assert chrf("", "abc") == 0
    assert chrf("xyz", "abc") == 0
    # "ab" against "abc": 1-grams P 1 R 2/3, 2-grams P 1 R 1/2; averaged over the orders that both have.
    precision, recall = 1.0, (2 / 3 + 1 / 2) / 2
    assert chrf("ab", "abc") == pytest.approx(100 * 5 * precision * recall / (4 * precision + recall))


def test_chrf_is_sacrebleu() -> None:
    import sacrebleu

    pair = "Fedha ya Kenya ni shilingi.", "Sarafu ya Kenya ni Shilingi ya Kenya."
    assert chrf(*pair) == pytest.approx(sacrebleu.sentence_chrf(pair[0], [pair[1]]).score)


@pytest.mark.parametrize(
    ("answer", "gold", "found"),
    [
        ("The currency is the Kenyan shilling.", "Kenyan Shilling", True),
        ("KES", "KES", True),
        ("(KES)", "KES", True),
        ("KESX is not it", "KES", False),
        ("XKES, then KES", "KES", True),
        ("Euros", "Euro", False),
        ("1234", "23", False),
        ("Èdè Yorùbá ni.", "Yoru\u0300ba\u0301", True),
        ("ẹ̀kọ́", "ẹ", False),
        ("안도라의 통화는 유로입니다.", "유로", True),
        ("통화는 EUR입니다", "EUR", True),
        ("通貨はEURです", "EUR", True),
        ("安道尔的货币是欧元。", "欧元", True),
        ("安道尔的货币是欧元。", "美元", False),
        ("ภาษาไทยเป็นภาษาหลัก", "ไทย", True),
        ("STRASSE", "Straße", True),
        ("", "KES", False),
    ],
)
def test_content(answer: str, gold: str, found: bool) -> None:
    assert content(answer, gold) is found


def test_blank_gold_is_refused() -> None:
    with pytest.raises(ValueError, match="blank"):
        content("anything", "  ")


def row(name: str, group: str = "", gold: bool = True) -> Row:
    return Row(
        id=name,
        prompts={"en": f"What is the currency of {name}?", "sw": f"Sarafu ya {name} ni nini?"},
        responses={
            "en": f"The currency of {name} is the Shilling.",
            "sw": f"Sarafu ya {name} ni Shilingi ya Kenya.",
        },
        gold={"en": "Shilling", "sw": "Shilingi ya Kenya"} if gold else {},
        group=group,
    )


def test_score_answers() -> None:
    rows = [row("Kenya", "seen"), row("Uganda", gold=False), row("Chad")]
    answers = ["Sarafu ya Kenya ni  Shilingi ya Kenya.", "The currency of Uganda is the Shilling.", "Euro"]
    scored = score_answers(rows, "sw", answers, [0.5, 1.5, 2], LanguageIdentifier("sw"), "target")
    assert [s.verdict for s in scored] == ["target", "en", "undecided"]
    assert [s.exact for s in scored] == [True, False, False]
    assert [s.content for s in scored] == [True, None, False]
    assert [s.nll for s in scored] == [0.5, 1.5, 2.0]
    assert scored[0].chrf == pytest.approx(100)
    assert (scored[0].prompt, scored[0].reference) == (rows[0].prompts["sw"], rows[0].responses["sw"])
    assert [s.group for s in scored] == ["seen", "", ""]


def test_score_answers_needs_one_answer_a_row() -> None:
    with pytest.raises(ValueError):
        score_answers([row("Kenya")], "sw", [], [], LanguageIdentifier("sw"), "target")


def test_sample_line() -> None:
    line = sample(content=True).to_dict()
    assert list(line) == [
        "id", "group", "side", "prompt", "reference", "answer", "verdict", "exact", "chrf", "content", "nll",
        "right_lines", "intrusion", "looped",
    ]  # fmt: skip
    assert Sample.from_dict(json.loads(json.dumps(line))) == sample(content=True)
    with pytest.raises(UserError, match=r"has verdict 'good' and chrf 50.0"):
        Sample.from_dict({**line, "verdict": "good"})
    with pytest.raises(UserError, match="and chrf 'high'"):
        Sample.from_dict({**line, "chrf": "high"})
    with pytest.raises(UserError, match="lacks the key verdict, nll"):
        Sample.from_dict({key: value for key, value in line.items() if key not in ("verdict", "nll")})


SAMPLES = [
    sample(
        verdict="target", exact=True, chrf=100.0, content=True, nll=1.0, right_lines=1.0, intrusion=False, looped=False
    ),
    sample(verdict="target", chrf=60.0, content=False, nll=2.0, right_lines=0.75, intrusion=True, looped=True),
    sample(verdict="en", chrf=20.0, nll=3.0),
    sample(verdict="undecided", chrf=0.0, content=False, nll=6.0),
]


def test_summarise_by_hand() -> None:
    assert summarise(SAMPLES) == {
        "n": 4,
        "exact": 0.25,
        "chrf": 45.0,
        "content": pytest.approx(1 / 3),
        "right": pytest.approx(1 / 3),
        "language": {"target": 0.5, "en": 0.25, "other": 0.0, "undecided": 0.25},
        "language_ok": pytest.approx(2 / 3),
        "undecided": 1,
        "lines_ok": 0.5,
        "intrusion": 0.5,
        "looped": 0.5,
        "nll": 3.0,
    }


def test_language_ok_of_english_prompts_is_english() -> None:
    scores = summarise([dataclasses.replace(s, side="en") for s in SAMPLES])
    assert scores["language_ok"] == pytest.approx(1 / 3)
    assert scores["language"]["target"] == 0.5


def test_nothing_decided_and_nothing_known_is_none() -> None:
    scores = summarise([sample(verdict="undecided")])
    assert scores["language_ok"] is None
    assert scores["content"] is None


def test_summarise_refuses_none_and_mixed_sides() -> None:
    with pytest.raises(ValueError, match="got none"):
        summarise([])
    with pytest.raises(ValueError, match="one side"):
        summarise([sample(), sample(side="en")])


def test_groups_that_occur() -> None:
    assert list(by_group([sample(), sample()])) == ["all"]
    groups = by_group([sample(group="unseen", chrf=10.0), sample(group="seen", chrf=30.0), sample(chrf=50.0)])
    assert {name: scores["chrf"] for name, scores in groups.items()} == {
        "all": 30.0,
        "seen": 30.0,
        "unseen": 10.0,
    }


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """In place of `generate`: answers every prompt in English, and records how it was called."""
    calls: list[dict[str, Any]] = []

    def answer(subject: Any, prompts: list[list[int]], new: int, budget: int, progress: Any, log: Any) -> list[Answer]:
        calls.append({"prompts": prompts, "new": new, "budget": budget})
        if progress:
            progress(len(prompts), len(prompts))
        return [Answer("The currency of Kenya is the Shilling.", k == 1) for k in range(len(prompts))]

    monkeypatch.setattr(evaluation, "generate", answer)
    nll = {"en": 1.0, "sw": 4.0}
    monkeypatch.setattr(evaluation, "reference_nll", lambda _, rows, lang: [nll[lang] for _ in rows])
    return calls


def run(rows: list[Row], progress: Callable[[int, int], None] | None = None) -> tuple[dict[str, Any], list[Sample]]:
    renderer: Any = SimpleNamespace(prompt_ids=lambda text: [len(text)])
    limits = EvaluationConfig(max_new_tokens=9, max_tokens=100)
    return evaluate(Subject(None, renderer), rows, LangConfig(), limits, progress)


def test_evaluate(scripted: list[dict[str, Any]]) -> None:
    rows = [row("Kenya", "seen"), row("Uganda", "unseen"), row("Chad", "unseen")]
    seen: list[tuple[int, int]] = []
    scores, samples = run(rows, lambda done, total: seen.append((done, total)))
    assert [(s.side, s.id) for s in samples] == [(side, r.id) for side in ("target", "en") for r in rows]
    assert list(scores) == ["target", "en"]
    assert [list(groups) for groups in scores.values()] == [["all", "seen", "unseen"]] * 2
    assert (scores["target"]["all"]["language_ok"], scores["en"]["all"]["language_ok"]) == (0.0, 1.0)
    assert (scores["target"]["all"]["nll"], scores["en"]["all"]["nll"]) == (4.0, 1.0)
    assert (scores["en"]["seen"]["exact"], scores["en"]["unseen"]["exact"]) == (1.0, 0.0)
    assert scores["target"]["unseen"]["n"] == 2
    assert (scores["target"]["unseen"]["looped"], scores["target"]["seen"]["looped"]) == (0.5, 0.0)
    assert [call["prompts"] for call in scripted] == [[[len(r.prompts[c])] for r in rows] for c in ("sw", "en")]
    assert {(call["new"], call["budget"]) for call in scripted} == {(9, 100)}
    assert seen == [(3, 6), (6, 6)]
    json.dumps(scores, allow_nan=False)


def test_evaluate_refuses_before_it_generates(scripted: list[dict[str, Any]]) -> None:
    with pytest.raises(UserError, match="no test rows"):
        run([])
    broken = dataclasses.replace(row("Kenya"), responses={"en": "x"})
    with pytest.raises(UserError, match="'Kenya' has no prompt or no response in 'sw'"):
        run([broken])
    assert scripted == []
