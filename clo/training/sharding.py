"""Weights, gradients and optimizer states split over devices with torch's fully_shard (FSDP2).

The decoder layers are split; embeddings and head stay whole on every device, because the head's weight is read outside
of its forward pass. Reducing is a sum: the objective's denominators are those of the whole step.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from clo.errors import UserError
from clo.model.layers import base_model, decoder_layers


def sharded(model: Any, mesh: Any, precision: str) -> Any:
    """A tuned model split over the mesh: the same modules, its decoder layers' weights one part on each device.

    What is split is taken out of the model that was handed in, layer by layer, so that no device and no host holds two
    copies; :func:`gather_into` brings it back. What stays whole is shared by both.

    Args:
        model: whole weights on the mesh's device, equal on every rank.
        mesh: device mesh of one dimension; of two, the weights are split over the last and repeated over the first.
        precision: ``bf16-mixed`` gathers weights in bfloat16 and sums gradients in float32. (Autocast would keep its
            casts of the weights beyond the pass that they were gathered for.)

    Raises:
        UserError: the model keeps its decoder layers somewhere unknown.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    if decoder_layers(model) is None:
        raise UserError("trainer.strategy=fsdp2 finds no decoder layers in this model; use trainer.strategy=ddp")
    split = copy.deepcopy(model, {id(p): p for p in model.parameters()})
    layers, whole_layers, decoder = decoder_layers(split), decoder_layers(model), base_model(split).base_model
    assert layers is not None and whole_layers is not None
    inside = {parameter for layer in layers for parameter in layer.parameters()}
    kept = {p for p in split.parameters() if p not in inside}
    half = torch.bfloat16 if precision == "bf16-mixed" else None
    policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for layer, whole in zip(layers, whole_layers, strict=True):
        fully_shard(layer, mesh=mesh, mp_policy=policy)
        for parameter in whole.parameters():
            parameter.data = parameter.data.new_empty(0)
    fully_shard(decoder, mesh=mesh, mp_policy=policy, ignored_params=kept)
    for module in _parts(split):
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)
    return split


def _parts(split: Any) -> list[Any]:
    """The modules of a split model that gather weights of their own."""
    from torch.distributed.fsdp import FSDPModule

    return [module for module in split.modules() if isinstance(module, FSDPModule)]


def _dist(name: str, before: str) -> Any:
    """A function of torch.distributed, which had another name before 2.13."""
    return getattr(torch.distributed, name, None) or getattr(torch.distributed, before)


class _Comm:
    """Where a rank's parts are put together; switched off it leaves the memory as it is."""

    silent = False

    def allocate(self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Room for the result."""
        return torch.empty(*size, dtype=dtype, device=device)


class _Gather(_Comm):
    def __call__(self, output_tensor: Tensor, input_tensor: Tensor, group: Any, async_op: bool = False) -> Any:
        if self.silent:
            return None
        return _dist("all_gather_single", "all_gather_into_tensor")(output_tensor, input_tensor, group, async_op)


class _ReduceScatter(_Comm):
    def __call__(self, output_tensor: Tensor, input_tensor: Tensor, group: Any, op: Any, async_op: bool = False) -> Any:
        if self.silent:
            return None
        scatter = _dist("reduce_scatter_single", "reduce_scatter_tensor")
        return scatter(output_tensor, input_tensor, op, group, async_op)


@contextmanager
def alone(split: Any) -> Iterator[None]:
    """Let one rank pass through a split model without the others: it takes the same memory, its values mean nothing.

    A pass in here may break off anywhere, out of memory; then the model can be gathered, and make no further pass.
    """
    parts = _parts(split)
    root = parts[0]  # the decoder comes before its layers
    try:
        for part in parts:
            _silence(part, True)
        yield
    finally:
        if hasattr(root, "reset_iter_state"):  # newer torch: a backward pass that broke off leaves marks
            root.reset_iter_state()
        for part in parts:
            part.reshard()
            _silence(part, False)


def _silence(part: Any, silent: bool) -> None:
    gather, scatter = _Gather(), _ReduceScatter()
    gather.silent = scatter.silent = silent
    part.set_custom_all_gather(gather)
    part.set_custom_reduce_scatter(scatter)
    part.set_requires_all_reduce(not silent)


def is_split(tensor: Tensor) -> bool:
    """Whether this is one rank's part of a tensor."""
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def gathered(tensor: Tensor) -> Tensor:
    """The whole tensor; every rank must ask, in the same order."""
    return tensor.full_tensor() if is_split(tensor) else tensor  # type: ignore[attr-defined]


@torch.no_grad()
def gather_into(whole: Any, split: Any) -> None:
    """Put the weights that are split over the ranks back into the model that :func:`sharded` took them from."""
    for theirs, mine in zip(whole.parameters(), split.parameters(), strict=True):
        if theirs is not mine:
            theirs.data = gathered(mine.detach())


def split_like(whole: Tensor, parameter: Tensor) -> Tensor:
    """This rank's part of a whole tensor, placed as the parameter is.

    Nothing but the part is moved; of a file that is mapped into memory nothing but the part is read.
    """
    if not is_split(parameter):
        return whole
    from torch.distributed.tensor import DTensor

    mesh, placements = parameter.device_mesh, parameter.placements  # type: ignore[attr-defined]
    parts = whole.chunk(mesh.size(mesh.ndim - 1))  # by rows, over the last dimension, as `sharded` splits
    mine = mesh.get_local_rank(mesh.ndim - 1)
    part = (parts[mine] if mine < len(parts) else whole[:0]).to(parameter.device, copy=True)
    return DTensor.from_local(part, mesh, placements, run_check=False, shape=parameter.shape, stride=parameter.stride())


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """Euclidean norm of all tensors together, those that are split included; a float64 scalar on their device."""
    tensors = list(tensors)
    squares = _squares([t for t in tensors if not is_split(t)])
    split = [t for t in tensors if is_split(t)]
    if split:
        parts, mesh = _squares([t.to_local() for t in split]), split[0].device_mesh  # type: ignore[attr-defined]
        torch.distributed.all_reduce(parts, group=mesh.get_group(mesh.ndim - 1))  # further nodes hold the same again
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
