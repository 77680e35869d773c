"""The test of a model: answers to both sides' prompts, scored and grouped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from clo.data.rows import Row
from clo.errors import UserError
from clo.evaluation.exact import Sample, Side, score_answers, summarise
from clo.evaluation.fidelity import LanguageIdentifier
from clo.evaluation.generate import Progress, generate


def evaluate(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    languages: tuple[str, str],
    encode_prompt: Callable[[str], list[int]],
    end_id: int,
    nll: Callable[[list[Row], str], list[float]],
    max_new_tokens: int,
    max_tokens: int,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], list[Sample]]:
    """Ask every row's question in both languages, and score the answers.

    Args:
        model: as for `generate`.
        tokenizer: as for `generate`.
        rows: the test rows.
        languages: codes of the source and the target language.
        encode_prompt: prompt text -> token ids of the rendered prompt, up to where the answer begins.
        end_id: the end-of-turn token.
        nll: (rows, language) -> NLL per token of each row's response in that language to its own prompt.
        max_new_tokens: longest answer, in tokens.
        max_tokens: token budget of a generation batch.
        progress: called with (answers so far, answers in all).

    Returns:
        ``{"target": {"all": scores, group: scores, …}, "en": {…}}`` with the groups that occur in the rows,
        and the samples: first all of side ``target``, then all of side ``en``.

    Raises:
        UserError: there are no rows, a row lacks a language, or a language is unknown to the identifier.
    """
    source, target = languages
    identifier = LanguageIdentifier(target, source)
    _check(rows, languages)
    scores: dict[str, Any] = {}
    samples: list[Sample] = []
    sides: tuple[tuple[Side, str], ...] = (("target", target), ("en", source))
    for side, language in sides:
        report = _shifted(progress, len(samples), 2 * len(rows)) if progress else None
        prompts = [encode_prompt(row.prompts[language]) for row in rows]
        answers = generate(model, tokenizer, prompts, end_id, max_new_tokens, max_tokens, report)
        nlls = nll(list(rows), language)
        scored = score_answers(rows, language, answers, nlls, identifier, side)
        scores[side] = by_group(scored)
        samples += scored
    return scores, samples


def by_group(samples: Sequence[Sample]) -> dict[str, Any]:
    """Scores of ``all`` samples of one side and of each named group among them."""
    groups = sorted({sample.group for sample in samples if sample.group})
    return {
        "all": summarise(samples),
        **{group: summarise([sample for sample in samples if sample.group == group]) for group in groups},
    }


def _check(rows: Sequence[Row], languages: tuple[str, str]) -> None:
    if not rows:
        raise UserError("there are no test rows: set a test size above 0, or turn the evaluation off")
    for row in rows:
        for language in languages:
            if not (row.prompts.get(language) and row.responses.get(language)):
                raise UserError(f"test row '{row.id}' has no prompt or no response in '{language}'")


def _shifted(progress: Progress, offset: int, total: int) -> Progress:
    return lambda done, _: progress(offset + done, total)
