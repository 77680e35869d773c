"""What trains: attention projections, MLP matrices or everything, in a range of layers, in full or by adapters."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from clo.config import TuningConfig
from clo.config.choices import Trains
from clo.errors import UserError

_BLOCKS = {
    Trains.attention: re.compile(r"(^|\.)(self_attn|attn|attention|self_attention)(\.|$)"),
    Trains.mlp: re.compile(r"(^|\.)(mlp|feed_forward|ffn|block_sparse_moe)(\.|$)"),
}
_LAYER = re.compile(r"\.(\d+)\.")


@dataclass(frozen=True)
class Ledger:
    """What trains and what it costs, before activations."""

    total: int
    """Parameters of the model, adapters included."""
    trainable: dict[str, int]
    """Parameters that train, by kind of module."""
    weight_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    """AdamW's two moments."""
    checkpoint_bytes: int
    """A checkpoint on disk: what trains and its moments, nothing frozen."""

    def trains(self) -> int:
        """Number of parameters that train."""
        return sum(self.trainable.values())

    def lines(self) -> list[str]:
        """The ledger for a person."""
        share = 100 * self.trains() / self.total
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.trainable.items())
        sizes = {"weights": self.weight_bytes, "gradients": self.gradient_bytes, "optimizer": self.optimizer_bytes}
        memory = ", ".join(f"{k} {v / 2**20:,.1f} MiB" for k, v in sizes.items())
        return [
            f"trains {self.trains():,} of {self.total:,} parameters ({share:.1f} %): {kinds}",
            f"memory before activations: {memory}; a checkpoint: {self.checkpoint_bytes / 2**20:,.1f} MiB",
        ]


def apply_tuning(model: Any, tuning: TuningConfig, seed: int = 0) -> Any:
    """Freeze everything, then open what ``tuning`` names, in float32 (AdamW in bfloat16 moves almost nothing).

    Returns the model, wrapped by PEFT where adapters are asked for.

    Raises:
        UserError: the model has no such matrices or layers.
    """
    import torch

    for parameter in model.parameters():
        parameter.requires_grad_(False)
    names = _matching_modules(model, tuning)
    if tuning.lora is not None:
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(seed)
        lora = LoraConfig(
            r=tuning.lora.r,
            lora_alpha=tuning.lora.alpha,  # type: ignore[arg-type]  # a ratio; PEFT only divides it by r
            lora_dropout=tuning.lora.dropout,
            use_dora=tuning.lora.dora,
            target_modules=names,
            task_type="CAUSAL_LM",
        )
        model = get_peft_model(model, lora).eval()
        for name, module in model.named_modules():
            module.training = tuning.lora.dropout > 0 and ".lora_dropout" in name
        return model
    modules = dict(model.named_modules())
    for name in names:
        for parameter in modules[name].parameters(recurse=False):
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
    return model


def _matching_modules(model: Any, tuning: TuningConfig) -> list[str]:
    """Names of the modules whose own parameters train; in attention and MLP only matrices, not their norms."""
    owners = {name: m for name, m in model.named_modules() if any(True for _ in m.parameters(recurse=False))}
    if tuning.trains is not Trains.full:
        block = _BLOCKS[tuning.trains]
        owners = {
            n: m
            for n, m in owners.items()
            if block.search(n) and getattr(m, "weight", None) is not None and m.weight.dim() == 2
        }
    if not owners:
        found = sorted({re.sub(r"\.\d+\.", ".*.", name) for name, _ in model.named_modules() if name})
        raise UserError(
            f"tuning.trains={tuning.trains.name} matches no weights of this model, which has {', '.join(found[:20])}"
        )
    if tuning.layers is None:
        return list(owners)
    layers = [int(match[1]) for name in owners if (match := _LAYER.search(name))]
    count = max(layers, default=-1) + 1
    first, last = (k + count if k < 0 else k for k in tuning.layers)
    if not 0 <= first <= last < count:
        raise UserError(f"tuning.layers={tuning.layers} is not a range within this model's layers 0 to {count - 1}")
    return [n for n in owners if (match := _LAYER.search(n)) and first <= int(match[1]) <= last]


def ledger(model: Any) -> Ledger:
    """Count what trains, by the last part of the module's name (q_proj, embed_tokens, …)."""
    kinds: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parts = [part for part in name.split(".")[:-1] if not part.startswith("lora_") and part != "default"]
            kinds[parts[-1] if parts else name] += parameter.numel()
    parameters = list(model.parameters())
    trained = sum(4 * p.numel() for p in parameters if p.requires_grad)
    return Ledger(
        total=sum(p.numel() for p in parameters),
        trainable=dict(kinds),
        weight_bytes=sum(p.numel() * p.element_size() for p in parameters),
        gradient_bytes=trained,
        optimizer_bytes=2 * trained,
        checkpoint_bytes=3 * trained,
    )
