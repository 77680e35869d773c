"""How fast a step was: response tokens per second, share of padding, and the share of the hardware's peak (MFU)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch

from clo.data.batch import Cell, packed_tokens, padded_tokens, response_tokens
from clo.data.items import Item
from clo.model.layers import LowerLayers, base_model, text_config, text_decoder
from clo.square.scores import groups_of, packs

DENSE_BF16_TFLOPS = {
    "B200": 2250,
    "H200": 989,
    "H100": 989,
    "GH200": 989,
    "A100": 312,
    "L40S": 362,
    "L4": 121,
    "A10": 125,
}
"""Peak of a GPU's bfloat16 units without sparsity, from the vendors' data sheets; the first name that fits counts."""


def forward_flops(model: Any, items: Sequence[Item], cells: Sequence[Cell]) -> float:
    """Floating-point operations of scoring the items once, without gradients; attention scores are left out (1 %)."""
    base = base_model(model)
    matrices = sum(size for _, size, _ in _matrices(model))
    responses = response_tokens(items, cells)
    head = base.get_output_embeddings().weight.numel()
    return 2.0 * matrices * sum(packed_tokens(item, cells) for item in items) + 2.0 * responses * head


def step_flops(model: Any, items: Sequence[Item], cells: Sequence[Cell]) -> float:
    """Floating-point operations of one training step on packed rows, after the floor of an exact step.

    Every token passes every matrix once; it passes it back where something below trains, and once more where the
    matrix itself trains, the head included; of tokens only those of responses do. Attention scores count by causal
    pairs.
    """
    matrices = _matrices(model)
    first = LowerLayers(model).count
    above = sum(size for name, size, _ in matrices if _layer(name) >= first)
    trained = sum(size for _, size, trains in matrices if trains)
    tokens = sum(packed_tokens(item, cells) for item in items)
    head = base_model(model).get_output_embeddings().weight
    responses = response_tokens(items, cells)
    body = 2.0 * tokens * (sum(size for _, size, _ in matrices) + above + trained)
    config = text_config(model)
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    layers = config.num_hidden_layers
    pairs = 4.0 * width * sum(_pairs(item, cells) for item in items)
    own = (6.0 if head.requires_grad else 4.0) * responses * head.numel()
    return body + pairs * (layers + 2 * (layers - first)) + own


def head_again_flops(model: Any, items: Sequence[Item], cells: Sequence[Cell]) -> float:
    """What a step does beyond that floor where the head trains: its logits are made again on the way back."""
    head = base_model(model).get_output_embeddings().weight
    return 2.0 * response_tokens(items, cells) * head.numel() if head.requires_grad else 0.0


def _matrices(model: Any) -> list[tuple[str, float, bool]]:
    """(name, weights that a token passes, whether it trains) of the text decoder's matrices, embeddings aside.

    Of a stack of experts a token passes those that its router chooses.
    """
    config = text_config(model)
    chosen = getattr(config, "num_experts_per_tok", None)
    found = []
    for name, p in text_decoder(model).named_parameters():
        if p.dim() == 2 and "embed" not in name:
            found.append((name, float(p.numel()), p.requires_grad))
        elif p.dim() == 3:
            share = 1.0 if chosen is None else min(1.0, chosen / p.shape[0])
            found.append((name, share * p.numel(), p.requires_grad))
    return found


def _layer(name: str) -> int:
    """Number of the layer in a weight's name; matrices outside of layers count as the highest."""
    return next((int(part) for part in name.split(".") if part.isdigit()), 1 << 30)


def _pairs(item: Item, cells: Sequence[Cell]) -> float:
    """(query, key) pairs of one item that a causal mask leaves."""
    total = 0.0
    there = item.present(cells)
    for i in {i for i, _ in there}:
        prompt = len(item.prompt(i))
        total += prompt * (prompt + 1) / 2
        for own in (len(item.response(j)) - 1 for k, j in there if k == i):
            total += own * prompt + own * (own + 1) / 2
    return total


@lru_cache(maxsize=4)
def peak_flops(device: torch.device, precision: str) -> float | None:
    """Peak FLOP/s of matrix products: a GPU's data sheet, a CPU's own measure; none for a GPU that is not listed."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        found = next((peak for key, peak in DENSE_BF16_TFLOPS.items() if key in name), None)
        return None if found is None or precision == "32-true" else found * 1e12
    size, best = 768, 0.0
    a = torch.ones(size, size, dtype=torch.float32 if precision == "32-true" else torch.bfloat16)
    for _ in range(6):
        began = time.process_time()  # of all threads together; other work on the machine does not count
        a @ a
        seconds = (time.process_time() - began) / torch.get_num_threads()
        best = max(best, 2 * size**3 / max(seconds, 1e-9))
    return best


def step_rates(
    model: Any,
    items: Sequence[Item],
    cells: Sequence[Cell],
    max_tokens: int,
    seconds: float,
    peak: float | None,
) -> dict[str, float]:
    """``response_tokens_per_second``, ``wasted_tokens`` (share of padding) and ``mfu`` of one step of all ranks.

    Args:
        model: the policy.
        items: of the step.
        cells: those that are scored.
        max_tokens: tokens per forward pass.
        seconds: the step took.
        peak: FLOP/s of all devices together; none where it is not known, and there is no ``mfu`` then.
    """
    responses = response_tokens(items, cells)
    rates = {"response_tokens_per_second": responses / seconds, "wasted_tokens": 0.0}
    if not packs(model, items[0]):
        groups = groups_of(model, items, cells, max_tokens)
        used = sum(padded_tokens([items[k] for k in group], cells) for group in groups)
        prompts = sum(len(item.prompt(i)) for item in items for i, _ in item.present(cells))
        held = prompts + response_tokens(items, cells)
        rates["wasted_tokens"] = 1 - held / used
    if peak is not None:
        rates["mfu"] = step_flops(model, items, cells) / seconds / peak
    return rates


def peak_memory_gb(device: torch.device) -> Callable[[], dict[str, float]]:
    """Begin to measure; what is returned gives ``peak_memory_gb``, the most that tensors took since, in GB of a GPU.

    On a CPU it gives nothing: there is no such count.
    """
    if device.type != "cuda":
        return dict
    torch.cuda.reset_peak_memory_stats(device)
    return lambda: {"peak_memory_gb": torch.cuda.max_memory_allocated(device) / 1e9}
