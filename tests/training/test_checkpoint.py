"""Checkpoints are written beside the training: copied at once, awaited by the next, and never the only copy lost."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

import clo.training.checkpoint
import clo.training.checks
from clo.errors import UserError
from clo.training.checkpoint import SafetensorsIO, write_tensors
from clo.training.checks import frozen_key


def held(value: float) -> dict[str, Any]:
    return {"state_dict": {"weight": torch.full((3,), value)}, "global_step": 4}


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def slow(*arguments: Any) -> None:
        assert gate.wait(30)
        write_tensors(*arguments)

    io, first, second = SafetensorsIO(), tmp_path / "step1.safetensors", tmp_path / "step2.safetensors"
    io.save_checkpoint(held(1.0), first)
    io.wait()
    monkeypatch.setattr(clo.training.checkpoint, "write_tensors", slow)
    checkpoint = held(2.0)
    io.save_checkpoint(checkpoint, second)
    checkpoint["state_dict"]["weight"].fill_(3.0)  # the next step
    io.remove_checkpoint(first)
    assert first.is_file() and not second.is_file()
    gate.set()
    io.wait()
    assert not first.is_file()
    assert torch.equal(io.load_checkpoint(second)["state_dict"]["weight"], torch.full((3,), 2.0))


def test_what_cannot_be_written_is_said_and_the_one_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise UserError("cannot write")

    io, first = SafetensorsIO(), tmp_path / "step1.safetensors"
    io.save_checkpoint(held(1.0), first)
    io.wait()
    monkeypatch.setattr(clo.training.checkpoint, "write_tensors", full)
    io.save_checkpoint(held(2.0), tmp_path / "step2.safetensors")
    io.remove_checkpoint(first)
    with pytest.raises(UserError, match="cannot write"):
        io.save_checkpoint(held(3.0), tmp_path / "step3.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["step1.safetensors"]
    io.teardown()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64, torch.uint8])
def test_frozen_weights_are_told_apart_bit_by_bit(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where two values have changed places, and beyond the values that are widened at a time."""
    monkeypatch.setattr(clo.training.checks, "CHUNK", 8)
    model = torch.nn.Module()
    model.weight = torch.nn.Parameter(torch.arange(21).to(dtype).view(3, 7), requires_grad=False)
    before, values = frozen_key(model), model.weight.detach()
    assert before == frozen_key(model)
    for place in (0, 7, 8, 20):
        bits = values.view(torch.uint8).flatten()
        bits[place * dtype.itemsize] ^= 1
        assert frozen_key(model) != before
        bits[place * dtype.itemsize] ^= 1
    assert frozen_key(model) == before
    for a, b in ((1, 2), (1, 9), (0, 16)):
        flat = values.flatten()
        kept = flat[a].clone(), flat[b].clone()
        flat[a], flat[b] = kept[1], kept[0]
        assert frozen_key(model) != before
        flat[a], flat[b] = kept


def test_on_a_cpu_a_checkpoint_takes_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be one of the weights and their moments, beside them."""
    seen: list[int] = []

    def told(path: Path, tensors: dict[str, torch.Tensor], header: dict[str, str]) -> None:
        seen.extend(tensor.data_ptr() for tensor in tensors.values())
        write_tensors(path, tensors, header)

    monkeypatch.setattr(clo.training.checkpoint, "write_tensors", told)
    io, first, checkpoint = SafetensorsIO(beside=False), tmp_path / "step1.safetensors", held(2.0)
    io.save_checkpoint(checkpoint, first)
    assert seen == [checkpoint["state_dict"]["weight"].data_ptr()] and first.is_file()
    assert torch.equal(io.load_checkpoint(first)["state_dict"]["weight"], torch.full((3,), 2.0))
