"""What a run will need, before anything is spent: ``python train.py plan=true ...``.

Lengths are those of the real items, weights those of the real architecture (built on the meta device, nothing is
loaded); what they cost is arithmetic, and what is assumed is said.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from clo.config.parse import RunConfig
from clo.data.batch import packed_tokens
from clo.data.items import Item
from clo.data.rows import Row
from clo.errors import UserError

ASSUMED_MFU = 0.4
"""Share of the device's peak that steps reach; assumed."""
RESERVE = 0.08
"""Share of the memory that allocators and libraries keep; assumed."""
GIB = 2**30


@dataclass(frozen=True)
class Plan:
    """One cell's needs."""

    name: str
    items: int
    tokens: int
    """Tokens of the packed rows of one epoch."""
    steps: int
    memory: dict[str, float]
    """Bytes by part."""
    limit: float | None
    """Bytes of the device; none where it is not known."""
    hours: float | None
    """Training and references, without evaluation; none where the device's peak is not known."""
    disk: float
    """Bytes of the run folder."""
    translation: tuple[str, float | None] | None
    """File of the translated rows that are still to be made, and the hours that takes, where they can be known."""
    advice: str | None
    """What would make it fit; none where it does."""

    def needs(self) -> float:
        """Peak memory, bytes."""
        return peak_memory(self.memory)


def peak_memory(parts: dict[str, float]) -> float:
    """Bytes that a device needs: those of training, or of whole weights where training splits them."""
    whole = parts.get("whole weights, not training", 0.0)
    return max(sum(parts.values()) - whole, whole) * (1 + RESERVE)


def plan_run(run: RunConfig, train: Sequence[Item], rows: Sequence[Row] = ()) -> Plan:
    """The needs of one run.

    Args:
        run: the cell.
        train: its training items.
        rows: all its rows; what is not translated yet is planned too.

    Raises:
        UserError: the model's configuration cannot be read, or the tuning matches nothing.
    """
    from clo.model.load import shape_only
    from clo.model.tuning import apply_tuning, ledger
    from clo.training.stages import plan_stages
    from clo.training.throughput import forward_flops, step_flops

    model = apply_tuning(shape_only(run.model), run.tuning)
    stages = plan_stages(run, len(train), len(train[0].prompts))
    work = 0.0
    for stage in stages:
        epochs = stage.total_steps / stage.steps_per_epoch
        work += epochs * step_flops(model, train, stage.objective.cells())
        if stage.objective.comparisons():
            work += forward_flops(model, train, stage.objective.cells())
    book = ledger(model)
    peak = _peak(run)
    limit = _memory(run)
    memory = memory_of(run, model, train)
    saved = sum(p.numel() * p.element_size() for p in model.parameters() if run.tuning.lora is None or p.requires_grad)
    whole = Plan(
        name=run.slug(),
        items=len(train),
        tokens=sum(packed_tokens(item, stages[-1].objective.cells()) for item in train),
        steps=sum(stage.total_steps for stage in stages),
        memory=memory,
        limit=limit,
        hours=None if peak is None else work / (peak * run.trainer.devices * ASSUMED_MFU) / 3600,
        disk=saved + 2 * book.checkpoint_bytes,
        translation=_translation(run, rows, peak),
        advice=None,
    )
    fits = limit is None or whole.needs() <= limit
    return whole if fits else replace(whole, advice=_advice(run, train, limit or 0.0))


def _translation(run: RunConfig, rows: Sequence[Row], peak: float | None) -> tuple[str, float | None] | None:
    from clo.translate.ensure import rows_path
    from clo.translate.estimate import translation_hours

    if run.data.kind != "translated" or rows_path(run).is_file():
        return None
    return str(rows_path(run)), translation_hours(run, rows, peak)


