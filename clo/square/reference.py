"""Reference scores of the square: computed once and kept on disk, or with the start weights swapped in.

Cached scores are kept per block of consecutive items. A block is always scored whole and in the same micro-batches, so
its numbers are a function of the weights, the token budget and the block alone: a run that was killed while filling the
cache, or that finds some blocks made by another run, trains on bit-equal references. Sizes are nested, so blocks are
shared by methods, lambda, beta, seeds and data sizes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clo.data.batch import Cell, shape_of
from clo.data.items import Item
from clo.model.layers import base_model
from clo.square.scores import score_within
from clo.square.share import Share
from clo.storage.claim import alone
from clo.storage.jsonl import append_lines, read_lines

BLOCK = 64
"""Items scored and stored together."""


def weights_key(model: Any, precision: str) -> str:
    """Content hash of all that the score of given tokens depends on.

    That is every weight, the model's configuration (rotary base, windows, caps, scales), the precision, and the
    versions of the libraries that compute.
    """
    versions = [version(name) for name in ("torch", "transformers", "peft")]
    digest = hashlib.sha256(json.dumps([precision, versions, _configuration(model)], sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(raw.numpy().data)
    return digest.hexdigest()[:32]


NO_MATTER = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version", "use_cache")
"""Of a configuration: where it came from, the dtype (that of the weights counts), and whether keys are kept."""


def _configuration(model: Any) -> dict[str, Any]:
    """What a forward pass reads beside the weights, as plain values."""

    def plain(node: Any) -> Any:
        if isinstance(node, dict):
            return {str(key): plain(value) for key, value in node.items() if key not in NO_MATTER}
        if isinstance(node, list | tuple):
            return [plain(value) for value in node]
        return node if node is None or isinstance(node, bool | int | float | str) else str(node)

    found: dict[str, Any] = plain(base_model(model).config.to_dict())
    return found


class ReferenceCache:
    """Scores per block, appended to one JSONL file per set of weights as they are made.

    Several processes may fill the same file: lines are appended whole, a torn last line is ignored and made again. One
    that finds another at the same items waits for it, but for ranks, which share the work.

    Args:
        folder: where the file lies.
        key: content hash of the weights and the precision, see :func:`weights_key`.
        cells: the scored cells; part of the key.
    """

    def __init__(self, folder: Path, key: str, cells: Sequence[Cell]) -> None:
        self.cells = list(cells)
        self.path = folder / f"{key}.jsonl"
        self._known: dict[str, list[list[float]]] = {}

    def scores(
        self,
        model: Any,
        items: Sequence[Item],
        max_tokens: int,
        share: Share = Share(),  # noqa: B008  # a frozen value
        progress: Callable[[int, int], None] | None = None,
        waits: Callable[[str], None] = lambda holder: None,
    ) -> dict[str, Tensor]:
        """Reference scores by item key, float32 [L, K], scored where they are not on disk yet.

        Args:
            model: the reference itself, as it is now.
            items: in nested order, so that smaller sets share blocks with larger ones.
            max_tokens: tokens per forward pass.
            share: the blocks that are scored here.
            progress: called with (blocks done, blocks to do).
            waits: told which process is waited for.
        """
        blocks = [items[start : start + BLOCK] for start in range(0, len(items), BLOCK)]
        if share.ranks > 1:
            return self._scores(model, blocks, max_tokens, share, progress)
        self._read()
        if all(self._block_key(block, max_tokens) in self._known for block in blocks):
            return self._scores(model, blocks, max_tokens, share, progress)
        # Sizes are nested: who shares any block shares the first.
        first = self._block_key(blocks[0], max_tokens)
        with alone(self.path.with_name(f".{self.path.stem}-{first}.lock"), waits):
            return self._scores(model, blocks, max_tokens, share, progress)

    def _scores(
        self,
        model: Any,
        blocks: Sequence[Sequence[Item]],
        max_tokens: int,
        share: Share,
        progress: Callable[[int, int], None] | None,
    ) -> dict[str, Tensor]:
        self._read()
        # Shared by position, not among the missing: another rank may have written before this one looked.
        missing = [b for b in share.of(blocks) if self._block_key(b, max_tokens) not in self._known]
        share.keep_company(model, [*missing, blocks[0][:1]], self.cells, max_tokens)
        budget = max_tokens
        for done, block in enumerate(missing, 1):
            scores, budget = score_within(model, block, self.cells, budget, alone=share.most is None)
            self._append(self._block_key(block, budget), scores.S_BLK)
            if progress is not None:
                progress(done, len(missing))
        _, *shape = shape_of([item for block in blocks for item in block])
        found: dict[str, Tensor] = {}
        for block in blocks:
            keys = [self._block_key(block, tokens) for tokens in dict.fromkeys((max_tokens, budget))]
            values = next((self._known[key] for key in keys if key in self._known), None)
            for k, item in enumerate(block if values is not None else []):
                assert values is not None
                R_LK = torch.zeros(shape)
                for (i, j), value in zip(self.cells, values[k], strict=True):
                    R_LK[i, j] = value
                found[item.key()] = R_LK
        return found

    def _block_key(self, block: Sequence[Item], max_tokens: int) -> str:
        return hashlib.sha256(repr((self.cells, max_tokens, [item.key() for item in block])).encode()).hexdigest()[:32]

    def _read(self) -> None:
        for record in read_lines(self.path):
            with contextlib.suppress(KeyError, TypeError):  # of another form: made again
                values = record["scores"]
                if all(math.isfinite(v) for row in values for v in row):
                    self._known[record["block"]] = values

    def _append(self, key: str, S_BLK: Tensor) -> None:
        values = [[float(S_LK[i, j]) for i, j in self.cells] for S_LK in S_BLK]
        self._known[key] = values
        append_lines(self.path, [{"block": key, "scores": values}])


def snapshot(model: torch.nn.Module) -> dict[str, Tensor]:
    """Copies of the weights that train, as they are now."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


@contextlib.contextmanager
def swapped(model: torch.nn.Module, start: dict[str, Tensor]) -> Iterator[None]:
    """Put the start weights in place of the trained ones; undo before any backward pass."""
    parameters = dict(model.named_parameters())
    kept = {name: parameters[name].data for name in start}
    try:
        for name, tensor in start.items():
            parameters[name].data = tensor.to(parameters[name].device)
        torch.clear_autocast_cache()  # it may hold casts of the other weights
        yield
    finally:
        for name, data in kept.items():
            parameters[name].data = data
        torch.clear_autocast_cache()
