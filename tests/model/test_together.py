"""A model that several processes read together is the one that each would read alone, and each reads its part."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, tiny_model, tiny_with_images

sys.path.append(str(ROOT / "tests" / "training"))

from test_sharding import in_processes

from clo.config import ModelConfig
from clo.model.load import load_model
from clo.model.together import weight_files
from clo.square.reference import weights_key

FAMILIES = ("llama", "tied", "qwen3_moe", "gemma3", "mistral in parts", "bfloat16")


def folder_of(family: str, place: Path) -> Path:
    """A folder with a random model of a kind."""
    if family == "gemma3":
        model = tiny_with_images()
    else:
        model = tiny_model(family.split()[0] if family not in ("tied", "bfloat16") else "llama")
    if family == "tied":
        model.config.tie_word_embeddings = True
        model.tie_weights()
    if family == "bfloat16":
        model = model.bfloat16()
    model.generation_config.eos_token_id = [0, 7]
    path = place / family.replace(" ", "_")
    model.save_pretrained(path, max_shard_size="40KB" if "parts" in family else "1GB")
    return path


def read(rank: int, folders: list[str]) -> dict[str, Any]:
    """Of each model: whether it is what this process reads alone, and the share of its bytes that was read for it."""
    import clo.model.together
    from clo.storage.ranks import Ranks

    clo.model.together.LEAST = 2
    part_of, count = clo.model.together.part_of, 0

    def counted(*asked: Any) -> Any:
        nonlocal count
        part = part_of(*asked)
        count += part.nbytes
        return part

    clo.model.together.part_of = counted
    found = {}
    for folder in folders:
        count = 0
        config = ModelConfig(path=folder, max_length=64)
        together = load_model(config, ranks=Ranks(rank, torch.distributed.get_world_size()))
        share, alone = count / stored_bytes(Path(folder)), load_model(config)
        tensors = [dict([*model.state_dict().items(), *model.named_buffers()]) for model in (together, alone)]
        same = tensors[0].keys() == tensors[1].keys() and all(
            torch.equal(t, tensors[1][name]) and t.dtype == tensors[1][name].dtype for name, t in tensors[0].items()
        )
        same = same and weights_key(together, "32-true") == weights_key(alone, "32-true")
        same = same and together.generation_config.to_dict() == alone.generation_config.to_dict()
        same = same and together.config.to_dict() == alone.config.to_dict() and type(together) is type(alone)
        same = same and not any(module.training for module in together.modules())
        tied = [m.get_input_embeddings().weight is m.get_output_embeddings().weight for m in (together, alone)]
        found[Path(folder).name] = [same and tied[0] == tied[1], share]
    return found


def stored_bytes(folder: Path) -> int:
    from safetensors.torch import load_file

    return sum(t.nbytes for file in weight_files(folder) for t in load_file(file).values())


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_equal_to_what_each_reads_alone(count: int, tmp_path: Path) -> None:
    """To the bit: tied embeddings, experts that are put together, towers, buffers, several files."""
    folders = [folder_of(family, tmp_path) for family in FAMILIES]
    assert len(weight_files(tmp_path / "mistral_in_parts")) > 2
    for rank in in_processes(count, read, tmp_path, [str(folder) for folder in folders]):
        for name, (same, share) in rank.items():
            assert same, name
            assert share < 1.15 / count, (name, share)  # what has fewer rows than ranks is read by each


def test_what_is_not_safetensors_is_read_alone(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").touch()
    assert weight_files(tmp_path) == weight_files(None) == []
