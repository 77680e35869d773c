"""Models made of others without training: between start and trained weights, and sums of differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from clo.config import TuningConfig
from clo.errors import UserError
from clo.model.tuning import trained_parameters

if TYPE_CHECKING:
    from torch import Tensor


def start_weights(start: Any, tuning: TuningConfig) -> dict[str, Tensor]:
    """Those weights of a start model, by name, that a run trains itself; none where adapters train in their place.

    Args:
        start: the start model, on the CPU.
        tuning: what trains, its layers by number.
    """
    return {} if tuning.lora else {name: p.detach() for name, p in trained_parameters(start, tuning).items()}


@contextmanager
def averaged(model: Any, start: Mapping[str, Tensor], share: float) -> Iterator[None]:
    """Let a trained model be ``(1 - share) * start + share * trained`` in exactly the weights that trained.

    Model averaging of a fine-tuned model with its start: Wortsman et al. (2022, arXiv 2109.01903), equation 1.
    Adapters stand for weights of their own, whatever their kind: what a matrix with its adapter gives is linear in the
    weights, so the mean is taken there, which is exact also over quantized weights.

    Args:
        model: as trained; it is so again afterwards, to the bit.
        start: as of `start_weights`.
        share: of the trained weights, 0 to 1.
    """
    import torch

    parameters = dict(model.named_parameters())
    own = {name: parameters[name].detach().to("cpu", copy=True) for name in start}
    with ExitStack() as hooks:
        for module in model.modules():
            if hasattr(module, "base_layer") and hasattr(module, "lora_A"):
                hooks.enter_context(_hooked(module, share))
        try:
            for name, before in start.items():
                weight = parameters[name]
                there, now = (t.to(weight.device, dtype=_exact(weight.dtype)) for t in (before, own[name]))
                weight.data.copy_(there.lerp(now, share))
            torch.clear_autocast_cache()  # it holds casts of the weights before
            yield
        finally:
            for name, now in own.items():
                parameters[name].data.copy_(now)
            torch.clear_autocast_cache()


@contextmanager
def _hooked(module: Any, share: float) -> Iterator[None]:
    def between(_: Any, args: Any, kwargs: Any, out: Tensor) -> Tensor:
        base: Tensor = module.base_layer(*args, **kwargs)
        return base + share * (out - base)

    hook = module.register_forward_hook(between, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def _exact(dtype: Any) -> Any:
    """Half precision is summed in float32."""
    import torch

    return torch.promote_types(dtype, torch.float32)


def add_difference(model: Any, chat: Any, base: Any) -> None:
    """Add the chat vector to a model: ``model + (chat - base)``, tensor by tensor, in float32.

    Huang et al. (2024, arXiv 2310.04799): the base model went on to pretrain in the target language, and what made a
    chat model of the base is added to it.

    Args:
        model: the base after more pretraining in the target language; changed in place. All three are on one device.
        chat: the base after instruction tuning.
        base: the base of both.

    Raises:
        UserError: they do not hold the same weights in the same shapes.
    """
    import torch

    weights, further = dict(model.named_parameters()), [dict(other.named_parameters()) for other in (chat, base)]
    for other, word in zip(further, ("start model", "base"), strict=True):
        shapes = [{name: tuple(p.shape) for name, p in own.items()} for own in (weights, other)]
        if shapes[0] != shapes[1]:
            name = next(n for n in {**shapes[0], **shapes[1]} if shapes[0].get(n) != shapes[1].get(n))
            here, there = (own.get(name, "none") for own in shapes)
            raise UserError(
                f"a chat vector needs three models of one shape: {name} is {here} in the target-language model and "
                f"{there} in the {word}; set evaluation.rivals.base and evaluation.rivals.adapted to its relatives"
            )
    with torch.no_grad():
        for name, weight in weights.items():
            exact = _exact(weight.dtype)
            step = further[0][name].to(exact) - further[1][name].to(exact)
            weight.copy_(weight.to(exact) + step)
