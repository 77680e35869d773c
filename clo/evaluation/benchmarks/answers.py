"""Questions answered by greedy generation, scored as numbers or as short texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clo.errors import UserError
from clo.evaluation.benchmarks.encode import window_of
from clo.evaluation.benchmarks.multiple_choice import asked, mean_of
from clo.evaluation.benchmarks.options import BenchmarkOptions, BenchmarkSide
from clo.evaluation.benchmarks.rows import AnswerRow
from clo.evaluation.benchmarks.tasks import with_shots
from clo.evaluation.benchmarks.texts import exact, f1, first_line
from clo.evaluation.generate import Progress, generate
from clo.evaluation.numbers import equal_numbers, last_number
from clo.evaluation.subject import Subject


def score_answers(
    subject: Subject, side: BenchmarkSide, options: BenchmarkOptions, progress: Progress | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Generate greedily up to a line break and score every answer.

    Arguments are those of `multiple_choice.score_choices`. A prompt that leaves no room for ``options.max_new_tokens``
    in the window loses tokens on the left, which ``truncated`` counts.

    Returns:
        The summary: ``accuracy`` (number) or ``exact`` and ``f1`` (span), each of 0 to 1, the first with its 95 %
        bootstrap ``interval``, and ``f1_interval``. And per row: ``id``, ``text``, ``right``, and ``number`` or ``f1``.

    Raises:
        UserError: too few rows for the shots, or an accepted answer that is no number in a number task.
    """
    renderer, longest = subject.renderer, options.max_new_tokens
    contexts = with_shots(side.task, "text", side.rows, options.shots, side.lang, options.limit)
    encode: Callable[[str], list[int]] = renderer.prompt_ids if options.template else renderer.tokenizer.encode
    room = max(1, window_of(subject.model, renderer.tokenizer) - longest)
    prompts = [encode(text) for text in contexts]
    cut = [ids[-room:] for ids in prompts]
    texts = [answer.text for answer in generate(subject, cut, longest, options.max_tokens, progress)]
    kind = side.task.kind
    score = _number if kind == "number" else _span
    results = [score(row, first_line(text), side.lang) for row, text in zip(side.rows, texts, strict=False)]
    right = mean_of(results, "right")
    summary: dict[str, Any] = {("accuracy" if kind == "number" else "exact"): right["value"]}
    summary["interval"] = right["interval"]
    if kind == "span":
        found = mean_of(results, "f1")
        summary |= {"f1": found["value"], "f1_interval": found["interval"]}
    truncated = sum(len(after) < len(before) for after, before in zip(cut, prompts, strict=True))
    counts = {"n": len(results), "truncated": truncated, "max_new_tokens": longest}
    return summary | counts | asked(subject, side, "text", options), results


def _number(row: AnswerRow, text: str, lang: str) -> dict[str, Any]:
    golds = [last_number(answer) for answer in row.answers]  # data sets write their answers the English way
    if None in golds:
        raise UserError(f"row {row.id!r}: the answer {row.answers} is no number; mend or drop the row")
    number = last_number(text, lang)
    right = any(equal_numbers(number, gold) for gold in golds if gold is not None)
    return {"id": row.id, "text": text, "number": number, "right": right}


def _span(row: AnswerRow, text: str, lang: str) -> dict[str, Any]:
    return {"id": row.id, "text": text, "right": exact(text, row.answers), "f1": f1(text, row.answers)}
