"""The test of a model with several targets: each as if it were alone, English asked once, and a confusion table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from clo.config import EvaluationConfig, LangConfig
from clo.data.rows import Row
from clo.evaluation.answer_log import Answer, AnswerLog
from clo.evaluation.evaluate import by_group, reference_nll
from clo.evaluation.exact import Sample, score_answers
from clo.evaluation.fidelity import LanguageIdentifier
from clo.evaluation.generate import Progress, generate
from clo.evaluation.subject import Subject

Answered = Sequence[tuple[Answer, float]]
"""An answer to each row, and the NLL per token of the row's own response."""


def evaluate_targets(
    subject: Subject,
    rows: Sequence[Row],
    lang: LangConfig,
    evaluation: EvaluationConfig,
    progress: Progress | None = None,
    logs: Callable[[str], AnswerLog] | None = None,
) -> tuple[dict[str, Any], dict[str, list[Sample]]]:
    """Ask every row's question in every language that it has, and score the answers.

    Args:
        subject: as for `generate`.
        rows: the test rows, each with the source and a target at least.
        lang: the languages.
        evaluation: longest answer and token budget of a generation batch.
        progress: called with (answers so far, answers in all).
        logs: where the answers in a language are kept while they are made.

    Returns:
        ``{"targets": {code: what a run of that target alone has}, "confusion": see `confusion`}``, and the samples by
        target. Those of the English prompts are the same answers for every target whose rows they belong to.
    """
    asked = {code: [row for row in rows if code in row.prompts] for code in lang.codes()}
    total, before = sum(map(len, asked.values())), 0
    found: dict[str, Answered] = {}
    for code, own in asked.items():
        report = _shifted(progress, before, total) if progress else None
        prompts = [subject.renderer.prompt_ids(row.prompts[code]) for row in own]
        log = logs(code) if logs else None
        answers = generate(subject, prompts, evaluation.max_new_tokens, evaluation.max_tokens, report, log)
        found[code] = list(zip(answers, reference_nll(subject, own, code), strict=True))
        before += len(own)
    english = {row.id: one for row, one in zip(asked[lang.source], found[lang.source], strict=True)}
    scores: dict[str, Any] = {}
    samples: dict[str, list[Sample]] = {}
    for one in lang.targets():
        pairs = [row.only((lang.source, one.code)) for row in asked[one.code]]
        target = _scored(pairs, one, "target", found[one.code])
        # Rows of a mixture may exist in one language each: then English is that of all tasks.
        both = [row for row in pairs if row.id in english] or [row.only([lang.source]) for row in asked[lang.source]]
        source = _scored(both, one, "en", [english[row.id] for row in both])
        scores[one.code] = {"target": by_group(target), "en": by_group(source)}
        samples[one.code] = [*target, *source]
    said = {code: [answer.text for answer, _ in answered] for code, answered in found.items()}
    return {"targets": scores, "confusion": confusion(lang, said)}, samples


def confusion(lang: LangConfig, answers: Mapping[str, Sequence[str]]) -> dict[str, dict[str, int]]:
    """Language of the prompt -> language of the answer -> answers; the latter may be ``other`` or ``undecided``."""
    identifier, columns = LanguageIdentifier.of_all(lang), (*lang.codes(), "other", "undecided")
    table = {}
    for code, texts in answers.items():
        told = identifier.codes(texts)
        table[code] = {column: told.count(column) for column in columns}
    return table


def _scored(rows: Sequence[Row], lang: LangConfig, side: Any, answered: Answered) -> list[Sample]:
    """The samples of one side of one target."""
    language = lang.code if side == "target" else lang.source
    texts, nlls = [answer.text for answer, _ in answered], [nll for _, nll in answered]
    scored = score_answers(rows, language, texts, nlls, LanguageIdentifier.of(lang), side)
    return [replace(sample, looped=answer.looped) for sample, (answer, _) in zip(scored, answered, strict=True)]


def _shifted(progress: Progress, offset: int, total: int) -> Progress:
    return lambda done, _: progress(offset + done, total)
