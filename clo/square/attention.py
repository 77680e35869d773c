"""Exact attention over a packed row: every segment sees its prompt and itself, and nothing else.

The row of a prompt is ``[x | y_1 | … | y_L]`` without padding. The first segment is ``[x y_1]``, causal; each further
response is a segment whose queries also see the keys of ``x``. Linear layers never notice: they run on one row of all
tokens. The function is registered with transformers' attention interface, so no model code is copied or patched.

Two paths: one fused call on a GPU in half precision, and calls by segment on a CPU or in float32
(:mod:`clo.square.segments`).
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from clo.data.batch import on_device
from clo.model.layers import base_model
from clo.square.attention_plan import AttentionPlan, How, autocast_dtype
from clo.square.segments import SHORT, by_segment, padded

NAME = "clo_packed"


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
        value: [1, G, N, E]; in few models E is not D.
        attention_mask: unused, the plan says it all.
        others: ``plan``, the segments, handed through the model's keyword arguments; ``scaling``, factor of the logits
            (null is D ** -0.5); ``dropout``; ``sliding_window``, the tokens that a query sees, itself included. What
            else would change the result is refused.

    Returns:
        [1, N, H, E] and no weights.

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
    even = value.shape[3] == query.shape[3]  # the fused kernel has one width
    if query.device.type != "cpu" and half and even and not how.dropout:
        return _varlen(query, key, value, plan, how), None
    if key.shape[1] != query.shape[1]:
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    short = query.device.type == "cpu" and plan.cached("longest row", plan.longest_row) <= SHORT
    attend = padded if short else by_segment
    return attend(query, key, value, plan, how), None


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

    def lengths() -> tuple[Tensor, Tensor, int, int]:
        own = [s.stop - s.start for s in plan.segments]
        seen = [s.keys() for s in plan.segments]
        ends = [on_device(torch.tensor([0, *n]).cumsum(0).to(torch.int32), device) for n in (own, seen)]
        return ends[0], ends[1], max(own), max(seen)

    options: dict[str, Any] = {"scale": how.scale, "window_size": (-1 if how.window is None else how.window - 1, 0)}
    if k.shape[1] != q.shape[1]:
        if "enable_gqa" in _varlen_takes():
            options["enable_gqa"] = True
        else:
            repeats = q.shape[1] // k.shape[1]
            k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
    cu_q, cu_k, max_q, max_k = plan.cached("varlen", lengths)
    q_NHD, k_NGD, v_NGD = (t.squeeze(0).transpose(0, 1) for t in (q, k, v))
    if plan.shares():
        places = plan.cached("places", lambda: _Places.of(plan, device))
        k_NGD, v_NGD = (_Seen.apply(t.flatten(1), places).unflatten(1, t.shape[1:]) for t in (k_NGD, v_NGD))
    out = varlen_attn(q_NHD.contiguous(), k_NGD.contiguous(), v_NGD.contiguous(), cu_q, cu_k, max_q, max_k, **options)
    assert isinstance(out, Tensor)
    return out.unsqueeze(0)


@dataclass(frozen=True)
class _Places:
    """Where the keys of all segments, one after the other, come from: K keys of a row of N tokens, M of them shared."""

    rows_K: Tensor
    """int64, the token of the row."""
    shared_UM: Tensor
    """int64, the places of each shared token among the keys, one per segment that sees it; K where there are fewer."""
    sums_N: Tensor
    """int64, each token's only place among the keys, or K + 1 + its number among the shared ones."""

    @staticmethod
    def of(plan: AttentionPlan, device: torch.device) -> _Places:
        """Computed on the CPU, held on the device."""
        ranges = [torch.arange(*ends) for s in plan.segments for ends in (s.prefix, (s.start, s.stop))]
        rows_K = torch.cat(ranges)
        K, uses_N = len(rows_K), rows_K.bincount()
        order = rows_K.argsort(stable=True)  # places by token, then as they come
        first_N = uses_N.cumsum(0) - uses_N
        shared_M = (uses_N > 1).nonzero()[:, 0]
        columns = [
            torch.where(uses_N[shared_M] > u, order[(first_N[shared_M] + u).clamp(max=K - 1)], K)
            for u in range(int(uses_N.max()))
        ]
        sums_N = order[first_N]
        sums_N[shared_M] = K + 1 + torch.arange(len(shared_M))
        return _Places(*(on_device(t, device) for t in (rows_K, torch.stack(columns), sums_N)))


class _Seen(torch.autograd.Function):
    """Keys or values of all segments; going back gathers too, without sorting, atomics or an addition per segment."""

    @staticmethod
    def forward(ctx: Any, x_NC: Tensor, places: _Places) -> Tensor:
        ctx.places = places
        return x_NC.index_select(0, places.rows_K)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        places: _Places = ctx.places
        nothing_1C = gradients[0].new_zeros(1, gradients[0].shape[1])
        to_keys_C = torch.cat([gradients[0], nothing_1C])
        first_M, *others = places.shared_UM.unbind(0)
        total_MC = to_keys_C.index_select(0, first_M)
        for place_M in others:
            total_MC = total_MC + to_keys_C.index_select(0, place_M)
        return torch.cat([to_keys_C, total_MC]).index_select(0, places.sums_N), None


@cache
def _varlen_takes() -> frozenset[str]:
    """Names of the arguments of torch's fused attention; grouped heads came later than the rest."""
    from torch.nn.attention.varlen import varlen_attn

    return frozenset(inspect.signature(varlen_attn).parameters)


@cache
def _register() -> None:
    from transformers import AttentionInterface

    # A compiled layer calls it as it is: its lists of segments are not for tracing.
    AttentionInterface.register(NAME, torch.compiler.disable(packed_attention))


_own: weakref.WeakKeyDictionary[torch.nn.Module, str] = weakref.WeakKeyDictionary()
"""Name of the attention that a model has outside of :func:`packed`."""


@contextmanager
def packed(model: Any) -> Iterator[None]:
    """Let the model's attention layers use :func:`packed_attention`; transformers makes no mask for its name.

    A stage enters it once for all of its passes, backward ones included; inside of itself it does nothing.
    """
    base = base_model(model)
    if base.config._attn_implementation == NAME:
        yield
        return
    _register()
    _own[base] = base.config._attn_implementation
    with _attention(base, NAME):
        yield


@contextmanager
def unpacked(model: Any) -> Iterator[None]:
    """Give the model its own attention back inside of :func:`packed`: to generate, or to score padded rows."""
    base = base_model(model)
    if base.config._attn_implementation != NAME:
        yield
        return
    with _attention(base, _own[base]):
        yield


@contextmanager
def _attention(base: Any, name: str) -> Iterator[None]:
    kept = base.config._attn_implementation
    base.config._attn_implementation = name
    try:
        yield
    finally:
        base.config._attn_implementation = kept
