"""What a run will need, before anything is spent: ``python train.py plan=true ...``.

Lengths are those of the real items, weights those of the real architecture (built on the meta device, nothing is
loaded); what they cost is arithmetic, and what is assumed is said.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from clo.config import DataConfig, LangConfig, ModelConfig, TrainerConfig, TuningConfig
from clo.config.parse import RunConfig
from clo.data.batch import packed_tokens
from clo.data.items import Item
from clo.data.rows import Row
from clo.errors import UserError

ASSUMED_MFU = 0.45
"""Share of the device's peak that steps and references reach; assumed (Llama-3-8B on an H200: 0.50 and 0.45)."""
RESERVE = 0.04
"""Share of the memory that allocators and libraries keep; 0.7 to 2 % were measured on an H200."""
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
    stages = plan_stages(run.method, run.evaluation, run.batch_size, train)
    work = 0.0
    for stage in stages:
        epochs = stage.total_steps / stage.steps_per_epoch
        work += epochs * step_flops(model, train, stage.objective.cells())
        if stage.objective.comparisons():
            work += forward_flops(model, train, stage.objective.cells())
    book = ledger(model)
    peak, limit = _peak(run.trainer), _memory(run.trainer)
    lengths = [packed_tokens(item, stages[-1].objective.cells()) for item in train]
    saved = sum(p.numel() * p.element_size() for p in model.parameters() if run.tuning.lora is None or p.requires_grad)
    whole = Plan(
        name=run.slug(),
        items=len(train),
        tokens=sum(lengths),
        steps=sum(stage.total_steps for stage in stages),
        memory=memory_of(run.trainer, model, lengths),
        limit=limit,
        hours=None if peak is None else work / (peak * run.trainer.devices * run.trainer.nodes * ASSUMED_MFU) / 3600,
        disk=saved + 2 * book.checkpoint_bytes,
        translation=_translation(run.data, run.lang, run.cache_dir, rows, peak),
        advice=None,
    )
    if limit is None or whole.needs() <= limit:
        return whole
    return replace(whole, advice=_advice(run.model, run.tuning, run.trainer, lengths, limit))


def _translation(
    data: DataConfig, lang: LangConfig, cache_dir: str, rows: Sequence[Row], peak: float | None
) -> tuple[str, float | None] | None:
    from clo.translate.ensure import rows_path
    from clo.translate.estimate import translation_hours

    if data.kind != "translated":
        return None
    assert data.translation is not None
    path = rows_path(data, lang, cache_dir)
    return None if path.is_file() else (str(path), translation_hours(data.translation, lang.source, rows, peak))


def memory_of(trainer: TrainerConfig, model: Any, lengths: Sequence[int]) -> dict[str, float]:
    """Bytes by part while a stage trains; activations are those of the largest packed row.

    Args:
        trainer: devices, precision, and how much is computed at a time.
        model: with its tuning, on any device.
        lengths: tokens of each training item's packed row.
    """
    from clo.model.layers import LowerLayers, base_model, decoder_layers, text_config
    from clo.model.tuning import ledger

    book, base = ledger(model), base_model(model)
    tokens = max(max(lengths), min(trainer.max_tokens, sum(lengths)))
    config, width = text_config(model), 2 if trainer.precision == "bf16-mixed" else 4
    layers = config.num_hidden_layers - LowerLayers(model).count
    layer = _layer_bytes(config, width, trainer.compile)
    saved = 2 * config.hidden_size * layers + layer if trainer.gradient_checkpointing else layer * layers
    head = base.get_output_embeddings().weight
    casts = width * book.trains() if width == 2 else 0
    parts = {
        "weights": float(book.weight_bytes + casts),
        "gradients": float(book.gradient_bytes),
        "optimizer": float(book.optimizer_bytes),
        "activations": float(tokens * saved),
        "head": float(tokens * config.hidden_size * width + 4 * 2048 * min(16384, head.shape[0])),
    }
    if trainer.strategy == "fsdp2":  # the layers are split; embeddings, head and the largest layer are whole
        inside = sum(p.numel() * p.element_size() for p in (decoder_layers(model) or base).parameters())
        share, largest = 1 / (trainer.devices * trainer.nodes), inside / config.num_hidden_layers
        parts["weights"] = (book.weight_bytes - inside) + inside * share + largest
        parts |= {name: parts[name] * share for name in ("gradients", "optimizer")}
        parts["whole weights, not training"] = float(book.weight_bytes)
    return parts


def _layer_bytes(config: Any, width: int, compiled: bool) -> float:
    """Saved activations of one token in one layer: MLP, attention, residual streams; eager norms keep float32 too.

    At Llama-3-8B's shape 163 kB, compiled 122 kB, as measured on an H200.
    """
    hidden, mlp = config.hidden_size, getattr(config, "intermediate_size", 4 * config.hidden_size)
    head = getattr(config, "head_dim", None) or hidden // config.num_attention_heads
    keys = 2 * head * (getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
    inside = 0.75 * width * hidden if compiled else 11.5 * hidden
    return width * (3 * mlp + 3 * hidden + 1.25 * keys) + inside


def _advice(
    model: ModelConfig, tuning: TuningConfig, trainer: TrainerConfig, lengths: Sequence[int], limit: float
) -> str:
    """The mildest change that fits."""
    from clo.config import LoraConfig
    from clo.config.choices import Trains
    from clo.model.load import shape_only
    from clo.model.tuning import apply_tuning

    lora = replace(tuning, trains=Trains.attention, lora=LoraConfig())
    for word, tried in (("", tuning), ("tuning=attention_lora", lora)):
        shape = apply_tuning(shape_only(model), tried)
        for checkpointing in (trainer.gradient_checkpointing, True):
            tokens = trainer.max_tokens
            while tokens >= 64:
                changed = replace(trainer, max_tokens=tokens, gradient_checkpointing=checkpointing)
                if peak_memory(memory_of(changed, shape, lengths)) <= limit:
                    settings = [word] if word else []
                    settings += [f"trainer.max_tokens={tokens}"] if tokens != trainer.max_tokens else []
                    if checkpointing != trainer.gradient_checkpointing:
                        settings.append("trainer.gradient_checkpointing=true")
                    return " ".join(settings)
                tokens //= 2
    return "a device with more memory, or a smaller model"


def _peak(trainer: TrainerConfig) -> float | None:
    """FLOP/s of one device: as given, else of the one that is here."""
    import torch

    from clo.model.load import run_device
    from clo.training.throughput import peak_flops

    if trainer.tflops is not None:
        return trainer.tflops * 1e12
    try:
        device = run_device(trainer.accelerator)
    except UserError:
        return None
    torch.set_num_threads(trainer.threads)
    return peak_flops(device, trainer.precision)


def _memory(trainer: TrainerConfig) -> float | None:
    """Bytes of one device: as given, else of the one that is here."""
    import torch

    from clo.model.load import run_device

    if trainer.memory_gb is not None:
        return trainer.memory_gb * 1e9
    try:
        device = run_device(trainer.accelerator)
    except UserError:
        return None
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
