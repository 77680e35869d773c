"""Weights split over two processes: each holds its half, and a step's gradients are those of whole weights."""

from __future__ import annotations

import os
import socket
import sys
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


def in_two_processes(work: Any, folder: Path, *arguments: Any) -> list[Any]:
    """What ``work(rank, *arguments)`` returned on each rank."""
    torch.multiprocessing.spawn(_rank, (work, free_port(), folder, arguments), nprocs=2)  # type: ignore[no-untyped-call]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def _rank(rank: int, work: Any, port: int, folder: Path, arguments: tuple[Any, ...]) -> None:
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    torch.save(work(rank, *arguments), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def gradients(model: Any, precision: str, items: Any) -> dict[str, Tensor]:
    """Sums over these items of the NLL's gradients, whole; several passes, as micro-batches are."""
    from clo.data.batch import pack
    from clo.square.scores import score
    from clo.training.sharding import gathered

    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        for item in items:
            score(model, pack([item], [(0, 0), (0, 1)])).S_BLK.sum().backward()
    return {name: gathered(p.grad).clone() for name, p in model.named_parameters() if p.grad is not None}


def split_gradients(rank: int, lora: bool, precision: str, length: int) -> dict[str, Any]:
    from tiny_runs import ATTENTION, LORA, random_items, tuned
    from torch.distributed.device_mesh import init_device_mesh

    from clo.training.sharding import is_split, norm, sharded_copy

    whole = tuned(LORA if lora else ATTENTION)
    model = sharded_copy(whole, init_device_mesh("cpu", (2,)), precision)
    held = sum(p.to_local().numel() for p in model.parameters() if is_split(p))  # type: ignore[attr-defined]
    found = gradients(model, precision, random_items(length)[rank::2])
    norms = norm(p.grad for p in model.parameters() if p.grad is not None)
    return {"gradients": found, "held": held, "norm": norms, "layers": sum(p.numel() for p in layers(whole))}


def layers(model: Any) -> list[Tensor]:
    from clo.model.layers import decoder_layers

    found = decoder_layers(model)
    assert found is not None
    return list(found.parameters())


@pytest.mark.parametrize(("lora", "precision"), [(False, "32-true"), (True, "32-true"), (False, "bf16-mixed")])
def test_gradients_are_those_of_whole_weights(tmp_path: Path, lora: bool, precision: str) -> None:
    from tiny_runs import ATTENTION, LORA, random_items, tuned

    expected = gradients(tuned(LORA if lora else ATTENTION), precision, random_items(4))
    ranks = in_two_processes(split_gradients, tmp_path, lora, precision, 4)
    total = torch.cat([g.flatten() for g in expected.values()]).norm()
    for rank in ranks:
        assert rank["gradients"].keys() == expected.keys()
        apart = torch.cat([(rank["gradients"][name] - g).flatten() for name, g in expected.items()]).norm()
        assert float(apart / total) < PRECISIONS[precision]
        assert rank["norm"] == pytest.approx(float(total), rel=PRECISIONS[precision])
    assert sum(rank["held"] for rank in ranks) == ranks[0]["layers"]  # every weight of the layers once, not twice
    assert 0.4 < ranks[0]["held"] / ranks[0]["layers"] < 0.6
