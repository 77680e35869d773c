"""A look at a few answers while a model trains: the language it answers in slips before any loss shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from clo.config import EvaluationConfig, LangConfig
from clo.data.prompt import Renderer
from clo.data.rows import Row
from clo.evaluation.exact import Side
from clo.evaluation.fidelity import LanguageIdentifier
from clo.evaluation.generate import generate
from clo.evaluation.subject import Subject

Look = Callable[[Any, float], tuple[dict[str, float], list[dict[str, Any]]]]
"""(model, share of the token budgets that fits) -> (metrics ``right_language_target`` and ``…_en``, answers)."""


def watch(renderer: Renderer, rows: Sequence[Row], lang: LangConfig, evaluation: EvaluationConfig) -> Look:
    """What asks the same prompts every time, in both languages.

    Args:
        renderer: of the model that trains.
        rows: held-out rows; the prompts of the first ``evaluation.watch`` are asked.
        lang: the source and the target language.
        evaluation: longest answer and token budget of a generation batch.

    Returns:
        A function of the model. A rate is the share in the language of the prompt among the answers that can be
        decided, and absent where there is none.
    """
    identifier = LanguageIdentifier.of(lang)
    sides: tuple[tuple[Side, str], ...] = (("target", lang.code), ("en", lang.source))
    asked = [(side, row, row.prompts[code]) for side, code in sides for row in rows[: evaluation.watch]]
    prompts = [renderer.prompt_ids(prompt) for _, _, prompt in asked]

    def look(model: Any, share: float = 1.0) -> tuple[dict[str, float], list[dict[str, Any]]]:
        subject = Subject(model, renderer)
        subject = replace(subject, max_tokens=int(share * subject.max_tokens))
        said = generate(subject, prompts, evaluation.max_new_tokens, int(share * evaluation.max_tokens))
        answers = [answer.text for answer in said]
        verdicts = identifier.verdicts(answers)
        metrics = {}
        for side, _ in sides:
            decided = [v for (s, _, _), v in zip(asked, verdicts, strict=True) if s == side and v != "undecided"]
            if decided:
                metrics[f"right_language_{side}"] = decided.count(side) / len(decided)
        told = zip(asked, answers, verdicts, strict=True)
        return metrics, [
            {"id": row.id, "side": side, "prompt": prompt, "answer": answer, "verdict": verdict}
            for (side, row, prompt), answer, verdict in told
        ]

    return look
