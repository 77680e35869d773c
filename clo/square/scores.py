"""Scores of the square: S[b, i, j] = log-prob of response j under prompt i, [B, L, K].

Two exact ways to the same numbers. Packed: one row without padding, each prompt computed once for all its responses,
logits at response positions only and never held whole. Padded: one left-padded sequence per cell, for models whose
attention cannot be packed, and as the plain version that the tests hold the packed one against.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from clo.data.batch import Cell, PackedBatch, PaddedBatch, every_cell, micro_batches, pack, pad
from clo.data.items import Item
from clo.errors import UserError
from clo.model.layers import LowerLayers, base_model
from clo.square.attention import packed, unpacked
from clo.square.attention_plan import AttentionPlan
from clo.square.head import token_log_probs
from clo.square.kinds import head_is_last, unpackable
from clo.storage.ranks import Ranks


def last_positions(count: int, device: Any) -> Tensor:
    """``logits_to_keep`` for the last positions, int64: as an index, which makes the hidden states a block of memory.

    Given as a number they stay a view with gaps, which a CPU multiplies row by row, with a copy of the head for each.
    """
    return torch.arange(-count, 0, device=device)


@dataclass(frozen=True)
class Scores:
    """Summed log-probs and token counts per cell; cells that are absent, or were not asked for, hold 0."""

    S_BLK: Tensor
    """float32, nats, summed over the response's tokens."""
    count_BLK: Tensor
    """float32, tokens of the response."""
    source: Any = None
    """What ``of_source`` made of the states at the response tokens of cell (0, 0)."""


OfSource = Callable[[Any, Tensor], Any]
"""(what maps states to logits, states [T, H] at the T response tokens of cell (0, 0), item by item) -> anything."""


def score_with_reference(
    model: Any, batch: PackedBatch | PaddedBatch, as_reference: Any, of_source: OfSource | None = None
) -> tuple[Scores, Scores]:
    """Score a batch with the policy, with gradients, and with its reference.

    What the frozen layers below the first trained one give is the same for both, and computed once.

    Args:
        model: the policy.
        batch: sequences on the model's device.
        as_reference: context in which the model is its reference.
        of_source: asked of the policy, see :func:`score`.
    """
    lower = LowerLayers(model)
    if not isinstance(batch, PackedBatch) or not lower.count:
        with torch.no_grad(), without_dropout(model), as_reference:
            reference = score(model, batch)
        return score(model, batch, of_source), reference
    with lower.kept() as found:
        policy = score(model, batch, of_source)
    with torch.no_grad(), without_dropout(model), as_reference, lower.skipped(found[0]):
        return policy, _packed_scores(model, batch)


def score(model: Any, batch: PackedBatch | PaddedBatch, of_source: OfSource | None = None) -> Scores:
    """Score the batch's cells with a causal language model.

    Args:
        model: a transformers causal language model (or PEFT around one).
        batch: sequences on the model's device.
        of_source: also asked, of cell (0, 0), which is then among the batch's.

    Returns:
        ``Scores`` of shape [B, L, K]; gradients flow into ``S_BLK`` where the model's parameters want them.
    """
    way: Any = _packed_scores if isinstance(batch, PackedBatch) else _padded_scores
    scores: Scores = way(model, batch, of_source)
    return scores


def _packed_scores(model: Any, batch: PackedBatch, of_source: OfSource | None = None) -> Scores:
    base = base_model(model)
    plan = AttentionPlan(batch.segments)
    with packed(model):
        hidden_NH = base.base_model(
            input_ids=batch.ids_1N, position_ids=batch.positions_1N, use_cache=False, plan=plan
        ).last_hidden_state[0]
    if not plan.calls:
        raise NotImplementedError("the model has an attention of its own")
    logp_R = token_log_probs(base.get_output_embeddings(), hidden_NH[batch.row_R], batch.target_R)
    shape = batch.shape
    S = logp_R.new_zeros(math.prod(shape)).index_add(0, batch.cell_R, logp_R)
    count = logp_R.new_zeros(math.prod(shape)).index_add(0, batch.cell_R, torch.ones_like(logp_R))
    source = None
    if of_source is not None:
        source = of_source(base.get_output_embeddings(), hidden_NH.index_select(0, batch.source_T))
    return Scores(S.view(shape), count.view(shape), source)


