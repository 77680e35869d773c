"""A look at a few answers while a model trains: the language it answers in slips before any loss shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from clo.data.rows import Row
from clo.evaluation.exact import Side
from clo.evaluation.fidelity import LanguageIdentifier
from clo.evaluation.generate import generate

Look = Callable[[Any], tuple[dict[str, float], list[dict[str, Any]]]]
"""model -> (metrics ``right_language_target`` and ``right_language_en``, answers)."""


def watch(
    tokenizer: Any,
    rows: Sequence[Row],
    languages: tuple[str, str],
    encode_prompt: Callable[[str], list[int]],
    end_id: int,
    max_new_tokens: int,
    max_tokens: int,
) -> Look:
    """What asks the same prompts every time, in both languages.

    Args:
        tokenizer: as for `generate`.
        rows: held-out rows whose prompts are asked.
        languages: codes of the source and the target language.
        encode_prompt: prompt text -> token ids up to where the answer begins.
        end_id: the end-of-turn token.
        max_new_tokens: longest answer, in tokens.
        max_tokens: token budget of a generation batch.

    Returns:
        A function of the model. A rate is the share in the language of the prompt among the answers that can be
        decided, and absent where there is none.
    """
    source, target = languages
    identifier = LanguageIdentifier(target, source)
    sides: tuple[tuple[Side, str], ...] = (("target", target), ("en", source))
    asked = [(side, row, row.prompts[language]) for side, language in sides for row in rows]
    prompts = [encode_prompt(prompt) for _, _, prompt in asked]

    def look(model: Any) -> tuple[dict[str, float], list[dict[str, Any]]]:
        answers = generate(model, tokenizer, prompts, end_id, max_new_tokens, max_tokens)
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
