"""The decoder layers while a stage trains: checkpointed or compiled, and as they were afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clo.model.layers import base_model


@contextmanager
def training_layers(model: Any, checkpointing: bool, compiled: bool) -> Iterator[None]:
    """Checkpoint or compile the layers while a stage trains; names of weights stay as they are.

    Args:
        model: the policy.
        checkpointing: make activations again in the backward pass. It goes by the layers' own flag, which some (OPT,
            XGLM, BioGPT) take for dropout of theirs as well: that stays off, as modules inside a layer do. The
            attention must still be that of the forward pass by then, see :func:`clo.square.attention.packed`.
        compiled: compile every decoder layer, for any length.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    base = base_model(model)
    shares = [(layer, name, p) for layer in layers for name, p in vars(layer).items() if _is_dropout(name, p)]
    if checkpointing:
        base.gradient_checkpointing_enable({"use_reentrant": False})
        for layer, name, _ in shares:
            setattr(layer, name, 0.0)
    for layer in layers:
        layer.training = layer.training or checkpointing
        if compiled:
            layer.compile(dynamic=True)
    try:
        yield
    finally:
        if checkpointing:
            base.gradient_checkpointing_disable()
            for layer, name, p in shares:
                setattr(layer, name, p)
        for layer in layers:
            layer.training = False
            layer._compiled_call_impl = None  # nn.Module has no way of its own to undo compile()


def _is_dropout(name: str, value: Any) -> bool:
    return "dropout" in name and isinstance(value, float)
