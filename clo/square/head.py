"""Log-probs of chosen tokens from hidden states, without ever holding a [tokens, vocabulary] tensor.

With a frozen head, d logp / d hidden = W[token] - softmax(logits) @ W does not depend on the loss. The forward pass
computes it tile by tile with an online softmax and keeps only [tokens, hidden]; the backward pass is one scaling per
token. That is two passes over the head where recomputing schemes need three. A head that trains is recomputed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from clo.square.attention_plan import autocast_dtype

TILES = {"cpu": (1024, 1024), "cuda": (2048, 16384)}
"""(tokens, vocabulary) of a tile of logits, by device: about what a cache holds. A CPU's products of fewer tokens are
slower: in bfloat16 256 took 1.2 to 1.4 times as long for 600 to 4,000 tokens."""
WHOLE = {"cpu": 256, "cuda": 2048}
"""Tokens whose logits over the whole vocabulary are held at once, where the head trains."""


def token_log_probs(head: Any, hidden_RH: Tensor, targets_R: Tensor) -> Tensor:
    """Log-prob of each target token.

    Args:
        head: the output layer, a linear map from H to the vocabulary.
        hidden_RH: the hidden states that predict the targets.
        targets_R: int64 token ids.

    Returns:
        float32 (float64 for float64 weights) [R], nats.
    """
    if type(head) is not torch.nn.Linear:
        return _recomputed(head, hidden_RH, targets_R)
    trains = any(p.requires_grad for p in head.parameters())
    weight: Tensor = head.weight
    bias: Tensor | None = head.bias
    dtype = autocast_dtype(hidden_RH.device.type)
    if dtype is not None:
        hidden_RH, weight, bias = hidden_RH.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    if torch.is_grad_enabled() and (trains or hidden_RH.requires_grad):
        logp: Tensor = (_TrainedHead if trains else _FrozenHead).apply(hidden_RH, weight, bias, targets_R)
        return logp
    return _tiled(hidden_RH, weight, bias, targets_R, jacobian=False)[0]


class _FrozenHead(torch.autograd.Function):
    """Log-probs whose gradient was computed in the forward pass."""

    @staticmethod
    def forward(ctx: Any, hidden_RH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, targets_R: Tensor) -> Tensor:
        logp_R, jacobian_RH = _tiled(hidden_RH, weight_VH, bias_V, targets_R, jacobian=True)
        ctx.save_for_backward(jacobian_RH)
        return logp_R

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (jacobian_RH,) = ctx.saved_tensors
        scaled = jacobian_RH * gradients[0][:, None].to(jacobian_RH.dtype)
        return scaled, None, None, None


class _TrainedHead(torch.autograd.Function):
    """The same log-probs, with the logits made again in the backward pass, some tokens at a time."""

    @staticmethod
    def forward(ctx: Any, hidden_RH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, targets_R: Tensor) -> Tensor:
        ctx.save_for_backward(hidden_RH, weight_VH, bias_V, targets_R)
        return _tiled(hidden_RH, weight_VH, bias_V, targets_R, jacobian=False)[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        hidden_RH, weight_VH, bias_V, targets_R = ctx.saved_tensors
        rows = WHOLE.get(hidden_RH.device.type, WHOLE["cpu"])
        to_hidden, to_weight = torch.empty_like(hidden_RH), torch.zeros_like(weight_VH)
        to_bias = None if bias_V is None else torch.zeros_like(bias_V)
        for start in range(0, len(hidden_RH), rows):
            part = slice(start, start + rows)
            gradient_r1 = gradients[0][part, None]
            logits_rV = _product(hidden_RH[part], weight_VH.T)
            if bias_V is not None:
                logits_rV += bias_V.to(gradient_r1.dtype)
            change_rV = logits_rV.softmax(1).mul_(-gradient_r1).scatter_add_(1, targets_R[part, None], gradient_r1)
            if to_bias is not None:
                to_bias += change_rV.sum(0).to(to_bias.dtype)
            change_rV = change_rV.to(weight_VH.dtype)
            to_hidden[part] = change_rV @ weight_VH
            to_weight.addmm_(change_rV.T, hidden_RH[part])  # in place: a second gradient of the head is large
        return to_hidden, to_weight, to_bias, None


def _tiled(
    hidden_RH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, targets_R: Tensor, jacobian: bool
) -> tuple[Tensor, Tensor | None]:
    """Log-probs, and d logp / d hidden in the dtype of ``hidden_RH``."""
    rows, columns = TILES.get(hidden_RH.device.type, TILES["cpu"])
    wide = torch.promote_types(hidden_RH.dtype, torch.float32)
    logp_R = hidden_RH.new_empty(len(hidden_RH), dtype=wide)
    jacobian_RH = torch.empty_like(hidden_RH) if jacobian else None
    for start in range(0, len(hidden_RH), rows):
        part = slice(start, start + rows)
        mean = None if jacobian_RH is None else jacobian_RH[part]
        logp_R[part] = _rows(hidden_RH[part], weight_VH, bias_V, targets_R[part], columns, mean)
    return logp_R, jacobian_RH


def _rows(
    hidden_rH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, targets_r: Tensor, columns: int, out_rH: Tensor | None
) -> Tensor:
    """Log-probs of one block of tokens by an online softmax over tiles of the vocabulary; fills ``out_rH``."""
    wide = torch.promote_types(hidden_rH.dtype, torch.float32)
    top_r = hidden_rH.new_full((len(hidden_rH),), float("-inf"), dtype=wide)
    total_r, chosen_r = torch.zeros_like(top_r), torch.zeros_like(top_r)
    mean_rH = None if out_rH is None else hidden_rH.new_zeros(hidden_rH.shape, dtype=wide)
    for low in range(0, len(weight_VH), columns):
        tile_vH = weight_VH[low : low + columns]
        logits_rv = _product(hidden_rH, tile_vH.T)
        if bias_V is not None:
            logits_rv += bias_V[low : low + columns].to(wide)
        place_r = targets_r - low
        inside_r = (place_r >= 0) & (place_r < len(tile_vH))
        found_r = logits_rv.gather(1, place_r.clamp(0, len(tile_vH) - 1)[:, None])[:, 0]
        chosen_r = torch.where(inside_r, found_r, chosen_r)
        before_r, top_r = top_r, torch.maximum(top_r, logits_rv.amax(1))
        shrink_r = (before_r - top_r).exp()
        weights_rv = logits_rv.sub_(top_r[:, None]).exp_()
        total_r = total_r * shrink_r + weights_rv.sum(1)
        if mean_rH is not None:
            mean_rH = mean_rH.mul_(shrink_r[:, None]).add_(_product(weights_rv.to(tile_vH.dtype), tile_vH))
    if out_rH is not None and mean_rH is not None:
        out_rH.copy_(weight_VH[targets_r].to(wide) - mean_rH / total_r[:, None])
    return chosen_r - top_r - total_r.log()


def _product(a: Tensor, b: Tensor) -> Tensor:
    """A @ b in float32 (float64 of float64).

    A GPU adds the products of bfloat16 up in float32 anyway and hands that out: rounded to bfloat16, logits around 40
    would cost up to a tenth of a nat per token.
    """
    wide = torch.promote_types(a.dtype, torch.float32)
    if a.dtype != wide and a.is_cuda:
        return torch.mm(a, b, out_dtype=wide)
    return (a @ b).to(wide)


def _recomputed(head: Any, hidden_RH: Tensor, targets_R: Tensor) -> Tensor:
    """Log-probs in chunks of tokens whose logits are made again in the backward pass."""
    rows = WHOLE.get(hidden_RH.device.type, WHOLE["cpu"])

    def chunk(hidden_rH: Tensor, targets_r: Tensor) -> Tensor:
        logits_rV = head(hidden_rH)
        logits_rV = logits_rV.to(torch.promote_types(logits_rV.dtype, torch.float32))
        return logits_rV.gather(1, targets_r[:, None])[:, 0] - logits_rV.logsumexp(1)

    parts = zip(hidden_RH.split(rows), targets_R.split(rows), strict=True)
    return torch.cat([checkpoint(chunk, hidden, targets, use_reentrant=False) for hidden, targets in parts])
