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


def text_config(model: Any) -> Any:
    """The configuration of the decoder of text, also inside a model of several kinds of input."""
    return base_model(model).config.get_text_config(decoder=True)


def text_decoder(model: Any) -> Any:
    """The part of a model that reads and writes text, without towers for images or sound beside it."""
    base = base_model(model)
    found = base.get_decoder() if hasattr(base, "get_decoder") else None
    return getattr(base, "base_model", base) if found is None else found


def decoder_layers(model: Any) -> torch.nn.ModuleList | None:
    """The decoder's layers in order, or nothing where the model keeps them elsewhere."""
    layers = getattr(base_model(model).base_model, "layers", None)
    return layers if isinstance(layers, torch.nn.ModuleList) else None


def hand_head_whole_rows(model: Any) -> None:
    """Make the hidden states that a frozen head is given contiguous, where a CPU computes in half precision.

    Torch multiplies a slice of them, such as the last positions, by a matrix without a gradient sequence by sequence,
    each with a copy of the matrix: with a vocabulary of 262k, 160 times slower in bfloat16, and 0.6 GiB on top.
    """
    head = base_model(model).get_output_embeddings()
    if head is not None:
        head.register_forward_pre_hook(_whole_rows)


def _whole_rows(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    if not args or args[0].device.type != "cpu":
        return None
    half = args[0].dtype in (torch.bfloat16, torch.float16) or torch.is_autocast_enabled("cpu")
    return (args[0].contiguous(), *args[1:]) if half else None


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
        shared = getattr(text_config(model), "num_kv_shared_layers", 0)  # upper layers read the lower ones' keys
        self.count = 0 if below or shared or not trained else trained[0]
        """Layers that neither train nor lie above one that does."""
        self._in_tuples = False

    @contextmanager
    def kept(self) -> Iterator[list[Tensor]]:
        """Keep what the lower layers give to the first one that trains."""
        found: list[Tensor] = []

        def keep(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found.append((args[0] if args else kwargs["hidden_states"]).detach())

        def look(_: Any, __: Any, out: Any) -> None:
            self._in_tuples = isinstance(out, tuple)

        layers = self._decoder.layers
        hooks = [
            layers[self.count].register_forward_pre_hook(keep, with_kwargs=True),
            layers[self.count - 1].register_forward_hook(look),
        ]
        try:
            yield found
        finally:
            for hook in hooks:
                hook.remove()

    @contextmanager
    def skipped(self, hidden_1NH: Tensor) -> Iterator[None]:
        """Start at the first layer that trains, with what the lower ones gave to it.

        The lower layers keep their places, since what a layer is handed may depend on its number (rotary base, window),
        and the embeddings are made as ever; what comes of both is replaced.
        """

        def put(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
            return ((hidden_1NH, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": hidden_1NH})

        layers = self._decoder.layers
        hook = layers[self.count].register_forward_pre_hook(put, with_kwargs=True)
        idle = [_Idle(layer, self._in_tuples) for layer in layers[: self.count]]
        self._decoder.layers = torch.nn.ModuleList([*idle, *layers[self.count :]])
        try:
            yield
        finally:
            self._decoder.layers = layers
            hook.remove()


class _Idle(torch.nn.Module):
    """Stands in the place of a layer, looks like it, and hands on what it is given."""

    def __init__(self, layer: torch.nn.Module, in_tuples: bool) -> None:
        super().__init__()
        self.__dict__["_like"] = layer  # not registered: its weights are the layer's own
        self._in_tuples = in_tuples

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_like"], name)

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Any:
        return (hidden_states,) if self._in_tuples else hidden_states
