"""Packed attention on a CPU or in float32: a call per segment on views of the row, or one call for short rows."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from clo.data.batch import Segment
from clo.square.attention_plan import AttentionPlan, How

SHORT = 128
"""On a CPU, rows of at most this many tokens are padded into one call: there a call costs more than its padding."""
LONG = 512
"""On a CPU in bfloat16, stock's fused kernel is slower than plain products up to about this many keys."""
ALIGN = 16
"""Padded rows are a multiple of this long: then an item's scores are bit-equal in any company, as is its reference."""


def by_segment(q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, how: How) -> Tensor:
    """One call per segment on views of the row: no padding, no work that the mask would throw away.

    Args:
        q: [1, H, N, D].
        k: [1, H, N, D].
        v: [1, H, N, E].
        plan: the segments of the N tokens.
        how: scale, dropout and window.

    Returns:
        [1, N, H, E].
    """
    outs = []
    parts = zip(plan.segments, plan.own(q, 2), plan.seen(k, 2), plan.seen(v, 2), strict=True)
    for number, (s, queries, key_parts, value_parts) in enumerate(parts):
        keys, values = (p[0] if len(p) == 1 else torch.cat(p, 2) for p in (key_parts, value_parts))
        plain = keys.shape[2] == s.stop - s.start and how.window is None
        mask = None if plain else plan.cached((number, how.window, q.dtype), partial(_mask, s, how.window, q))
        outs.append(_attend(queries, keys, values, mask, how))
    return torch.cat(outs, 2).transpose(1, 2)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, how: How) -> Tensor:
    """Attend under an additive mask, or causally where there is none."""
    if q.device.type != "cpu" or q.dtype != torch.bfloat16 or how.dropout or k.shape[2] > LONG:
        return scaled_dot_product_attention(q, k, v, mask, how.dropout, is_causal=mask is None, scale=how.scale)
    factor = q.shape[-1] ** -0.5 if how.scale is None else how.scale
    out: Tensor = _HalfOnCpu.apply(q, k, v, mask, factor)
    return out


class _HalfOnCpu(torch.autograd.Function):
    """Attention in bfloat16 on a CPU: float32 logits, every other product in bfloat16 (1.8x stock's fused kernel)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, factor: float) -> Tensor:
        logits = (q.float() * factor) @ k.float().mT
        if mask is None:
            logits.masked_fill_(torch.ones(logits.shape[-2:], dtype=torch.bool).triu_(1), float("-inf"))
        else:
            logits += mask
        weights = logits.softmax(-1).to(v.dtype)
        ctx.save_for_backward(q, k, v, weights)
        ctx.factor = factor
        return weights @ v

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights = ctx.saved_tensors
        to_weights = gradients[0] @ v.mT
        mean = (to_weights * weights).sum(-1, keepdim=True, dtype=torch.float32)
        to_logits = to_weights.sub_(mean).mul_(weights)
        return to_logits @ k * ctx.factor, to_logits.mT @ q * ctx.factor, weights.mT @ gradients[0], None, None


def _mask(segment: Segment, window: int | None, like: Tensor) -> Tensor:
    """Additive mask [queries, keys] of one segment: causal from its end, within the window."""
    queries, keys = segment.stop - segment.start, segment.keys()
    distance = torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)[None]
    hidden = distance < 0 if window is None else (distance < 0) | (distance >= window)
    return torch.zeros(queries, keys).masked_fill(hidden, float("-inf")).to(like)


def padded(q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, how: How) -> Tensor:
    """One call for all prompts, each row padded to the longest: attention only, the linear layers stay unpadded."""
    index_ST, place_N, mask_S1TT = plan.cached(("padded", how.window, q.dtype), lambda: _padding(plan, how.window, q))
    S, T = index_ST.shape

    def spread(x: Tensor) -> Tensor:
        return x[0].transpose(0, 1).index_select(0, index_ST.flatten()).unflatten(0, (S, T)).transpose(1, 2)

    out = _attend(spread(q), spread(k), spread(v), mask_S1TT, how)
    return out.transpose(1, 2).flatten(0, 1).index_select(0, place_N)[None]


def _padding(plan: AttentionPlan, window: int | None, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Token of every padded place, padded place of every token, and the additive mask of every row."""
    rows = plan.rows()
    S, T = len(rows), -(-plan.longest_row() // ALIGN) * ALIGN
    index, places = torch.zeros(S, T, dtype=torch.int64), []
    hidden = torch.ones(S, T, T, dtype=torch.bool)
    for n, row in enumerate(rows):
        first, length = row[0].start, row[-1].stop - row[0].start
        index[n, :length] = torch.arange(first, first + length)
        places.append(torch.arange(length) + n * T)
        for s in row:
            own, prefix = slice(s.start - first, s.stop - first), slice(s.prefix[0] - first, s.prefix[1] - first)
            blocked = _mask(s, window, torch.empty(0)).isinf()
            before = s.prefix[1] - s.prefix[0]
            hidden[n, own, prefix], hidden[n, own, own] = blocked[:, :before], blocked[:, before:]
        hidden[n, length:, 0] = False  # padding sees something, so that its softmax is a number
    mask = torch.zeros(S, 1, T, T).masked_fill(hidden[:, None], float("-inf"))
    return index.to(like.device), torch.cat(places).to(like.device), mask.to(like)
