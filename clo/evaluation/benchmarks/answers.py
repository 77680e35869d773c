"""Questions answered by greedy generation, scored as numbers or as short texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from clo.data.prompt import Renderer
from clo.errors import UserError
from clo.evaluation.benchmarks.encode import window_of
from clo.evaluation.benchmarks.multiple_choice import asked, mean_of
from clo.evaluation.benchmarks.rows import AnswerRow
from clo.evaluation.benchmarks.tasks import Task, with_shots
from clo.evaluation.benchmarks.texts import equal_numbers, exact, f1, first_line, last_number
from clo.evaluation.generate import Progress, generate


def judge_answers(
    model: Any,
    renderer: Renderer,
    task: Task,
    rows: Sequence[AnswerRow],
    lang: str,
    shots: int = 0,
    limit: int | None = None,
    template: bool = False,
    max_tokens: int = 16384,
    max_new_tokens: int = 64,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Generate greedily up to a line break and score every answer.

    Arguments are those of `multiple_choice.judge_choices`, and ``max_new_tokens``, the longest
    answer. A prompt that leaves no room for it in the window loses tokens on the left, which ``truncated`` counts.

    Returns:
        The summary: ``accuracy`` (number) or ``exact`` and ``f1`` (span), each of 0 to 1, the first with its 95 %
        bootstrap ``interval``, and ``f1_interval``. And per row: ``id``, ``text``, ``right``, and ``number`` or ``f1``.

    Raises:
        UserError: too few rows for the shots, or an accepted answer that is no number in a number task.
    """
    contexts = with_shots(task, "text", rows, shots, lang, limit)
    encode: Callable[[str], list[int]] = renderer.prompt_ids if template else renderer.tokenizer.encode
    room = max(1, window_of(model, renderer.tokenizer) - max_new_tokens)
    prompts = [encode(text) for text in contexts]
    cut = [ids[-room:] for ids in prompts]
    texts = generate(model, renderer.tokenizer, cut, renderer.end_id, max_new_tokens, max_tokens, progress)
    score = _number if task.kind == "number" else _span
    results = [score(row, first_line(text), lang) for row, text in zip(rows, texts, strict=False)]
    right = mean_of(results, "right")
    summary: dict[str, Any] = {("accuracy" if task.kind == "number" else "exact"): right["value"]}
    summary["interval"] = right["interval"]
    if task.kind == "span":
        found = mean_of(results, "f1")
        summary |= {"f1": found["value"], "f1_interval": found["interval"]}
    truncated = sum(len(after) < len(before) for after, before in zip(cut, prompts, strict=True))
    counts = {"n": len(results), "truncated": truncated, "max_new_tokens": max_new_tokens}
    return summary | counts | asked(task, "text", shots, template, renderer), results


def _number(row: AnswerRow, text: str, lang: str) -> dict[str, Any]:
    golds = [last_number(answer) for answer in row.answers]  # data sets write their answers the English way
    if None in golds:
        raise UserError(f"row {row.id!r}: the answer {row.answers} is no number; mend or drop the row")
    number = last_number(text, lang)
    right = any(equal_numbers(number, gold) for gold in golds if gold is not None)
    return {"id": row.id, "text": text, "number": number, "right": right}


def _span(row: AnswerRow, text: str, lang: str) -> dict[str, Any]:
    return {"id": row.id, "text": text, "right": exact(text, row.answers), "f1": f1(text, row.answers)}
