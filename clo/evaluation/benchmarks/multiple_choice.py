"""Rows with options: asked, scored and summed up, with every row's own result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clo.data.prompt import Renderer
from clo.evaluation.benchmarks.choice import score_questions
from clo.evaluation.benchmarks.encode import Question, encode_plain, encode_rendered, window_of
from clo.evaluation.benchmarks.rows import LETTERS, ChoiceRow
from clo.evaluation.benchmarks.tasks import SHOTS_FROM, Task, continuations, with_shots
from clo.evaluation.generate import Progress
from clo.evaluation.statistics import bootstrap_mean


def questions_of(
    task: Task, scoring: str, rows: Sequence[ChoiceRow], shots: int, lang: str, limit: int | None = None
) -> list[Question]:
    """Prompt and continuations (a space, then the letter or the option's text) of the first ``limit`` rows."""
    contexts = with_shots(task, scoring, rows, shots, lang, limit)
    return [
        Question(row.id, context, tuple(f" {text}" for text in _texts(task, scoring, row)))
        for row, context in zip(rows, contexts, strict=False)
    ]


def _texts(task: Task, scoring: str, row: ChoiceRow) -> Sequence[str]:
    return LETTERS[: len(row.choices)] if scoring == "letters" else continuations(task, row)


def judge_choices(
    model: Any,
    renderer: Renderer,
    task: Task,
    scoring: str,
    rows: Sequence[ChoiceRow],
    lang: str,
    shots: int = 0,
    limit: int | None = None,
    template: bool = False,
    max_tokens: int = 16384,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Score the options of every row.

    Args:
        model: a causal language model.
        renderer: of the model; its tokenizer, and with ``template`` its rendering of a user's turn, are used.
        task: the benchmark.
        scoring: ``letters`` or ``answers``.
        rows: its rows; examples come from them too.
        lang: their language.
        shots: examples before each question.
        limit: ask the first rows only.
        template: render prompts as the model's chat turns; False is plain text, as lm-eval does by default.
        max_tokens: token budget of a forward pass.
        progress: called with (rows so far, rows in all).

    Returns:
        The summary: ``accuracy`` of the likeliest option and its 95 % bootstrap ``interval``; for ``answers`` also
        ``accuracy_norm`` and ``accuracy_bytes``, of the likeliest per character and per UTF-8 byte of its text (acc,
        acc_norm and acc_bytes of lm-eval); ``chance``, the accuracy of guessing; ``truncated`` rows; what was asked.
        And per row: ``id``, ``log_probs`` (nats), ``choice`` and ``right`` (with ``_norm`` and ``_bytes`` for answers).

    Raises:
        UserError: too few rows for the shots, a row that cannot be scored, or XCOPA in a language without wording.
    """
    questions = questions_of(task, scoring, rows, shots, lang, limit)
    pairs = encode_rendered(renderer, questions) if template else encode_plain(renderer.tokenizer, questions)
    scores = score_questions(model, questions, pairs, window_of(model, renderer.tokenizer), max_tokens, progress)
    results = [
        _result(row, _texts(task, scoring, row), values, scoring == "answers")
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
        **asked(task, scoring, shots, template, renderer),
    }, results


def asked(task: Task, scoring: str, shots: int, template: bool, renderer: Renderer) -> dict[str, Any]:
    """What a result is a result of: the words of the prompt and where its examples come from."""
    return {
        "scoring": scoring,
        "shots": shots,
        "shots_from": SHOTS_FROM if shots else None,
        "prompt": task.template_of(scoring),
        "template": renderer.template if template else None,
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
