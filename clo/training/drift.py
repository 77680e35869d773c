"""Signs in the held-out square that a stage harmed the source language, told in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SLACK = 1.02
"""Factor by which the source's NLL may grow before it is told."""


def drift(records: Sequence[Mapping[str, float]]) -> list[str]:
    """What the validations of one stage say about English at its end.

    Args:
        records: lines of metrics.jsonl with ``val/`` values, the start's first.

    Returns:
        A sentence for each sign, none where all is well.
    """
    if len(records) < 2:
        return []
    first, last = records[0], records[-1]
    told = []
    accuracy = last.get("val/accuracy_en")
    if accuracy is not None and accuracy < 0.5:
        told.append(
            f"English prompts prefer the target's answers at the end (held-out accuracy_en {accuracy:.2f}): the NLL of "
            "the target drags them along; train for more steps, lower method.lam, or take method=clo_en_nll"
        )
    before, after = first.get("val/nll_en"), last.get("val/nll_en")
    if before is not None and after is not None and after > SLACK * before:
        told.append(
            f"English answers lost probability (held-out nll_en {before:.2f} to {after:.2f} nats per token): fewer "
            "steps (method.steps), a lower method.lr, method=clo_en_nll or method.loss=dpop keep it"
        )
    return told
