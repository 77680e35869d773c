"""Holding the source language to the stage's start: the divergence of the policy from it on the source's own answers.

    KL(p || q) = sum of p (log p - log q) over the K tokens that the start holds most likely, and all others as one

p is the start's distribution at a response token of cell (0, 0), q the policy's. Others taken as one can only lower a
divergence (the data processing inequality): this is a lower bound of the whole one, 0 where both are equal. The start's
K log-probs are computed once and kept on disk by blocks of items, as reference scores are.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from clo.data.batch import Cell, on_device
from clo.data.items import Item
from clo.square.losses import below_one, log1mexp
from clo.square.scores import batch_of, groups_of, score, without_dropout
from clo.square.share import Share
from clo.storage.claim import alone
from clo.storage.files import cannot_write
from clo.storage.ranks import Ranks

SOURCE: list[Cell] = [(0, 0)]
ROWS = 256
"""Tokens whose logits are held at a time."""


@dataclass(frozen=True)
class Likely:
    """The start's most likely tokens at each of T response tokens of the source, items one after the other."""

    ids_TK: Tensor
    """int64."""
    logp_TK: Tensor
    """float32, nats."""


def likely_of_all(parts: Sequence[Likely], device: Any) -> Likely:
    """Those of several items, in their order, on a device."""
    ids, logp = torch.cat([part.ids_TK for part in parts]), torch.cat([part.logp_TK for part in parts])
    return Likely(on_device(ids, device), on_device(logp, device))


def divergence(likely: Likely, head: Any, states_TH: Tensor) -> Tensor:
    """KL at each response token, nats, [T] in the width of the scores; gradients flow into the states.

    Args:
        likely: what the start gave, K tokens each.
        head: maps states to logits.
        states_TH: the policy's states at those tokens.
    """

    def part(states_tH: Tensor, ids_tK: Tensor, logp_tK: Tensor) -> Tensor:
        q_tK = _log_probs(head, states_tH).gather(1, ids_tK)
        p_tK = logp_tK.to(q_tK.dtype)
        p_rest_t, q_rest_t = (log1mexp(below_one(x_tK.logsumexp(1))) for x_tK in (p_tK, q_tK))
        return (p_tK.exp() * (p_tK - q_tK)).sum(1) + p_rest_t.exp() * (p_rest_t - q_rest_t)

    pieces = zip(*(x.split(ROWS) for x in (states_TH, likely.ids_TK, likely.logp_TK)), strict=True)
    return torch.cat([checkpoint(part, *piece, use_reentrant=False) for piece in pieces])


def most_likely(count: int, head: Any, states_TH: Tensor) -> Likely:
    """The ``count`` most likely tokens at each state (all of a smaller vocabulary), on the CPU."""
    found = []
    for states_tH in states_TH.split(ROWS):
        logp_tV = _log_probs(head, states_tH)
        found.append(logp_tV.topk(min(count, logp_tV.shape[1]), dim=1))
    return Likely(torch.cat([f.indices for f in found]).cpu(), torch.cat([f.values for f in found]).float().cpu())


def _log_probs(head: Any, states_tH: Tensor) -> Tensor:
    logits_tV = head(states_tH)
    wide: Tensor = logits_tV.to(torch.promote_types(logits_tV.dtype, torch.float32))
    return wide.log_softmax(1)


@torch.no_grad()
def likely_tokens(
    model: Any,
    items: Sequence[Item],
    count: int,
    max_tokens: int,
    ranks: Ranks = Ranks(),  # noqa: B008  # a frozen value
) -> list[Likely]:
    """What a model holds most likely at every response token of each item's source answer.

    Args:
        model: the start, as it is now.
        items: in any order.
        count: tokens kept at each position.
        max_tokens: tokens per forward pass.
        ranks: share the passes, with whole weights each; all get all.
    """
    found: dict[int, Likely] = {}
    with without_dropout(model):
        for group in ranks.of(groups_of(model, items, SOURCE, max_tokens)):
            batch = batch_of(model, [items[k] for k in group], SOURCE)
            whole: Likely = score(model, batch, partial(most_likely, count)).source
            lengths = [len(items[k].response(0)) for k in group]
            for k, ids, logp in zip(group, whole.ids_TK.split(lengths), whole.logp_TK.split(lengths), strict=True):
                found[k] = Likely(ids, logp)
    found = ranks.together(found)
    return [found[k] for k in range(len(items))]


class LikelyCache:
    """Most likely tokens per block of consecutive items, a file each, whole or not there.

    Args:
        folder: where the files lie.
        key: content hash of the weights and the precision, see :func:`clo.square.reference.weights_key`.
        count: tokens kept at each position.
        block: items of a block.
    """

    def __init__(self, folder: Path, key: str, count: int, block: int) -> None:
        self.folder, self.count, self.block = folder / f"{key}-top{count}", count, block

    def tokens(
        self,
        model: Any,
        items: Sequence[Item],
        max_tokens: int,
        share: Share = Share(),  # noqa: B008  # a frozen value
    ) -> dict[str, Likely]:
        """Most likely tokens by item key, made where they are not on disk yet; another rank's part is left out.

        Args:
            model: the start itself, as it is now.
            items: in nested order, so that smaller sets share blocks with larger ones.
            max_tokens: tokens per forward pass.
            share: the blocks that are made here.

        Raises:
            UserError: the place cannot be written.
        """
        blocks = [items[start : start + self.block] for start in range(0, len(items), self.block)]
        paths = [self._path(block, max_tokens) for block in blocks]
        if share.ranks > 1 or all(path.is_file() for path in paths):
            return self._tokens(model, blocks, paths, max_tokens, share)
        # Sizes are nested: who shares any block shares the first.
        with alone(paths[0].with_suffix(".lock")):
            return self._tokens(model, blocks, paths, max_tokens, share)

    def _tokens(
        self, model: Any, blocks: Sequence[Sequence[Item]], paths: Sequence[Path], max_tokens: int, share: Share
    ) -> dict[str, Likely]:
        kept = [_read(path, block) for path, block in zip(paths, blocks, strict=True)]
        missing = [k for k in share.of(range(len(blocks))) if kept[k] is None]
        share.keep_company(model, [*(blocks[k] for k in missing), blocks[0][:1]], SOURCE, max_tokens)
        for k in missing:
            kept[k] = likely_tokens(model, blocks[k], self.count, max_tokens)
            _write(paths[k], kept[k] or [])
        found: dict[str, Likely] = {}
        for block, parts in zip(blocks, kept, strict=True):
            found |= {item.key(): part for item, part in zip(block, parts or [], strict=bool(parts))}
        return found

    def _path(self, block: Sequence[Item], max_tokens: int) -> Path:
        text = repr((max_tokens, [item.key() for item in block]))
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"


def _write(path: Path, parts: Sequence[Likely]) -> None:
    from safetensors.torch import save

    whole = likely_of_all(parts, "cpu")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(save({"ids": whole.ids_TK.int(), "logp": whole.logp_TK}))
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path, block: Sequence[Item]) -> list[Likely] | None:
    """What a file holds for these items; none where there is none, or a broken one: it is made again."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        found = load(path.read_bytes())
        lengths = [len(item.response(0)) for item in block]
        return [
            Likely(ids.long(), logp)
            for ids, logp in zip(found["ids"].split(lengths), found["logp"].split(lengths), strict=True)
        ]
    except (OSError, SafetensorError, KeyError, RuntimeError):
        return None