def memory_of(run: RunConfig, model: Any, train: Sequence[Item]) -> dict[str, float]:
    """Bytes by part while a stage trains; activations are those of the largest packed row."""
    from clo.model.layers import LowerLayers, base_model, decoder_layers
    from clo.model.tuning import ledger
    from clo.training.stages import plan_stages

    book, base = ledger(model), base_model(model)
    cells = plan_stages(run, len(train), len(train[0].prompts))[-1].objective.cells()
    most = max(packed_tokens(item, cells) for item in train)
    tokens = max(most, min(run.trainer.max_tokens, sum(packed_tokens(item, cells) for item in train)))
    config, width = base.config, 2 if run.trainer.precision == "bf16-mixed" else 4
    layers = config.num_hidden_layers - LowerLayers(model).count
    layer = _layer_bytes(config, width)
    saved = 2 * config.hidden_size * layers + layer if run.trainer.gradient_checkpointing else layer * layers
    head = base.get_output_embeddings().weight
    casts = width * book.trains() if width == 2 else 0
    parts = {
        "weights": float(book.weight_bytes + casts),
        "gradients": float(book.gradient_bytes),
        "optimizer": float(book.optimizer_bytes),
        "activations": float(tokens * saved),
        "head": float(tokens * config.hidden_size * width + 4 * 2048 * min(16384, head.shape[0])),
    }
    if run.trainer.strategy == "fsdp2":  # the layers are split; embeddings, head and the largest layer are whole
        inside = sum(p.numel() * p.element_size() for p in (decoder_layers(model) or base).parameters())
        share, largest = 1 / run.trainer.devices, inside / config.num_hidden_layers
        parts["weights"] = (book.weight_bytes - inside) + inside * share + largest
        parts |= {name: parts[name] * share for name in ("gradients", "optimizer")}
        parts["whole weights, not training"] = float(book.weight_bytes)
    return parts


def _layer_bytes(config: Any, width: int) -> float:
    """Saved activations of one token in one layer: MLP, attention, residual streams, norms in float32."""
    hidden, mlp = config.hidden_size, getattr(config, "intermediate_size", 4 * config.hidden_size)
    head = getattr(config, "head_dim", None) or hidden // config.num_attention_heads
    keys = 2 * head * (getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
    return width * (3 * mlp + 3 * hidden + 1.25 * keys) + 2 * 4 * hidden


def _advice(run: RunConfig, train: Sequence[Item], limit: float) -> str:
    """The mildest change that fits."""
    from clo.config import LoraConfig
    from clo.config.choices import Trains
    from clo.model.load import shape_only
    from clo.model.tuning import apply_tuning

    lora = replace(run.tuning, trains=Trains.attention, lora=LoraConfig())
    for word, tuning in (("", run.tuning), ("tuning=attention_lora", lora)):
        model = apply_tuning(shape_only(run.model), tuning)
        for checkpointing in (run.trainer.gradient_checkpointing, True):
            tokens = run.trainer.max_tokens
            while tokens >= 64:
                trainer = replace(run.trainer, max_tokens=tokens, gradient_checkpointing=checkpointing)
                parts = memory_of(replace(run, trainer=trainer, tuning=tuning), model, train)
                if peak_memory(parts) <= limit:
                    settings = [word] if word else []
                    settings += [f"trainer.max_tokens={tokens}"] if tokens != run.trainer.max_tokens else []
                    if checkpointing != run.trainer.gradient_checkpointing:
                        settings.append("trainer.gradient_checkpointing=true")
                    return " ".join(settings)
                tokens //= 2
    return "a device with more memory, or a smaller model"


def _peak(run: RunConfig) -> float | None:
    """FLOP/s of one device: as given, else of the one that is here."""
    import torch

    from clo.model.load import run_device
    from clo.training.throughput import peak_flops

    if run.trainer.tflops is not None:
        return run.trainer.tflops * 1e12
    try:
        device = run_device(run.trainer.accelerator)
    except UserError:
        return None
    torch.set_num_threads(run.trainer.threads)
    return peak_flops(device, run.trainer.precision)


def _memory(run: RunConfig) -> float | None:
    """Bytes of one device: as given, else of the one that is here."""
    import torch

    from clo.model.load import run_device

    if run.trainer.memory_gb is not None:
        return run.trainer.memory_gb * 1e9
    try:
        device = run_device(run.trainer.accelerator)
    except UserError:
        return None
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
