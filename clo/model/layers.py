"""Where a model keeps its decoder layers, and those that policy and reference compute the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def base_model(model: Any) -> Any:
    """The transformers model inside a PEFT model, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def decoder_layers(model: Any) -> torch.nn.ModuleList | None:
    """The decoder's layers in order, or nothing where the model keeps them elsewhere."""
    layers = getattr(base_model(model).base_model, "layers", None)
    return layers if isinstance(layers, torch.nn.ModuleList) else None


class LowerLayers:
    """The frozen layers below the first one that trains: one pass serves the policy and its reference.

    Args:
        model: a tuned model.
    """

    def __init__(self, model: Any) -> None:
        self._decoder = base_model(model).base_model
        layers = decoder_layers(model)
        below = [name for name, p in self._decoder.named_parameters() if p.requires_grad and "layers." not in name]
        trained = [k for k, layer in enumerate(layers or []) if any(p.requires_grad for p in layer.parameters())]
        self.count = 0 if below or not trained else trained[0]
        """Layers that neither train nor lie above one that does."""

    @contextmanager
    def kept(self) -> Iterator[list[Tensor]]:
        """Keep what the lower layers give to the first one that trains."""
        found: list[Tensor] = []

        def keep(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found.append((args[0] if args else kwargs["hidden_states"]).detach())

        hook = self._decoder.layers[self.count].register_forward_pre_hook(keep, with_kwargs=True)
        try:
            yield found
        finally:
            hook.remove()

    @contextmanager
    def skipped(self) -> Iterator[None]:
        """Start at the first layer that trains; its input takes the place of the embeddings."""
        layers = self._decoder.layers
        self._decoder.layers = layers[self.count :]
        try:
            yield
        finally:
            self._decoder.layers = layers