def _padded_scores(model: Any, batch: PaddedBatch, of_source: OfSource | None) -> Scores:
    keep = batch.longest_response + 1  # the position before the first response token predicts it
    positions_NT = (batch.mask_NT.cumsum(1) - 1).clamp(min=0)
    with unpacked(model):
        logits_NKV = model(
            input_ids=batch.ids_NT,
            attention_mask=batch.mask_NT,
            position_ids=positions_NT,
            logits_to_keep=last_positions(keep, batch.ids_NT.device),
            use_cache=False,
        ).logits
    logits_NKV = logits_NKV[:, -keep:-1]
    logits_NKV = logits_NKV.to(torch.promote_types(logits_NKV.dtype, torch.float32))
    target_NK = batch.ids_NT[:, -keep + 1 :]
    wanted_NK = batch.response_NT[:, -keep + 1 :]
    token_NK = logits_NKV.gather(2, target_NK[..., None])[..., 0] - logits_NKV.logsumexp(2)
    sums_N = (token_NK * wanted_NK).sum(1)
    shape = batch.shape
    S_BLK = sums_N.new_zeros(shape).index_put(tuple(batch.cell_N3.T), sums_N)
    count_BLK = sums_N.new_zeros(shape).index_put(tuple(batch.cell_N3.T), wanted_NK.sum(1).to(sums_N.dtype))
    source = None
    if of_source is not None:
        source = of_source(torch.nn.Identity(), logits_NKV.flatten(0, 1).index_select(0, batch.source_T))
    return Scores(S_BLK, count_BLK, source)


_packs: weakref.WeakKeyDictionary[torch.nn.Module, bool] = weakref.WeakKeyDictionary()


def packs(model: Any, item: Item) -> bool:
    """Whether the packed way gives this model's numbers; found out once, on the first item, against the padded way.

    Models with an attention of their own, or that change the logits after the head, do not; they take the padded way.

    Raises:
        UserError: neither way gives them.
    """
    if model not in _packs:
        agree = _agree(model, item)
        if not agree:
            _check_padding(model, item)
        _packs[model] = agree
        if not agree:
            print(f"{type(model).__name__} cannot be packed: scores take the padded way (same numbers, slower)")
    return _packs[model]


@torch.no_grad()
def _agree(model: Any, item: Item) -> bool:
    cells = item.present(every_cell([item]))
    device = next(model.parameters()).device
    batch = pad([item], cells).to(device)
    with without_dropout(model):
        if unpackable(model) or not head_is_last(model, batch):
            return False
        padded_way = score(model, batch)
        try:
            packed_way = score(model, pack([item], cells).to(device))
        except NotImplementedError:
            return False
    torch.clear_autocast_cache()  # it holds casts without a graph
    apart_BLK = (packed_way.S_BLK - padded_way.S_BLK).abs()
    per_token = torch.stack([apart_BLK[0, i, j] / padded_way.count_BLK[0, i, j] for i, j in cells])
    return bool((per_token <= (1e-3 if _exact(model) else 0.1)).all())  # refuses NaN too


def _exact(model: Any) -> bool:
    return bool(model.dtype == torch.float32 and not torch.is_autocast_enabled(model.device.type))


