"""The test of a model: answers to both sides' prompts, scored and grouped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from clo.config import EvaluationConfig, LangConfig
from clo.data.items import build_items
from clo.data.rows import Row
from clo.errors import UserError
from clo.evaluation.answer_log import AnswerLog
from clo.evaluation.exact import Sample, Side, score_answers, summarise
from clo.evaluation.fidelity import LanguageIdentifier
from clo.evaluation.generate import Progress, generate
from clo.evaluation.subject import Subject


def evaluate(
    subject: Subject,
    rows: Sequence[Row],
    lang: LangConfig,
    evaluation: EvaluationConfig,
    progress: Progress | None = None,
    logs: Callable[[Side], AnswerLog] | None = None,
) -> tuple[dict[str, Any], list[Sample]]:
    """Ask every row's question in both languages, and score the answers.

    Args:
        subject: as for `generate`.
        rows: the test rows.
        lang: the source and the target language.
        evaluation: longest answer and token budget of a generation batch.
        progress: called with (answers so far, answers in all).
        logs: where the answers of a side are kept while they are made.

    Returns:
        ``{"target": {"all": scores, group: scores, …}, "en": {…}}`` with the groups that occur in the rows,
        and the samples: first all of side ``target``, then all of side ``en``.

    Raises:
        UserError: there are no rows, a row lacks a language, or a language is unknown to the identifier.
    """
    identifier = LanguageIdentifier.of(lang)
    _check(rows, (lang.source, lang.code))
    scores: dict[str, Any] = {}
    samples: list[Sample] = []
    sides: tuple[tuple[Side, str], ...] = (("target", lang.code), ("en", lang.source))
    for side, language in sides:
        report = _shifted(progress, len(samples), 2 * len(rows)) if progress else None
        log = logs(side) if logs else None
        prompts = [subject.renderer.prompt_ids(row.prompts[language]) for row in rows]
        answers = generate(subject, prompts, evaluation.max_new_tokens, evaluation.max_tokens, report, log)
        nlls = reference_nll(subject, rows, language)
        scored = score_answers(rows, language, [answer.text for answer in answers], nlls, identifier, side)
        scored = [replace(sample, looped=answer.looped) for sample, answer in zip(scored, answers, strict=True)]
        scores[side] = by_group(scored)
        samples += scored
    return scores, samples


def reference_nll(subject: Subject, rows: Sequence[Row], lang: str) -> list[float]:
    """NLL per token of every row's own response in one language, nats.

    Raises:
        UserError: a row is longer than the model reads, or holds a token that it lacks.
    """
    from clo.model.window import check_readable
    from clo.square.scores import score_items

    items, _ = build_items(rows, [lang], subject.renderer, max_length=1 << 30)
    texts = ((*i.prompt(0), *i.response(0)[:-1]) for i in items)
    check_readable(subject.model, texts, lambda k: f"test row {items[k].id} ({lang})")
    scores = score_items(subject.model, items, [(0, 0)], subject.max_tokens, subject.ranks)
    return [float(nll) for nll in -(scores.S_BLK / scores.count_BLK)[:, 0, 0]]


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
