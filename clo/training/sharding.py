"""Weights, gradients and optimizer states split over devices with torch's fully_shard (FSDP2).

The decoder layers are split; embeddings and head stay whole on every device, because the head's weight is read outside
of its forward pass. Reducing is a sum: the objective's denominators are those of the whole step.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from clo.errors import UserError
from clo.model.layers import base_model, decoder_layers


def sharded_copy(model: Any, mesh: Any, precision: str) -> Any:
    """A copy of a tuned model whose decoder layers are split over the mesh; the model itself moves to the CPU.

    Args:
        model: whole weights, equal on every rank.
        mesh: one-dimensional device mesh.
        precision: ``bf16-mixed`` gathers weights in bfloat16 and sums gradients in float32. (Autocast would keep its
            casts of the weights beyond the pass that they were gathered for.)

    Raises:
        UserError: the model keeps its decoder layers somewhere unknown.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    if decoder_layers(model) is None:
        raise UserError("trainer.strategy=fsdp2 finds no decoder layers in this model; use trainer.strategy=ddp")
    split = copy.deepcopy(model.to("cpu"))
    layers, decoder = decoder_layers(split), base_model(split).base_model
    assert layers is not None
    inside = {parameter for layer in layers for parameter in layer.parameters()}
    half = torch.bfloat16 if precision == "bf16-mixed" else None
    policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(decoder, mesh=mesh, mp_policy=policy, ignored_params={p for p in split.parameters() if p not in inside})
    for module in (decoder, *layers):
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)
    return split


def is_split(tensor: Tensor) -> bool:
    """Whether this is one rank's part of a tensor."""
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def gathered(tensor: Tensor) -> Tensor:
    """The whole tensor; every rank must ask, in the same order."""
    return tensor.full_tensor() if is_split(tensor) else tensor  # type: ignore[attr-defined]


@torch.no_grad()
def gather_into(whole: Iterable[Tensor], split: Iterable[Tensor]) -> None:
    """Copy tensors that are split over the ranks into whole ones; every rank gets all of it."""
    for theirs, mine in zip(whole, split, strict=True):
        theirs.copy_(gathered(mine.detach()))


def most_of_any_rank(count: int, device: torch.device) -> int:
    """The largest count of all ranks."""
    most = torch.tensor(count, device=device)
    torch.distributed.all_reduce(most, torch.distributed.ReduceOp.MAX)
    return int(most)


def split_like(whole: Tensor, parameter: Tensor) -> Tensor:
    """This rank's part of a whole tensor, placed as the parameter is."""
    if not is_split(parameter):
        return whole
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = parameter.device_mesh, parameter.placements  # type: ignore[attr-defined]
    return distribute_tensor(whole.to(parameter.device), mesh, placements, src_data_rank=None)


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """Euclidean norm of all tensors together, those that are split included; a float64 scalar on their device."""
    tensors = list(tensors)
    squares = _squares([t for t in tensors if not is_split(t)])
    split = [t for t in tensors if is_split(t)]
    if split:
        parts = _squares([t.to_local() for t in split])  # type: ignore[attr-defined]
        torch.distributed.all_reduce(parts)
        squares = squares.to(parts.device) + parts
    return squares.sqrt()


def _squares(tensors: Sequence[Tensor]) -> Tensor:
    if not tensors:
        return torch.zeros((), dtype=torch.float64)
    return torch.stack([_square(tensor) for tensor in tensors]).sum()


def _square(tensor: Tensor) -> Tensor:
    """Sum of squares, float64: row by row in float32, which a CPU does ten times as fast as all of it in float64."""
    rows = tensor.reshape(-1, tensor.shape[-1]) if tensor.dim() else tensor.reshape(1, 1)
    wide = torch.promote_types(tensor.dtype, torch.float32)
    return torch.linalg.vector_norm(rows, dim=1, dtype=wide).double().square().sum()


def clip_gradients(parameters: Iterable[torch.nn.Parameter], total: float, most: float) -> None:
    """Scale all gradients so that their norm, which is ``total``, is at most ``most``."""
    if total > most:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(most / (total + 1e-6))
