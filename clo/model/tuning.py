"""What trains: attention projections, MLP matrices, both or everything, in some layers, in full or by adapters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clo.config import TuningConfig
from clo.config.choices import AUTO, THIRDS, Trains
from clo.errors import UserError
from clo.model.layers import base_model, text_decoder

_ATTENTION, _MLP = "self_attn|attn|attention|self_attention", "mlp|feed_forward|ffn|block_sparse_moe"
_BLOCKS = {
    trains: re.compile(rf"(^|\.)({names})(\.|$)")
    for trains, names in (
        (Trains.attention, _ATTENTION),
        (Trains.mlp, _MLP),
        (Trains.both, f"{_ATTENTION}|{_MLP}"),
    )
}
_LAYER = re.compile(r"\.(\d+)\.")
_MIXED = re.compile(r"vision|visual|image|audio|speech|video|multi_modal|projector")
"""Names of parts for other kinds of input than text."""


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
    beside: tuple[str, ...] = ()
    """What the names of kinds do not say: layers without attention, towers that texts do not reach."""

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
            *self.beside,
        ]


def apply_tuning(model: Any, tuning: TuningConfig, seed: int = 0) -> Any:
    """Freeze everything, then open what ``tuning`` names, in float32 (AdamW in bfloat16 moves almost nothing).

    ``tuning.layers`` is not ``auto`` here: a run's own choice has been made (:mod:`clo.study.layer_choice`).
    Returns the model, wrapped by PEFT where adapters are asked for.

    Raises:
        UserError: the model has no such matrices or layers.
    """
    import torch

    for parameter in model.parameters():
        parameter.requires_grad_(False)
    names = matching_modules(model, tuning)
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
            drops = ".lora_dropout" in name or len(getattr(module, "lora_magnitude_vector", ()))  # DoRA's layers ask it
            module.training = tuning.lora.dropout > 0 and bool(drops)
        return model
    for parameter in trained_parameters(model, tuning).values():
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    return model


def trained_parameters(model: Any, tuning: TuningConfig) -> dict[str, Any]:
    """The model's own parameters, by name, that train, or that adapters stand for; shared ones once."""
    owners = set(matching_modules(model, tuning))
    return {name: p for name, p in model.named_parameters() if name.rpartition(".")[0] in owners}


def layer_of(name: str) -> int | None:
    """Number of the layer that a module or parameter is in, by its name; None outside of the layers."""
    match = _LAYER.search(name)
    return None if match is None else int(match[1])


def matching_modules(model: Any, tuning: TuningConfig) -> list[str]:
    """Names of the modules whose own parameters train; in attention and MLP only matrices, not their norms.

    Towers for images or sound do not train: texts do not reach them, and weight decay alone would.
    """
    text, head = _text_prefix(model), model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    owners = {
        name: m
        for name, m in model.named_modules()
        if any(True for _ in m.parameters(recurse=False)) and (f"{name}.".startswith(text) or m is head)
    }
    if tuning.trains is not Trains.full:
        block, of_mlp = _BLOCKS[tuning.trains], _BLOCKS[Trains.mlp]
        # Experts keep their matrices in one tensor.
        owners = {n: m for n, m in owners.items() if block.search(n) and 2 <= _matrix(m) <= 2 + bool(of_mlp.search(n))}
    experts = [n for n, m in owners.items() if tuning.trains is not Trains.full and _matrix(m) == 3]
    if experts and tuning.lora is not None:
        raise UserError(
            f"tuning.lora has no adapters for the experts of this model ({experts[0]}); set tuning.lora=null to train "
            "them themselves, or tuning=attention_lora"
        )
    if not owners:
        found = sorted({re.sub(r"\.\d+\.", ".*.", name) for name, _ in model.named_modules() if name})
        raise UserError(
            f"tuning.trains={tuning.trains.name} matches no weights of this model, which has {', '.join(found[:20])}"
        )
    if tuning.layers is None:
        return list(owners)
    layers = [layer for name in owners if (layer := layer_of(name)) is not None]
    count = max(layers, default=-1) + 1
    first, last = layer_range(tuning.layers, count)
    return [n for n in owners if (layer := layer_of(n)) is not None and first <= layer <= last]


def layer_range(layers: Any, count: int) -> tuple[int, int]:
    """First and last layer of ``tuning.layers`` in a model of ``count`` layers.

    A third is a third of the depth, rounded up; thirds of a depth that has none overlap, so that they are equally deep.

    Raises:
        UserError: no such layers.
    """
    if layers in THIRDS:
        deep = -(-count // 3)
        first = {"lower": 0, "middle": (count - deep) // 2, "upper": count - deep}[layers]
        layers = [first, first + deep - 1]
    if layers == AUTO:
        raise ValueError("tuning.layers=auto must be settled before the tuning is applied")
    first, last = (k + count if k < 0 else k for k in layers)
    if not 0 <= first <= last < count:
        raise UserError(f"tuning.layers={layers} is not a range within this model's layers 0 to {count - 1}")
    return first, last


def _matrix(module: Any) -> int:
    """Dimensions of the largest of a module's own parameters: 2 is a matrix, 3 a stack of them, 1 a norm or a bias."""
    return max(parameter.dim() for parameter in module.parameters(recurse=False))


def _text_prefix(model: Any) -> str:
    """What the names of the text decoder's modules begin with; empty where the model is nothing else."""
    base = base_model(model)
    decoder = text_decoder(model)
    if decoder is base or decoder is getattr(base, "base_model", base):
        return ""
    name = next((name for name, module in model.named_modules() if module is decoder), "")
    return f"{name}." if _towers(model, name) else ""


def _towers(model: Any, decoder: str) -> dict[str, int]:
    """Parameters by part that stands beside the text decoder, the head aside."""
    parts: Counter[str] = Counter()
    parent, _, own = decoder.rpartition(".")
    head = {id(p) for p in model.get_output_embeddings().parameters()}
    for name, parameter in model.named_parameters():
        inside = name.removeprefix(f"{parent}.")
        part = inside.split(".")[0]
        if "." in inside and part != own and id(parameter) not in head and _MIXED.search(f"{part}."):
            parts[part] += parameter.numel()
    return dict(parts)


def _beside(model: Any) -> Iterator[str]:
    prefix = _text_prefix(model)
    for part, count in (_towers(model, prefix.rstrip(".")) if prefix else {}).items():
        yield f"{part}: {count:,} parameters stay as they are, texts do not reach them"
    names: dict[int, set[str]] = {}
    for name, _ in model.named_parameters():
        if (match := _LAYER.search(name)) and f"{name}.".startswith(prefix):
            names.setdefault(int(match[1]), set()).add(name[match.end() :].split(".")[0])
    with_attention = [k for k, parts in names.items() if any(_BLOCKS[Trains.attention].search(p) for p in parts)]
    usual = set().union(*(names[k] for k in with_attention)) if with_attention else set()
    others = sorted({part for k, parts in names.items() if k not in with_attention for part in parts - usual})
    if with_attention and len(with_attention) < len(names):
        yield (
            f"attention is in {len(with_attention)} of {len(names)} layers; the others mix tokens by "
            f"{', '.join(others) or 'nothing'}, which no tuning but full trains"
        )


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
        beside=tuple(_beside(model)),
    )
