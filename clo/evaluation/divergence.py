"""How far a trained model has moved from its start model: the divergence of their next-token distributions.

Measured on given texts, not on generated ones, so that every method is measured on the same. Of the start model's
distribution the most likely tokens are kept one by one and all others as one: what is left out can only make the
divergence smaller (data processing), by little where the kept ones carry nearly all the probability.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clo.data.batch import micro_batches, pad
from clo.data.items import build_items
from clo.data.rows import Row
from clo.evaluation.subject import Subject
from clo.square.scores import last_positions, without_dropout

KEPT = 64
"""Tokens of the start model's distribution that are kept one by one."""
MOST_TOKENS = 2048
"""Tokens of a pass, padding included: logits are held whole for it."""


@dataclass(frozen=True)
class Likely:
    """A start model's distributions over the tokens of one response."""

    ids_TK: Tensor
    """int64, the most likely tokens, by position."""
    logp_TK: Tensor
    """float32, their log-probs, nats."""


def likely_tokens(subject: Subject, rows: Sequence[Row], language: str) -> list[Likely]:
    """The start model's distributions along every row's own response.

    Args:
        subject: the start model.
        rows: test rows.
        language: of prompt and response.
    """
    found: dict[int, Likely] = {}
    for place, logp_TV in _distributions(subject, rows, language):
        top = logp_TV.topk(min(KEPT, logp_TV.shape[1]), dim=1)
        found[place] = Likely(top.indices.cpu(), top.values.cpu())
    return [found[place] for place in range(len(rows))]


def divergences(subject: Subject, rows: Sequence[Row], language: str, start: Sequence[Likely]) -> list[float]:
    """KL(start || trained) along every row's response, nats per token, never below 0.

    Args:
        subject: the trained model.
        rows: the rows of ``start``.
        language: of prompt and response.
        start: what `likely_tokens` gave for them.
    """
    each = _distributions(subject, rows, language)
    found = {place: float(_divergence(start[place], logp_TV)) for place, logp_TV in each}
    return [found[place] for place in range(len(rows))]


def _divergence(start: Likely, logp_TV: Tensor) -> Tensor:
    """Mean over positions of the divergence between two distributions over the kept tokens and all the others."""
    p_TK, q_TK = start.logp_TK.double(), logp_TV.gather(1, start.ids_TK.to(logp_TV.device)).cpu().double()
    kept_T = (p_TK.exp() * (p_TK - q_TK)).sum(1)
    rest_p_T, rest_q_T = ((1 - logp.exp().sum(1)).clamp(min=1e-12) for logp in (p_TK, q_TK))
    return (kept_T + rest_p_T * (rest_p_T / rest_q_T).log()).clamp(min=0).mean()


def _distributions(subject: Subject, rows: Sequence[Row], language: str) -> Iterator[tuple[int, Tensor]]:
    """(Place of the row, log-probs float32 [T, V] along its response), longest first: never all of them at once."""
    model: Any = subject.model
    items, _ = build_items(rows, [language], subject.renderer, max_length=1 << 30)
    device = next(model.parameters()).device
    for group in micro_batches(items, [(0, 0)], min(MOST_TOKENS, subject.max_tokens), False):
        batch = pad([items[k] for k in group], [(0, 0)]).to(device)
        keep = batch.longest_response + 1
        with torch.no_grad(), without_dropout(model):
            logits_NKV = model(
                input_ids=batch.ids_NT,
                attention_mask=batch.mask_NT,
                position_ids=(batch.mask_NT.cumsum(1) - 1).clamp(min=0),
                logits_to_keep=last_positions(keep, device),
                use_cache=False,
            ).logits[:, -keep:-1]
        wanted_NK = batch.response_NT[:, -keep + 1 :].bool()
        for row, place in enumerate(batch.cell_N3[:, 0].tolist()):
            yield group[place], logits_NKV[row][wanted_NK[row]].float().log_softmax(1)
