"""Options scored by a language model: the prompt computed once for all of them, on the square's packed path.

What is longer than the window loses tokens on the left, as in lm-eval: with the answer's last token, which predicts
nothing, one token more than the window stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clo.data.batch import Cell
from clo.data.items import Item
from clo.errors import UserError
from clo.evaluation.benchmarks.encode import Ids, Question
from clo.evaluation.benchmarks.shared import score_one_token_options
from clo.evaluation.generate import Progress
from clo.square.scores import groups_of, packs, score_items


@dataclass(frozen=True, slots=True)
class ChoiceScores:
    """Log-probs of every continuation."""

    log_probs: list[list[float]]
    """[rows][options], nats, summed over the continuation's tokens, float32 precision."""
    truncated: int
    """Rows of which an option did not fit the window, so that the prompt's beginning was cut."""


def score_questions(
    model: Any,
    questions: Sequence[Question],
    pairs: Sequence[Sequence[tuple[Ids, Ids]]],
    window: int,
    max_tokens: int,
    progress: Progress | None = None,
) -> ChoiceScores:
    """Score every continuation under its prompt.

    A prompt is computed once for all its continuations. Where cutting to the window leaves options with different
    prompts, each is scored by itself.

    Args:
        model: a causal language model of transformers, or a PEFT model around one.
        questions: for names in messages.
        pairs: token ids of each question's options, from `encode_plain` or `encode_rendered`.
        window: longest input in tokens, see `window_of`; the last token of a continuation is no input.
        max_tokens: token budget of a forward pass; a question that is over it by itself runs alone.
        progress: called with (rows so far, rows in all) after each pass.

    Raises:
        UserError: a continuation alone is longer than the window, or a log-prob is no finite number.
    """
    found = [[0.0] * len(options) for options in pairs]
    kinds: dict[int, list[tuple[int, int, Item]]] = {}
    truncated = 0
    for row, options in enumerate(pairs):
        if max(len(continuation) for _, continuation in options) > window:
            raise UserError(
                f"row {questions[row].id!r}: an option is longer than the window of {window} tokens; drop it"
            )
        cut = [(context[max(0, len(context) + len(rest) - window - 1) :], rest) for context, rest in options]
        truncated += any(len(after[0]) < len(before[0]) for after, before in zip(cut, options, strict=True))
        for first, part in _shared(cut):
            prompt, responses = tuple(part[0][0]), tuple(tuple(rest) for _, rest in part)
            item = Item(questions[row].id, (prompt,), responses)
            kinds.setdefault(len(part), []).append((row, first, item))
    done: set[int] = set()
    for count, entries in sorted(kinds.items()):
        for scored in _scored(model, [item for _, _, item in entries], max_tokens):
            for k, values in scored:
                row, first, _ = entries[k]
                found[row][first : first + count] = values
                done.add(row)
            if progress is not None:
                progress(len(done), len(pairs))
    _refuse_not_finite(questions, found)
    return ChoiceScores(found, truncated)


def _scored(model: Any, items: Sequence[Item], max_tokens: int) -> Iterator[list[tuple[int, list[float]]]]:
    """(place of an item, log-probs of its responses) of the items, all with the same number of them, pass by pass."""
    cells: list[Cell] = [(0, j) for j in range(len(items[0].responses))]
    each = [[item.response(j) for _, j in cells] for item in items]
    if packs(model, _probe(items[0])) and all(len(ids) == 1 for responses in each for ids in responses):
        options = [[ids[0] for ids in responses] for responses in each]
        yield from score_one_token_options(model, [item.prompt(0) for item in items], options, max_tokens)
        return
    for group in groups_of(model, items, cells, max_tokens):
        S_BLK = score_items(model, [items[k] for k in group], cells, max_tokens).S_BLK
        yield list(zip(group, S_BLK[:, 0].double().tolist(), strict=True))


def _shared(options: Sequence[tuple[Ids, Ids]]) -> list[tuple[int, Sequence[tuple[Ids, Ids]]]]:
    """(first option, options) of each part that is scored together: all, or each alone if their prompts differ."""
    if all(prompt == options[0][0] for prompt, _ in options):
        return [(0, options)]
    return [(n, [option]) for n, option in enumerate(options)]


def _probe(item: Item) -> Item:
    """The square of two options, for finding out once whether the model packs."""
    return Item(item.id, item.prompts * 2, (item.responses[0], item.responses[-1]))


def _refuse_not_finite(questions: Sequence[Question], found: Sequence[Sequence[float]]) -> None:
    for question, values in zip(questions, found, strict=True):
        if not all(abs(value) < float("inf") for value in values):
            raise UserError(
                f"row {question.id!r}: a log-prob is not a finite number ({values}); the model's weights or its "
                "precision are broken"
            )
