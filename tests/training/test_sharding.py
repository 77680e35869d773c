"""Weights split over two processes: each holds its half, and a step's gradients are those of whole weights."""

from __future__ import annotations

import math
import multiprocessing
import os
import socket
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch import Tensor

PRECISIONS = {"32-true": 1e-6, "bf16-mixed": 2e-2}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def in_processes(count: int, work: Any, folder: Path, *arguments: Any) -> list[Any]:
    """What ``work(rank, *arguments)`` returned on each of so many ranks."""
    multiprocessing.set_forkserver_preload(["tiny_runs", "transformers.models.llama.modeling_llama", "peft"])
    torch.multiprocessing.start_processes(  # type: ignore[no-untyped-call]
        _rank, (work, count, free_port(), folder, arguments), nprocs=count, start_method="forkserver"
    )
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(count)]


def _rank(rank: int, work: Any, count: int, port: int, folder: Path, arguments: tuple[Any, ...]) -> None:
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=count)
    torch.save(work(rank, *arguments), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def gradients(model: Any, precision: str, items: Any, whole: bool = True) -> dict[str, Tensor]:
    """Sums over these items of the NLL's gradients, whole; several passes, as micro-batches are."""
    from clo.data.batch import pack
    from clo.square.scores import score
    from clo.training.sharding import gathered

    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        for item in items:
            score(model, pack([item], [(0, 0), (0, 1)])).S_BLK.sum().backward()
    if not whole:
        return {}
    return {name: gathered(p.grad).clone() for name, p in model.named_parameters() if p.grad is not None}


def split_gradients(rank: int, lora: bool, precision: str, mesh: tuple[int, ...], broken: bool) -> dict[str, Any]:
    from tiny_runs import ATTENTION, LORA, random_items, tuned
    from torch.distributed.device_mesh import init_device_mesh

    from clo.training.sharding import gather_into, is_split, norm, sharded

    whole, before = tuned(LORA if lora else ATTENTION), tuned(LORA if lora else ATTENTION)
    names = ("replicate", "shard")[-len(mesh) :]
    grid = init_device_mesh("cpu", mesh, mesh_dim_names=names)
    model = sharded(whole, grid, precision)
    held = sum(p.to_local().numel() for p in model.parameters() if is_split(p))  # type: ignore[attr-defined]
    left = sum(p.numel() for p in layers(whole))
    for hook in ("register_forward_hook", "register_full_backward_hook") if broken else ():
        break_off(model, hook if rank == 0 else "", precision)
        gather_into(whole, model)
        model = sharded(whole, grid, precision)
    if broken:
        break_off(model, "", precision)
    ranks = torch.distributed.get_world_size()
    found = gradients(model, precision, random_items(4)[rank::ranks])
    norms = norm(p.grad for p in model.parameters() if p.grad is not None)
    gather_into(whole, model)
    same = all(torch.equal(a, b) for a, b in zip(whole.parameters(), before.parameters(), strict=True))
    return {"gradients": found, "held": held, "norm": norms, "left": left, "same": same}


def break_off(model: Any, hook: str, precision: str) -> None:
    """This rank passes alone; with the name of a hook of the last layer it breaks off there."""
    from tiny_runs import random_items

    from clo.model.layers import decoder_layers
    from clo.training.sharding import alone

    found = decoder_layers(model)
    assert found is not None

    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("no memory")

    if hook:
        getattr(found[1].mlp, hook)(fail)
    with pytest.raises(torch.OutOfMemoryError) if hook else nullcontext(), alone(model):
        gradients(model, precision, random_items(1), whole=False)
    model.zero_grad(set_to_none=True)


def layers(model: Any) -> list[Tensor]:
    from clo.model.layers import decoder_layers

    found = decoder_layers(model)
    assert found is not None
    return list(found.parameters())


@pytest.mark.parametrize(
    ("lora", "precision", "mesh", "broken"),
    [
        (False, "32-true", (2,), False),
        (True, "32-true", (2,), False),
        (False, "bf16-mixed", (2,), False),
        (False, "32-true", (2,), True),
        (False, "32-true", (2, 2), False),
        (True, "32-true", (2, 2), True),
    ],
)
def test_gradients_are_those_of_whole_weights(
    tmp_path: Path, lora: bool, precision: str, mesh: tuple[int, ...], broken: bool
) -> None:
    """Two ranks hold a half each, of two nodes both hold all; passes that broke off leave nothing."""
    from tiny_runs import ATTENTION, LORA, random_items, tuned

    model = tuned(LORA if lora else ATTENTION)
    expected, count = gradients(model, precision, random_items(4)), sum(p.numel() for p in layers(model))
    ranks = in_processes(math.prod(mesh), split_gradients, tmp_path, lora, precision, mesh, broken)
    total = torch.cat([g.flatten() for g in expected.values()]).norm()
    for rank in ranks:
        assert rank["gradients"].keys() == expected.keys()
        apart = torch.cat([(rank["gradients"][name] - g).flatten() for name, g in expected.items()]).norm()
        assert float(apart / total) < PRECISIONS[precision]
        assert rank["norm"] == pytest.approx(float(total), rel=PRECISIONS[precision])
        assert rank["left"] == 0 and rank["same"]  # no second copy meanwhile, and all of it afterwards
        assert 0.4 < rank["held"] / count < 0.6
    assert sum(rank["held"] for rank in ranks[:2]) == count  # every weight of the layers once, not twice


@pytest.mark.parametrize("mesh", [(4,), (2, 2)])
def test_a_part_is_that_of_torch(mesh: tuple[int, ...]) -> None:
    """Of rows that do not divide evenly too; processes that meet nobody stand in for four."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor
    from torch.testing._internal.distributed.fake_pg import FakeStore

    from clo.training.sharding import split_like

    for rank in range(4):
        torch.distributed.init_process_group("fake", rank=rank, world_size=4, store=FakeStore())
        try:
            grid = init_device_mesh("cpu", mesh, mesh_dim_names=("replicate", "shard")[-len(mesh) :])
            places = [Replicate()] * (len(mesh) - 1) + [Shard(0)]
            for rows in (8, 5, 3, 1):
                whole = torch.randn(rows, 2)
                theirs = distribute_tensor(whole, grid, places, src_data_rank=None)
                ours = split_like(whole, theirs)
                assert torch.equal(ours.to_local(), theirs.to_local())  # type: ignore[attr-defined]
                assert ours.shape == theirs.shape and ours.placements == theirs.placements  # type: ignore[attr-defined]
                whole.zero_()  # the part is a copy: what it was taken from may go
                assert torch.equal(ours.to_local(), theirs.to_local()) == (not theirs.to_local().any())  # type: ignore[attr-defined]
        finally:
            torch.distributed.destroy_process_group()
