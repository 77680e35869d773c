"""Exact attention over a packed row: every segment sees its prompt and itself, and nothing else.

The row of a prompt is ``[x | y_1 | … | y_L]`` without padding. The first segment is ``[x y_1]``, causal; each further
response is a segment whose queries also see the keys of ``x``. Linear layers never notice: they run on one row of all
tokens. The function is registered with transformers' attention interface, so no model code is copied or patched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from clo.data.batch import Segment

NAME = "clo_packed"
SHORT = 128
"""On a CPU, rows of at most this many tokens are padded into one call: there a call costs more than its padding."""
LONG = 512
"""On a CPU in bfloat16, stock's fused kernel is slower than plain products up to about this many keys."""
ALIGN = 16
"""Padded rows are a multiple of this long: then an item's scores are bit-equal in any company, as is its reference."""


@dataclass
class AttentionPlan:
    """The segments of a packed row, and what the attention function derives from them once for all layers."""

    segments: Sequence[Segment]
    calls: int = 0
    """Attention layers that used the plan; 0 after a forward pass: the model has an attention of its own."""
    _cache: dict[Any, Any] = field(default_factory=dict)

    def longest(self) -> int:
        """Keys of the longest segment."""
        return max(s.keys() for s in self.segments)

    def rows(self) -> list[list[Segment]]:
        """The segments of each prompt."""
        rows: list[list[Segment]] = []
        for segment in self.segments:
            if segment.prefix[0] == segment.prefix[1]:
                rows.append([])
            rows[-1].append(segment)
        return rows

    def longest_row(self) -> int:
        """Tokens of the longest prompt with all its responses."""
        return max(row[-1].stop - row[0].start for row in self.rows())

    def cached(self, key: Any, make: Any) -> Any:
        """What ``make`` returned for this key."""
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]


