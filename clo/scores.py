"""Scores of the square: S[b, i, j] = log-prob of response j under prompt i.

The plain exact way: every wanted cell is one left-padded sequence, logits are taken at response positions only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clo.data.batch import Batch


@dataclass(frozen=True)
class Scores:
    """Summed log-probs and token counts per cell; cells that were not asked for hold 0."""

    S_BLL: Tensor
    """float32, nats, summed over the response's tokens."""
    count_BLL: Tensor
    """float32, tokens of the response."""


def score(model: Any, batch: Batch) -> Scores:
    """Score the batch's cells with a causal language model.

    Args:
        model: a transformers causal language model (or PEFT around one).
        batch: sequences on the model's device.

    Returns:
        ``Scores`` of shape [B, L, L]; gradients flow into ``S_BLL`` where the model's parameters want them.
    """
    keep = batch.longest_response + 1  # the position before the first response token predicts it
    positions_NT = (batch.mask_NT.cumsum(1) - 1).clamp(min=0)
    logits_NKV = model(
        input_ids=batch.ids_NT,
        attention_mask=batch.mask_NT,
        position_ids=positions_NT,
        logits_to_keep=keep,
        use_cache=False,
    ).logits
    logits_NKV = logits_NKV[:, -keep:-1]
    logits_NKV = logits_NKV.to(torch.promote_types(logits_NKV.dtype, torch.float32))
    target_NK = batch.ids_NT[:, -keep + 1 :]
    wanted_NK = batch.response_NT[:, -keep + 1 :]
    token_NK = logits_NKV.gather(2, target_NK[..., None])[..., 0] - logits_NKV.logsumexp(2)
    sums_N = (token_NK * wanted_NK).sum(1)
    shape = (batch.size, batch.languages, batch.languages)
    S_BLL = sums_N.new_zeros(shape).index_put(tuple(batch.cell_N3.T), sums_N)
    count_BLL = sums_N.new_zeros(shape).index_put(tuple(batch.cell_N3.T), wanted_NK.sum(1).to(sums_N.dtype))
    return Scores(S_BLL, count_BLL)


@contextmanager
def without_dropout(model: Any) -> Iterator[None]:
    """Switch dropout off: references and measurements are those of the whole model, also between training steps."""
    active = [module for module in model.modules() if module.training]
    try:
        for module in active:
            module.training = False
        yield
    finally:
        for module in active:
            module.training = True


@torch.no_grad()
def score_items(model: Any, items: list[Any], cells: list[tuple[int, int]], max_tokens: int, device: Any) -> Scores:
    """Score items without gradients or dropout, in micro-batches, results on the CPU in the items' order."""
    from clo.data.batch import collate, micro_batches

    groups = list(micro_batches(items, cells, max_tokens))
    with without_dropout(model):
        parts = [score(model, collate([items[k] for k in group], cells).to(device)) for group in groups]
    order = torch.tensor([k for group in groups for k in group]).argsort()
    return Scores(
        torch.cat([p.S_BLL for p in parts]).cpu()[order], torch.cat([p.count_BLL for p in parts]).cpu()[order]
    )
