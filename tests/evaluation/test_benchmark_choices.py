"""Options of benchmarks, scored as lm-eval scores them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import TEXTS, metaspace_tokenizer, tiny_model

from clo.data.prompt import Renderer
from clo.errors import UserError
from clo.evaluation.benchmarks import choice as choice_module
from clo.evaluation.benchmarks.choice import score_questions
from clo.evaluation.benchmarks.encode import Question, encode_plain, encode_rendered, window_of
from clo.evaluation.benchmarks.multiple_choice import questions_of, score_choices
from clo.evaluation.benchmarks.options import BenchmarkOptions, BenchmarkSide
from clo.evaluation.benchmarks.rows import ChoiceRow, choice_rows
from clo.evaluation.benchmarks.shared import families
from clo.evaluation.benchmarks.sources import records_of_file
from clo.evaluation.benchmarks.tasks import TASKS
from clo.evaluation.subject import Subject


def harness_log_probs(model: Any, tokenizer: Any, questions: list[Question], window: int | None = None) -> list[float]:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8, max_length=window)
    asked = [
        Instance("loglikelihood", {}, (question.context, option), n)
        for n, question in enumerate(questions)
        for option in question.continuations
    ]
    return [value for value, _ in lm.loglikelihood(asked, disable_tqdm=True)]


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("scoring", ["letters", "answers"])
@pytest.mark.parametrize(("name", "lang"), [("belebele", "en"), ("belebele", "de"), ("cmmlu", "zh")])
def test_log_probs_equal_those_of_the_harness(
    random_nano: tuple[Any, Any], shared_data: Path, name: str, lang: str, scoring: str, shots: int
) -> None:
    model, tokenizer = random_nano
    rows = choice_rows(records_of_file(shared_data / "eval" / name / f"{lang}.jsonl"))[:6]
    questions = questions_of(BenchmarkSide(TASKS[name], lang, rows), scoring, BenchmarkOptions(shots=shots))
    window = window_of(model, tokenizer)
    ours = score_questions(model, questions, encode_plain(tokenizer, questions), window, 4096)
    theirs = harness_log_probs(model, tokenizer, questions)
    assert [value for row in ours.log_probs for value in row] == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("scoring", ["letters", "answers"])
def test_too_long_rows_are_cut_like_the_harness_cuts(
    random_nano: tuple[Any, Any], shared_data: Path, scoring: str
) -> None:
    model, tokenizer = random_nano
    rows = choice_rows(records_of_file(shared_data / "eval" / "belebele" / "de.jsonl"))[:8]
    questions = questions_of(BenchmarkSide(TASKS["belebele"], "de", rows), scoring, BenchmarkOptions())
    ours = score_questions(model, questions, encode_plain(tokenizer, questions), 300, 4096)
    assert 0 < ours.truncated < len(rows)
    assert [value for row in ours.log_probs for value in row] == pytest.approx(
        harness_log_probs(model, tokenizer, questions, 300), abs=1e-4
    )


def test_a_tokenizer_with_bos_gives_the_harness_numbers() -> None:
    model, tokenizer = tiny_model(), metaspace_tokenizer()
    questions = [
        Question(str(n), context, (f" {b}", f" {d}", " a"))
        for n, (a, b, c, d) in enumerate(TEXTS)
        for context in (a, f"{c}  ", f"<s>{a}")
    ]
    ours = score_questions(model, questions, encode_plain(tokenizer, questions), 256, 512)
    theirs = harness_log_probs(model, tokenizer, questions)
    assert [value for row in ours.log_probs for value in row] == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("scoring", ["letters", "answers"])
def test_options_that_do_not_share_work_give_the_same(
    random_nano: tuple[Any, Any], scoring: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = random_nano
    rows = [ChoiceRow(str(k), "", f"question {k}?", ("one", "two and a half", "3"), 0) for k in range(5)]
    rows.append(ChoiceRow("fewer", "", "another?", ("yes", "no"), 0))  # rows may differ in their number of options
    questions = questions_of(BenchmarkSide(TASKS["mmmlu"], "en", rows), scoring, BenchmarkOptions(shots=2))
    pairs = encode_plain(tokenizer, questions)
    seen: list[tuple[int, int]] = []
    packed = score_questions(model, questions, pairs, 512, 200, lambda *now: seen.append(now)).log_probs
    assert seen[-1] == (6, 6) and [len(row) for row in packed] == [3, 3, 3, 3, 3, 2]
    monkeypatch.setattr(choice_module, "packs", lambda *_: False)
    monkeypatch.setattr("clo.square.scores.packs", lambda *_: False)
    padded = score_questions(model, questions, pairs, 512, 200).log_probs
    for one, other in zip(packed, padded, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_families_share_examples_and_passages() -> None:
    shots = list(range(100))
    prompts = [[*shots, 200 + k, 7] for k in range(5)] + [[300, 301, 302, 1], [300, 301, 302, 2], [400]]
    found = {tuple(sorted(family.members)): family.common for family in families(prompts, 1000)}
    assert found == {(0, 1, 2, 3, 4): 100, (5, 6): 3, (7,): 0}
    assert all(family.tokens(prompts) <= 105 for family in families(prompts, 105))
    assert sorted(k for family in families([[1, 2], [1, 2], [1]], 9) for k in family.members) == [0, 1, 2]


def test_with_a_template_the_question_is_a_turn(random_nano: tuple[Any, Any]) -> None:
    model, tokenizer = random_nano
    renderer = Renderer(tokenizer, "chat")
    row = ChoiceRow("r", "", "Which?", ("this", "that"), 1)
    side, options = BenchmarkSide(TASKS["mmmlu"], "en", [row]), BenchmarkOptions(template=True)
    pairs = encode_rendered(renderer, questions_of(side, "letters", options))
    assert pairs[0][0][0] == renderer.prompt_ids("Which?\nA. this\nB. that\nAnswer:")
    assert [tokenizer.decode(option) for _, option in pairs[0]] == ["A", "B"]
    summary, results = score_choices(Subject(model, renderer), side, "letters", options)
    assert summary["template"] == "chat" and summary["n"] == 1 and len(results[0]["log_probs"]) == 2


def test_weights_that_give_no_numbers_are_refused(random_nano: tuple[Any, Any]) -> None:
    import copy

    model, tokenizer = random_nano
    broken = copy.deepcopy(model)
    broken.model.norm.weight.data.fill_(float("nan"))
    questions = [Question("row 1", "a", (" b", " c"))]
    with pytest.raises(UserError, match="row 1"):
        score_questions(broken, questions, encode_plain(tokenizer, questions), 512, 100)
    with pytest.raises(UserError, match="longer than the window"):
        score_questions(model, questions, [[([1], [1] * 9)]], 8, 100)
