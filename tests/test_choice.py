"""Benchmarks: rows, prompts, options scored as lm-eval scores them, numbers, short answers, storing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clo.evaluation.benchmarks.choice import score_questions
from clo.evaluation.benchmarks.encode import Question, encode_plain, window_of
from clo.evaluation.benchmarks.judge import questions_of
from clo.evaluation.benchmarks.rows import choice_rows
from clo.evaluation.benchmarks.sources import records_of_file
from clo.evaluation.benchmarks.tasks import TASKS
from clo.nano import WEIGHTS


@pytest.fixture(scope="module")
def nano() -> tuple[Any, Any]:
    """A random Llama with the nano model's tokenizer and a window that the prompts fit."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(WEIGHTS)
    config.num_hidden_layers, config.hidden_size, config.intermediate_size = 2, 64, 96
    config.head_dim, config.num_attention_heads, config.num_key_value_heads = 16, 4, 2
    config.max_position_embeddings, config.initializer_range = 2048, 0.2
    return AutoModelForCausalLM.from_config(config).eval(), AutoTokenizer.from_pretrained(WEIGHTS)


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
    nano: tuple[Any, Any], shared_data: Path, name: str, lang: str, scoring: str, shots: int
) -> None:
    model, tokenizer = nano
    rows = choice_rows(records_of_file(shared_data / "eval" / name / f"{lang}.jsonl"))[:6]
    questions = questions_of(TASKS[name], scoring, rows, shots, lang)
    window = window_of(model, tokenizer)
    ours = score_questions(model, questions, encode_plain(tokenizer, questions), window, 4096)
    theirs = harness_log_probs(model, tokenizer, questions)
    assert [value for row in ours.log_probs for value in row] == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("scoring", ["letters", "answers"])
def test_too_long_rows_are_cut_like_the_harness_cuts(nano: tuple[Any, Any], shared_data: Path, scoring: str) -> None:
    model, tokenizer = nano
    rows = choice_rows(records_of_file(shared_data / "eval" / "belebele" / "de.jsonl"))[:8]
    questions = questions_of(TASKS["belebele"], scoring, rows, 0, "de")
    ours = score_questions(model, questions, encode_plain(tokenizer, questions), 300, 4096)
    assert 0 < ours.truncated < len(rows)
    assert [value for row in ours.log_probs for value in row] == pytest.approx(
        harness_log_probs(model, tokenizer, questions, 300), abs=1e-4
    )