@torch.no_grad()
def _check_padding(model: Any, item: Item) -> None:
    """A sequence has the same score alone and beside longer ones; some recurrent models read padding as text."""
    cells = item.present(every_cell([item]))
    device = next(model.parameters()).device
    short = replace(item, prompts=tuple(ids and ids[-2:] for ids in item.prompts))
    with without_dropout(model):
        beside = score(model, pad([short, item], cells).to(device))
        for i, j in cells:
            apart = score(model, pad([short], [(i, j)]).to(device)).S_BLK[0, i, j] - beside.S_BLK[0, i, j]
            if float(apart.abs() / beside.count_BLK[0, i, j]) > (1e-3 if _exact(model) else 0.5):
                raise UserError(
                    f"{type(model).__name__} reads padding as text: what it gives a sequence depends on those beside "
                    "it, so its scores and answers would be wrong; choose another model.path"
                )


def batch_of(model: Any, items: Sequence[Item], cells: Sequence[Cell]) -> PackedBatch | PaddedBatch:
    """The items' cells in the way that suits the model, on its device."""
    make = pack if packs(model, items[0]) else pad
    return make(items, cells).to(next(model.parameters()).device)


def groups_of(model: Any, items: Sequence[Item], cells: Sequence[Cell], max_tokens: int) -> list[list[int]]:
    """Micro-batches of the items, see :func:`clo.data.batch.micro_batches`."""
    return micro_batches(items, cells, max_tokens, packs(model, items[0])) if items else []


@contextmanager
def without_dropout(model: Any) -> Iterator[None]:
    """Switch dropout off: references and measurements are those of the whole model, also between training steps."""
    active = [module for module in model.modules() if module.training]
    try:
        for module in active:
            module.training = False
        yield
    finally:
        for module in active:
            module.training = True


@torch.no_grad()
def score_items(
    model: Any,
    items: Sequence[Item],
    cells: Sequence[Cell],
    max_tokens: int,
    ranks: Ranks = Ranks(),  # noqa: B008  # a frozen value
) -> Scores:
    """Score items without gradients or dropout, in micro-batches, results on the CPU in the items' order.

    Several ranks, with whole weights each, share the micro-batches, which are those of one; all get all scores.
    """
    if ranks.ranks == 1:
        return score_within(model, items, cells, max_tokens)[0]
    found: dict[int, Any] = {}
    for group in ranks.of(groups_of(model, items, cells, max_tokens)):
        part = score_within(model, [items[k] for k in group], cells, max_tokens)[0]
        found |= dict(zip(group, zip(part.S_BLK.tolist(), part.count_BLK.tolist(), strict=True), strict=True))
    found = ranks.together(found)
    return Scores(*(torch.tensor([found[k][part] for k in range(len(items))]) for part in (0, 1)))


@torch.no_grad()
def score_within(
    model: Any, items: Sequence[Item], cells: Sequence[Cell], max_tokens: int, alone: bool = True
) -> tuple[Scores, int]:
    """As :func:`score_items`, and the token budget that the scores were made under: half, where memory ran out.

    Raises:
        torch.OutOfMemoryError: for a single item, or not ``alone``: other devices meet this one in every pass, and
            would wait for ever for one that takes more of them.
    """
    while True:
        groups = groups_of(model, items, cells, max_tokens)
        try:
            with without_dropout(model):
                parts = [score(model, batch_of(model, [items[k] for k in group], cells)) for group in groups]
            order = torch.tensor([k for group in groups for k in group]).argsort()
            S_BLK, count_BLK = (torch.cat([getattr(p, n) for p in parts]).cpu() for n in ("S_BLK", "count_BLK"))
            return Scores(S_BLK[order], count_BLK[order]), max_tokens
        except torch.OutOfMemoryError:
            if len(groups) == len(items) or not alone:
                raise
        max_tokens = halved(max_tokens)  # here the failed pass and all that it held are gone


def halved(max_tokens: int) -> int:
    """Half the token budget, after running out of memory; says so."""
    torch.cuda.empty_cache()
    print(f"out of memory: trainer.max_tokens halved to {max_tokens // 2}, repeated", flush=True)
    return max_tokens // 2
