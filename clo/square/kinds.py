"""What kind of model this is, for its scores: decided by its code and its configuration, never by numbers.

Scores on packed rows hand the segments to transformers' attention interface, take the decoder's hidden states and
multiply them with the head. A model may be scored so if its attention goes through that interface, if nothing but
attention mixes tokens, and if its logits are what its head gives, made from what its decoder gives.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from clo.data.batch import PaddedBatch
from clo.model.layers import base_model, text_config

MIXED = ("full_attention", "sliding_attention")
"""Kinds of layers whose tokens are mixed by attention alone, over all of them or a window."""


def unpackable(model: Any) -> str | None:
    """Why a model's rows cannot be packed, by its code; nothing where they can."""
    base = base_model(model)
    if not getattr(base, "_supports_attention_backend", False):
        return "it has an attention of its own"
    if base.base_model is base:
        return "its decoder cannot be told from its head"
    parameters = inspect.signature(base.base_model.forward).parameters.values()
    handed = any(p.kind is p.VAR_KEYWORD for p in parameters) and any(p.name == "position_ids" for p in parameters)
    if not handed:
        return "its layers take no positions or no arguments from outside"
    config = text_config(base)
    kinds = {kind for name in ("layer_types", "layers_block_type", "block_types") for kind in _listed(config, name)}
    others = sorted(kinds - {*MIXED, "attention"})
    if others or any(isinstance(module, torch.nn.Conv1d) for module in base.base_model.modules()):
        return f"some of its layers mix tokens otherwise than by attention ({', '.join(others) or 'convolutions'})"
    return None


def _listed(config: Any, name: str) -> list[str]:
    found = getattr(config, name, None)
    return list(found) if isinstance(found, list | tuple) else []


@torch.no_grad()
def head_is_last(model: Any, batch: PaddedBatch) -> bool:
    """Whether a model's logits are its head's output, and the head's input is its decoder's output, bit by bit.

    Seen by putting large values in the place of the head's output: a cap or a scale changes them, whatever the weights.

    Args:
        model: any causal language model.
        batch: some sequences on its device.
    """
    base = base_model(model)
    seen: dict[str, Tensor] = {}

    def decoded(_: Any, __: Any, out: Any) -> None:
        seen["hidden"] = out.last_hidden_state

    def replaced(_: Any, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        seen["input"] = args[0]
        seen["put"] = torch.linspace(-1e3, 1e3, out.shape[-1], device=out.device).to(out.dtype).expand_as(out)
        return seen["put"].clone()

    hooks = [
        base.base_model.register_forward_hook(decoded),
        base.get_output_embeddings().register_forward_hook(replaced),
    ]
    try:
        kept = torch.arange(-2, 0, device=batch.ids_NT.device)
        logits = model(
            input_ids=batch.ids_NT, attention_mask=batch.mask_NT, logits_to_keep=kept, use_cache=False
        ).logits
    finally:
        for hook in hooks:
            hook.remove()
    if "put" not in seen or seen["put"].shape != logits.shape:
        return False
    if "hidden" not in seen:  # what the model calls is a part of its decoder
        decoded(None, None, base.base_model(input_ids=batch.ids_NT, attention_mask=batch.mask_NT, use_cache=False))
    given = seen["hidden"][:, -seen["input"].shape[1] :].to(seen["input"].dtype)  # sharding casts it
    return torch.equal(logits.float(), seen["put"].float()) and torch.equal(given, seen["input"])
