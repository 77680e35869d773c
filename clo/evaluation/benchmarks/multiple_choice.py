"""Rows with options: asked, scored and summed up, with every row's own result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clo.evaluation.benchmarks.choice import score_questions
from clo.evaluation.benchmarks.encode import Question, encode_plain, encode_rendered, window_of
from clo.evaluation.benchmarks.options import BenchmarkOptions, BenchmarkSide
from clo.evaluation.benchmarks.rows import LETTERS, ChoiceRow
from clo.evaluation.benchmarks.tasks import SHOTS_FROM, Task, continuations, with_shots
from clo.evaluation.generate import Progress
from clo.evaluation.statistics import bootstrap_mean
from clo.evaluation.subject import Subject


def questions_of(side: BenchmarkSide, scoring: str, options: BenchmarkOptions) -> list[Question]:
    """Prompt and continuations (a space, then the letter or the option's text) of the rows that are asked."""
    contexts = with_shots(side.task, scoring, side.rows, options.shots, side.lang, options.limit)
    return [
        Question(row.id, context, tuple(f" {text}" for text in _texts(side.task, scoring, row)))
        for row, context in zip(side.rows, contexts, strict=False)
    ]


def _texts(task: Task, scoring: str, row: ChoiceRow) -> Sequence[str]:
    return LETTERS[: len(row.choices)] if scoring == "letters" else continuations(task, row)


def score_choices(
    subject: Subject,
    side: BenchmarkSide,
    scoring: str,
    options: BenchmarkOptions,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Score the options of every row.

    Args:
        subject: its renderer's tokenizer, and with ``options.template`` its rendering of a user's turn, are used.
        side: the benchmark's rows in one language; examples come from them too.
        scoring: ``letters`` or ``answers``.
        options: how they are asked.
        progress: called with (rows so far, rows in all).

    Returns:
        The summary: ``accuracy`` of the likeliest option and its 95 % bootstrap ``interval``; for ``answers`` also
        ``accuracy_norm`` and ``accuracy_bytes``, of the likeliest per character and per UTF-8 byte of its text (acc,
        acc_norm and acc_bytes of lm-eval); ``chance``, the accuracy of guessing; ``truncated`` rows; what was asked.
        And per row: ``id``, ``log_probs`` (nats), ``choice`` and ``right`` (with ``_norm`` and ``_bytes`` for answers).

    Raises:
        UserError: too few rows for the shots, a row that cannot be scored, or XCOPA in a language without wording.
    """
    renderer, rows = subject.renderer, side.rows
    questions = questions_of(side, scoring, options)
    encoded = encode_rendered(renderer, questions) if options.template else encode_plain(renderer.tokenizer, questions)
    window = window_of(subject.model, renderer.tokenizer)
    scores = score_questions(subject.model, questions, encoded, window, options.max_tokens, progress)
    results = [
        _result(row, _texts(side.task, scoring, row), values, scoring == "answers")
        for row, values in zip(rows, scores.log_probs, strict=False)
    ]
    summary: dict[str, Any] = {}
    for name, key in (("accuracy", "right"), ("accuracy_norm", "right_norm"), ("accuracy_bytes", "right_bytes")):
        if key in results[0]:
            summary |= {name: mean_of(results, key)["value"]}
    interval = mean_of(results, "right")
    return summary | {
        "interval": interval["interval"],
        "n": len(results),
        "chance": sum(1 / len(row.choices) for row in rows[: len(results)]) / len(results),
        "truncated": scores.truncated,
        **asked(subject, side, scoring, options),
    }, results


def asked(subject: Subject, side: BenchmarkSide, scoring: str, options: BenchmarkOptions) -> dict[str, Any]:
    """What a result is a result of: the words of the prompt and where its examples come from."""
    return {
        "scoring": scoring,
        "shots": options.shots,
        "shots_from": SHOTS_FROM if options.shots else None,
        "prompt": side.task.template_of(scoring),
        "template": subject.renderer.template if options.template else None,
    }


def mean_of(results: Sequence[dict[str, Any]], key: str) -> dict[str, Any]:
    """``value`` and 95 % bootstrap ``interval`` of a number or truth value over rows."""
    found = bootstrap_mean([float(result[key]) for result in results])
    return {"value": found.value, "interval": [found.low, found.high]}


def _result(row: ChoiceRow, texts: Sequence[str], values: list[float], norms: bool) -> dict[str, Any]:
    result: dict[str, Any] = {"id": row.id, "log_probs": values}
    lengths = {"": [1] * len(texts)}
    if norms:
        lengths |= {"_norm": [len(t) for t in texts], "_bytes": [len(t.encode()) for t in texts]}
    for suffix, sizes in lengths.items():
        each = [value / size for value, size in zip(values, sizes, strict=True)]
        choice = each.index(max(each))  # the first of equals, as numpy's argmax
        result |= {f"choice{suffix}": choice, f"right{suffix}": choice == row.answer}
    return result
