"""A model that several ranks read together: each reads its rows of every tensor of the files, and they are exchanged.

A device then holds what it would have read by itself, and the disk, or the network before it, gives every byte once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clo.storage.ranks import Ranks

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 1 << 16
"""Values of a tensor that is worth the exchange; each rank reads smaller ones whole."""


def weight_files(folder: Path | None) -> list[Path]:
    """The safetensors files that transformers reads a folder's weights from; empty where it reads something else."""
    if folder is None:
        return []
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if not index.is_file():
        return []
    try:
        return sorted({folder / name for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []  # transformers will say what is wrong with it


def read_together(files: Sequence[Path], ranks: Ranks, device: Any) -> dict[str, Tensor]:
    """Every tensor of the files by name, whole, on this rank's device.

    Args:
        files: safetensors files, equal for all ranks.
        ranks: read together; torch.distributed's default group is theirs too.
        device: of this rank.
    """
    from safetensors import safe_open

    found: dict[str, Tensor] = {}
    for file in files:
        with safe_open(file, "pt") as opened:
            for name in sorted(opened.keys()):
                found[name] = _whole(opened.get_slice(name), ranks, device)
    return found


def _whole(stored: Any, ranks: Ranks, device: Any) -> Tensor:
    """A tensor of a file, of which this rank reads its rows."""
    import torch

    shape = stored.get_shape()
    if not shape or shape[0] < ranks.ranks or math.prod(shape) < LEAST:
        return part_of(stored, 0, None).to(device)
    rows = -(-shape[0] // ranks.ranks)
    first, last = (min(k * rows, shape[0]) for k in (ranks.rank, ranks.rank + 1))
    part = part_of(stored, first, last).to(device)
    sent = part if len(part) == rows else torch.cat([part, part.new_zeros(rows - len(part), *shape[1:])])
    whole = part.new_empty(rows * ranks.ranks, *shape[1:])
    single = getattr(torch.distributed, "all_gather_single", None) or torch.distributed.all_gather_into_tensor
    group = ranks.group if whole.device.type == "cpu" else None  # the default one knows devices
    single(whole.view(torch.uint8), sent.contiguous().view(torch.uint8), group)
    return whole[: shape[0]]


def part_of(stored: Any, first: int, last: int | None) -> Tensor:
    """Rows of a stored tensor, from the disk; all of one that has no rows."""
    part: Tensor = stored[first:last] if stored.get_shape() else stored[...]
    return part