@dataclass(frozen=True)
class How:
    """What a layer asks for beside queries, keys and values."""

    scale: float | None
    """Factor of the logits; none is D ** -0.5."""
    dropout: float
    window: int | None
    """Tokens that a query sees, itself included; none is all."""


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend within segments; the signature is that of transformers' attention interface.

    Args:
        module: the calling layer.
        query: [1, H, N, D], N tokens of the packed row.
        key: [1, G, N, D], G heads that H is a multiple of.
        value: [1, G, N, D].
        attention_mask: unused, the plan says it all.
        others: ``plan``, the segments, handed through the model's keyword arguments; ``scaling``, factor of the logits
            (null is D ** -0.5); ``dropout``; ``sliding_window``, the tokens that a query sees, itself included. What
            else would change the result is refused.

    Returns:
        [1, N, H, D] and no weights.

    Raises:
        NotImplementedError: the model attends in a way that segments cannot say; such models take the padded way.
    """
    _refuse(module, others)
    plan: AttentionPlan = others["plan"]
    plan.calls += 1
    window = others.get("sliding_window")
    window = window if window is not None and window < plan.longest() else None
    how = How(others.get("scaling"), others.get("dropout", 0.0), window)
    cast = autocast_dtype(query.device.type)
    if cast is not None:  # rotary embeddings may have widened queries and keys
        query, key, value = query.to(cast), key.to(cast), value.to(cast)
    half = query.dtype in (torch.bfloat16, torch.float16)
    if query.device.type != "cpu" and half and not how.dropout:
        return _varlen(query, key, value, plan, how), None
    if key.shape[1] != query.shape[1]:
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    short = query.device.type == "cpu" and plan.cached("longest row", plan.longest_row) <= SHORT
    attend = _padded if short else _by_segment
    return attend(query, key, value, plan, how), None


def autocast_dtype(device: str) -> torch.dtype | None:
    """The dtype that matrix products are to take on this kind of device, where autocast is on."""
    return torch.get_autocast_dtype(device) if device != "meta" and torch.is_autocast_enabled(device) else None


def _refuse(module: torch.nn.Module, others: dict[str, Any]) -> None:
    """Refuse what would change the scores: soft-capped logits, sinks, biases, windows that only a mask tells."""
    if "plan" not in others:
        raise NotImplementedError("the model does not hand the segments on to its attention")
    for name in ("softcap", "s_aux", "position_bias"):
        if others.get(name) is not None:
            raise NotImplementedError(f"packed attention has no {name}")
    config = getattr(module, "config", None)
    if others.get("sliding_window") is None and getattr(config, "sliding_window", None) is not None:
        types, place = getattr(config, "layer_types", None), getattr(module, "layer_idx", None)
        if types is None or place is None or types[place] != "full_attention":
            raise NotImplementedError("the window is not handed to the attention function")
    if set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}:
        raise NotImplementedError("some layers are no attention over all tokens or a window of them")


def _varlen(q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, how: How) -> Tensor:
    """One fused call of stock torch for all segments; its causal mask is aligned at the last query and key."""
    from torch.nn.attention.varlen import varlen_attn

    device = q.device

    def lengths() -> tuple[Tensor, Tensor, Tensor, int, int]:
        own = [s.stop - s.start for s in plan.segments]
        seen = [s.keys() for s in plan.segments]
        ends = [torch.tensor([0, *n]).cumsum(0).to(torch.int32).to(device) for n in (own, seen)]
        keys = torch.cat([torch.cat([torch.arange(*s.prefix), torch.arange(s.start, s.stop)]) for s in plan.segments])
        return ends[0], ends[1], keys.to(device), max(own), max(seen)

    cu_q, cu_k, keys, max_q, max_k = plan.cached("varlen", lengths)
    q_ND, k_ND, v_ND = (t[0].transpose(0, 1) for t in (q, k, v))
    out = varlen_attn(
        q_ND.contiguous(),
        k_ND[keys],
        v_ND[keys],
        cu_q,
        cu_k,
        max_q,
        max_k,
        scale=how.scale,
        window_size=(-1 if how.window is None else how.window - 1, 0),
        enable_gqa=q.shape[1] != k.shape[1],
    )
    assert isinstance(out, Tensor)
    return out[None]


def _by_segment(q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, how: How) -> Tensor:
    """One call per segment on views of the row: no padding, no work that the mask would throw away."""
    outs = []
    for number, s in enumerate(plan.segments):
        own = slice(s.start, s.stop)
        keys, values = k[:, :, own], v[:, :, own]
        if s.prefix[0] != s.prefix[1]:
            before = slice(*s.prefix)
            keys, values = torch.cat([k[:, :, before], keys], 2), torch.cat([v[:, :, before], values], 2)
        plain = keys.shape[2] == s.stop - s.start and how.window is None
        mask = None if plain else plan.cached((number, how.window, q.dtype), lambda s=s: _mask(s, how.window, q))
        outs.append(_attend(q[:, :, own], keys, values, mask, how))
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


def _padded(q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, how: How) -> Tensor:
    """One call for all prompts, each row padded to the longest: attention only, the linear layers stay unpadded."""
    index_ST, place_N, mask_S1TT = plan.cached(("padded", how.window, q.dtype), lambda: _padding(plan, how.window, q))
    S, T = index_ST.shape
    heads, width = q.shape[1], q.shape[3]

    def spread(x: Tensor) -> Tensor:
        return x[0].transpose(0, 1).index_select(0, index_ST.flatten()).view(S, T, heads, width).transpose(1, 2)

    out = _attend(spread(q), spread(k), spread(v), mask_S1TT, how)
    return out.transpose(1, 2).reshape(S * T, heads, width).index_select(0, place_N)[None]


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


@cache
def _register() -> None:
    from transformers import AttentionInterface

    # A compiled layer calls it as it is: its lists of segments are not for tracing.
    AttentionInterface.register(NAME, torch.compiler.disable(packed_attention))


@contextmanager
def packed(model: Any) -> Iterator[None]:
    """Let the model's attention layers use :func:`packed_attention`; transformers makes no mask for its name."""
    _register()
    with attention_of(model, NAME):
        yield


@contextmanager
def attention_of(model: Any, name: str) -> Iterator[None]:
    """Let the model use the attention of this name."""
    kept = model.config._attn_implementation
    model.config._attn_implementation = name
    try:
        yield
    finally:
        model.config._attn_implementation = kept
