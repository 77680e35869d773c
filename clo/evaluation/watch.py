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
    """What asks the same prompts every time, in all languages of the run.

    Args:
        renderer: of the model that trains.
        rows: held-out rows; the prompts of the first ``evaluation.watch`` are asked.
        lang: the languages; of several targets each has a rate of its own, beside that of all of them.
        evaluation: longest answer and token budget of a generation batch.

    Returns:
        A function of the model. A rate is the share in the language of the prompt among the answers that can be
        decided, and absent where there is none.
    """
    targets = lang.targets()
    identifiers = {one.code: LanguageIdentifier.of(one) for one in targets}
    identifiers[lang.source] = LanguageIdentifier.of(targets[0])
    sides: list[tuple[Side, str]] = [*(("target", one.code) for one in targets), ("en", lang.source)]
    asked = [
        (side, code, row, row.prompts[code])
        for side, code in sides
        for row in [row for row in rows if code in row.prompts][: evaluation.watch]
    ]
    prompts = [renderer.prompt_ids(prompt) for *_, prompt in asked]
    several = len(targets) > 1

    def look(model: Any, share: float = 1.0) -> tuple[dict[str, float], list[dict[str, Any]]]:
        subject = Subject(model, renderer)
        subject = replace(subject, max_tokens=int(share * subject.max_tokens))
        said = generate(subject, prompts, evaluation.max_new_tokens, int(share * evaluation.max_tokens))
        answers = [answer.text for answer in said]
        verdicts = [identifiers[code].verdicts([text])[0] for (_, code, *_), text in zip(asked, answers, strict=True)]
        rates: dict[str, list[bool]] = {}
        for (side, code, *_), verdict in zip(asked, verdicts, strict=True):
            for name in (side, code) if several and side == "target" else (side,):
                if verdict != "undecided":
                    rates.setdefault(f"right_language_{name}", []).append(verdict == side)
        told = zip(asked, answers, verdicts, strict=True)
        return {name: sum(right) / len(right) for name, right in rates.items()}, [
            {"id": row.id, "side": side, "prompt": prompt, "answer": answer, "verdict": verdict}
            | ({"lang": code} if several else {})
            for (side, code, row, prompt), answer, verdict in told
        ]

    return look
