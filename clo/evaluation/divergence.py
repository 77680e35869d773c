"""How far a trained model has moved from its start model: the divergence of their next-token distributions.

Measured along given responses, not along generated ones, so that every method is measured on the same. It is that of
:mod:`clo.square.anchor`: the start model's most likely tokens one by one, all others as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from clo.data.items import Item, build_items
from clo.data.rows import Row
from clo.evaluation.subject import Subject
from clo.square.anchor import SOURCE, Likely, divergence, likely_of_all, likely_tokens
from clo.square.scores import batch_of, groups_of, score, without_dropout

KEPT = 64
"""Tokens of the start model's distribution that are kept one by one."""


def likely_along(subject: Subject, rows: Sequence[Row], language: str) -> list[Likely]:
    """What the start model holds most likely along every row's own response.

    Args:
        subject: the start model.
        rows: test rows.
        language: of prompt and response.
    """
    return likely_tokens(subject.model, _items(subject, rows, language), KEPT, subject.max_tokens, subject.ranks)


def divergences(subject: Subject, rows: Sequence[Row], language: str, start: Sequence[Likely]) -> list[float]:
    """KL(start || trained) along every row's response, nats per token, never below 0.

    Args:
        subject: the trained model.
        rows: the rows of ``start``.
        language: of prompt and response.
        start: what `likely_along` gave for them.
    """
    model, items = subject.model, _items(subject, rows, language)
    found: dict[int, float] = {}
    with torch.no_grad(), without_dropout(model):
        for group in subject.ranks.of(groups_of(model, items, SOURCE, subject.max_tokens)):
            batch = batch_of(model, [items[k] for k in group], SOURCE)
            likely = likely_of_all([start[k] for k in group], next(model.parameters()).device)
            each_T = score(model, batch, partial(divergence, likely)).source
            lengths = [len(items[k].response(0)) for k in group]
            found |= {k: max(float(part.mean()), 0.0) for k, part in zip(group, each_T.split(lengths), strict=True)}
    found = subject.ranks.together(found)
    return [found[k] for k in range(len(rows))]


def _items(subject: Subject, rows: Sequence[Row], language: str) -> Sequence[Item]:
    return build_items(rows, [language], subject.renderer, max_length=1 << 30)[0]
