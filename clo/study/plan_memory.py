"""The memory that a run will need, by part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clo.config import TrainerConfig
from clo.config.choices import ReferenceMode

RESERVE = 0.04
"""Share of the memory that allocators and libraries keep; 0.7 to 2 % were measured on an H200."""
GIB = 2**30
KERNEL = 2**20
"""Bytes of one of a CPU's kernels in bfloat16, about (measured with AMX)."""
KERNELS_KEPT = 1024
"""Kernels that oneDNN keeps."""
KERNELS_PER_PASS = 40
"""Kernels that a pass makes, at every length of a packed row: shapes of products, forward and back, and what is kept of
each is not steady (2.3 to 3.2 GiB in four runs of the same ten steps): about their middle."""


def peak_memory(parts: dict[str, float]) -> float:
    """Bytes that a device needs: those of training, or of whole weights where training splits them."""
    whole = parts.get("whole weights, not training", 0.0)
    return max(sum(parts.values()) - whole, whole) * (1 + RESERVE)


def memory_of(
    trainer: TrainerConfig, model: Any, lengths: Sequence[int], passes: float = float("inf")
) -> dict[str, float]:
    """Bytes by part while a stage trains; activations are those of the largest packed row.

    Args:
        trainer: devices, precision, and how much is computed at a time.
        model: with its tuning, on any device.
        lengths: tokens of each training item's packed row.
        passes: forward passes of the whole run, at most.
    """
    from clo.model.layers import LowerLayers, base_model, decoder_layers, text_config
    from clo.model.tuning import ledger

    book, base, cpu = ledger(model), base_model(model), on_cpu(trainer)
    tokens = max(max(lengths), min(trainer.budget(), sum(lengths)))
    config, width = text_config(model), 2 if trainer.precision == "bf16-mixed" else 4
    layers = config.num_hidden_layers - LowerLayers(model).count
    casts, head = width * book.trains() if width == 2 else 0, _head_bytes(base.get_output_embeddings(), cpu, width)
    if width == 2 and not cpu and not trainer.compile:
        saved, passing = _eager(model, tokens, layers, head, bool(trainer.gradient_checkpointing))
    else:
        layer = _layer_bytes(config, width, trainer.compile)
        again = 2 * config.hidden_size * layers + layer
        saved = float(tokens * (again if trainer.gradient_checkpointing else layer * layers))
        passing = tokens * config.hidden_size * width + head
    parts = {
        "weights": float(book.weight_bytes + casts),
        "gradients": float(book.gradient_bytes),
        "optimizer": float(book.optimizer_bytes),
        "activations": saved,
        "head": passing,
    }
    if trainer.reference is ReferenceMode.swapped:
        parts["start weights, for the reference"] = float(book.gradient_bytes)
    if trainer.strategy == "fsdp2":  # the layers are split; embeddings, head and the largest layer are whole
        inside = sum(p.numel() * p.element_size() for p in (decoder_layers(model) or base).parameters())
        share, largest = 1 / trainer.devices, inside / config.num_hidden_layers  # further nodes hold them again
        parts["weights"] = (book.weight_bytes - inside) + inside * share + largest
        parts |= {name: parts[name] * share for name in ("gradients", "optimizer")}
        parts["whole weights, not training"] = float(book.weight_bytes)
    if cpu:
        largest_trained = max((4 * p.numel() for p in model.parameters() if p.requires_grad), default=0)
        step = 2 * largest_trained - parts["activations"] - parts["head"]  # a GPU's fused step needs no room
        parts |= {"optimizer's step, beyond activations": float(max(0, step)), "process": _held()}
        kernels = min(KERNELS_KEPT, KERNELS_PER_PASS * passes)
        parts |= {"kernels": float(KERNEL * kernels)} if width == 2 else {}
    return parts


def on_cpu(trainer: TrainerConfig) -> bool:
    """Whether the run computes on a CPU, whose memory is the process's."""
    from clo.model.load import run_device

    return trainer.accelerator == "cpu" or (trainer.accelerator == "auto" and run_device("auto").type == "cpu")


def _head_bytes(head: Any, cpu: bool, width: int) -> float:
    """A tile of logits; of a head that trains, logits and probabilities of a block of tokens, and its new gradient."""
    from clo.square.head import TILES, WHOLE

    device = "cpu" if cpu else "cuda"
    rows, columns = TILES[device]
    vocabulary, hidden = head.weight.shape
    columns = min(columns, vocabulary)
    if head.weight.requires_grad:
        return 2.0 * 4 * WHOLE[device] * vocabulary + width * vocabulary * hidden
    if cpu:
        return 4.0 * rows * columns
    return rows * (6.0 * columns + 8 * hidden)  # in bfloat16 too, and two sums over the vocabulary


def _held() -> float:
    """Bytes that this process holds, which is what a run's begins with: libraries, tokenizer, rows; 0 if unknown."""
    import os

    try:
        return float(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0.0


SHARED = 1.5
"""Keys that the segments of a packed row see, per token of it: prompts of half a row, seen by two responses."""


def _eager(model: Any, tokens: int, layers: int, head: float, checkpointing: bool) -> tuple[float, float]:
    """Bytes that are saved for the backward pass, and that pass at its beginning, in bfloat16 on a GPU, not compiled.

    Of a token in a layer: both norms' inputs in float32, queries, gathered keys and values, the attention's output and
    its log-sum, the MLP's gate, its activation and its other half; and the input of every matrix that trains. At the
    beginning of the backward pass, the last norm takes five times its input in float32, or the last MLP three times its
    width; the end of the forward pass is the head's.

    Returns:
        Saved activations, and what comes on top for a moment.
    """
    from clo.model.layers import decoder_layers, text_config
    from clo.model.tuning import ledger

    config, book = text_config(model), ledger(model)
    hidden, mlp = config.hidden_size, getattr(config, "intermediate_size", 4 * config.hidden_size)
    queries = config.num_attention_heads * (getattr(config, "head_dim", None) or hidden // config.num_attention_heads)
    keys = queries * (getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
    keys //= config.num_attention_heads
    trains = {name for layer in decoder_layers(model) or () for name, p in layer.named_parameters() if p.requires_grad}
    layer = 8 * hidden + 4 * queries + 4 * config.num_attention_heads + 4 * SHARED * keys + 6 * mlp
    layer += 2 * hidden if any("attn" in name or "attention" in name for name in trains) else 0
    layer += 2 * hidden + 2 * mlp if any("mlp" in name for name in trains) else 0
    end = 8 * hidden * tokens + head
    if not checkpointing:
        return float(layer * layers * tokens), max(end, tokens * max(20 * hidden, 6 * mlp - 2 * hidden))
    # A layer is made again, and goes back with its own casts alone: torch forgets the others when the first is made.
    made, back = tokens * (layer + 2 * mlp + 6 * hidden), tokens * (layer + 6 * mlp + 2 * hidden)
    return float(2 * hidden * layers * tokens), max(end, made, back - 2 * book.trains() * (1 - 1 / layers))


def _layer_bytes(config: Any, width: int, compiled: bool) -> float:
    """Saved activations of one token in one layer: MLP, attention, residual streams; eager norms keep float32 too.

    At Llama-3-8B's shape 163 kB, compiled 122 kB, as measured on an H200.
    """
    hidden, mlp = config.hidden_size, getattr(config, "intermediate_size", 4 * config.hidden_size)
    head = getattr(config, "head_dim", None) or hidden // config.num_attention_heads
    keys = 2 * head * (getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
    inside = 0.75 * width * hidden if compiled else 11.5 * hidden
    return width * (3 * mlp + 3 * hidden + 1.25 * keys) + inside
