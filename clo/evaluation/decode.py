"""Decoding many prompts at once, greedily or drawn: a row that is done leaves the batch, a waiting prompt enters.

For decoders whose whole memory is the keys and values of attention, full or with a sliding window. Rows are aligned at
their last token; what lies left of a row's first one is masked.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from clo.evaluation.loops import go_round, loop_of
from clo.evaluation.sampling import Sampling, drawn
from clo.model.layers import base_model, text_config
from clo.square.scores import last_positions

_NEW_SHARE = 4
"""Prompts enter when they are at least one in so many of the rows at work, or the last: a join copies the cache."""


@dataclass(frozen=True)
class Limits:
    """When an answer ends, and how much is computed at a time."""

    ends: Sequence[int]
    """Tokens that end an answer."""
    rooms: Sequence[int]
    """Longest answer to each prompt, tokens."""
    batch: int
    """Tokens of the rows at work, each at its longest; a row beyond it is alone."""
    forward: int
    """Padded tokens of prompts in one forward pass; a prompt beyond it is alone."""
    sampling: Sampling | None = None
    """How tokens are drawn; none takes the likeliest. Drawn answers are never taken for loops."""


@dataclass(frozen=True)
class Said:
    """One row's answer."""

    ids: list[int]
    """Its tokens, without the end."""
    looped: bool
    """Whether it fell into a loop, see `loops`."""


def decodes(model: Any) -> bool:
    """Whether `decode` can be used: the model's kind and configuration say that nothing but keys and values is kept.

    Models that prepare their inputs in a way of their own, keep a state (Mamba, hybrids), share or compress keys, or
    attend in chunks are left to their own ``generate``.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
    from transformers.generation.utils import GenerationMixin

    base = base_model(model)
    kind, config = type(base), base.config
    own = ("prepare_inputs_for_generation", "generate")
    if any(getattr(kind, name, None) is not getattr(GenerationMixin, name) for name in own):
        return False
    needed = {"attention_mask", "position_ids", "past_key_values", "use_cache"}
    if not needed <= set(inspect.signature(kind.forward).parameters) or config.is_encoder_decoder:
        return False
    if getattr(kind, "_is_stateful", False) or not kind._supports_default_dynamic_cache():
        return False
    decoder = text_config(model)
    if {*(getattr(decoder, "layer_types", None) or ())} - {"full_attention", "sliding_attention"}:
        return False
    if getattr(decoder, "attention_chunk_size", None) or getattr(decoder, "num_kv_shared_layers", 0):
        return False
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in DynamicCache(config=config).layers)


def decode(
    model: Any, prompts: Sequence[Sequence[int]], limits: Limits, ended: Callable[[int], None] | None = None
) -> list[Said]:
    """The continuation of every prompt.

    Args:
        model: one that `decodes`, in evaluation mode and without gradients.
        prompts: token ids, the longest first; prompts of similar length then share a forward pass.
        limits: as long as answers may be.
        ended: called with the number of rows that have ended, each time that some have.
    """
    batch = _Batch(model, prompts, limits)
    told = 0
    while batch.left():
        count = batch.fitting()
        if count:
            batch.enter(count)
        else:
            batch.step()
        if ended is not None and batch.done != told:
            told = batch.done
            ended(told)
    return [Said(ids, loops) for ids, loops in zip(batch.said, batch.loops, strict=True)]


class _Batch:
    """The rows at work with their cache, and the prompts that wait."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], limits: Limits) -> None:
        self._base, self._prompts, self._limits = base_model(model), prompts, limits
        self._device = next(model.parameters()).device
        takes_last = "logits_to_keep" in inspect.signature(self._base.forward).parameters
        self._keep = {"logits_to_keep": last_positions(1, self._device)} if takes_last else {}
        self._ends = frozenset(limits.ends)
        self._draws = [] if limits.sampling is None else [limits.sampling.draws(prompt) for prompt in prompts]
        self._sizes = [len(prompt) + room for prompt, room in zip(prompts, limits.rooms, strict=True)]
        self._next = 0
        self._rows: list[int] = []
        self._cache: Any = None
        self._columns = 0
        self.said: list[list[int]] = [[] for _ in prompts]
        self.loops = [False] * len(prompts)
        self.done = 0

    def left(self) -> bool:
        """Whether any row is not done."""
        return self.done < len(self._prompts)

    def fitting(self) -> int:
        """Number of waiting prompts that are to enter now."""
        waiting = range(self._next, len(self._prompts))
        widest, count = max((self._sizes[k] for k in self._rows), default=0), 0
        for k in waiting:
            widest = max(widest, self._sizes[k])
            if (len(self._rows) + count + 1) * widest > self._limits.batch:
                break
            count += 1
        if not self._rows:
            return max(count, 1)
        return count if _NEW_SHARE * count >= len(self._rows) or count == len(waiting) else 0

    def enter(self, count: int) -> None:
        """Read the next prompts, and let those enter that are not done with their first token."""
        parts, rows = ([(self._cache, self._columns)] if self._rows else []), list(self._rows)
        last = self._next + count
        while self._next < last:
            width = len(self._prompts[self._next])
            fit = max(1, self._limits.forward // width)
            chunk = list(range(self._next, min(last, self._next + fit)))
            self._next = chunk[-1] + 1
            cache, tokens = self._read(chunk)
            stay = self._hear(chunk, tokens)
            if stay:
                staying, columns = [chunk[k] for k in stay], width
                if len(stay) < len(chunk):
                    columns = max(map(self._length, staying))
                    _fit(cache, torch.tensor(stay, device=self._device), columns)
                parts.append((cache, columns))
                rows += staying
        self._rows = rows
        self._columns = max((columns for _, columns in parts), default=0)
        self._cache = _joined([cache for cache, _ in parts], self._columns) if parts else None

    def step(self) -> None:
        """One more token of every row at work."""
        lengths = torch.tensor([self._length(k) + 1 for k in self._rows], device=self._device)
        self._columns += 1
        ids = torch.tensor([[self.said[k][-1]] for k in self._rows], device=self._device)
        tokens = self._next_tokens(self._rows, self._forward(ids, lengths, self._cache))
        stay = self._hear(self._rows, tokens)
        if len(stay) < len(self._rows):
            self._rows = [self._rows[k] for k in stay]
            if stay:
                self._columns = max(map(self._length, self._rows))
                _fit(self._cache, torch.tensor(stay, device=self._device), self._columns)

    def _length(self, k: int) -> int:
        """Tokens of a row that are in the cache: all but its newest."""
        return len(self._prompts[k]) + len(self.said[k]) - 1

    def _read(self, rows: Sequence[int]) -> tuple[Any, list[int]]:
        from transformers import DynamicCache

        prompts = [self._prompts[k] for k in rows]
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), self._limits.ends[0])
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
        lengths = torch.tensor(list(map(len, prompts)), device=self._device)
        cache = DynamicCache(config=self._base.config)
        return cache, self._next_tokens(rows, self._forward(ids.to(self._device), lengths, cache))

    def _next_tokens(self, rows: Sequence[int], logits_rv: Tensor) -> list[int]:
        how = self._limits.sampling
        if how is None:
            return _likeliest(logits_rv)
        return drawn(logits_rv, how.temperature, [self._draws[k].random() for k in rows])

    def _forward(self, ids_rt: Tensor, lengths_r: Tensor, cache: Any) -> Tensor:
        """Logits of every row's next token, whose last tokens are given; all of it lies in the cache afterwards."""
        new = ids_rt.shape[1]
        columns = cache.get_seq_length() + new
        places_rc = torch.arange(columns, device=self._device) - (columns - lengths_r[:, None])
        out = self._base(
            input_ids=ids_rt,
            attention_mask=(places_rc >= 0).long(),
            position_ids=places_rc[:, -new:].clamp(min=0),
            past_key_values=cache,
            use_cache=True,
            **self._keep,
        )
        logits_rv: Tensor = out.logits[:, -1]
        return logits_rv

    def _hear(self, rows: Sequence[int], tokens: Sequence[int]) -> list[int]:
        """Write down one token of each row; places of the rows that are not done."""
        stay = []
        for place, (k, token) in enumerate(zip(rows, tokens, strict=True)):
            said, room = self.said[k], self._limits.rooms[k]
            if token not in self._ends:
                said.append(token)
                if not self._draws and loop_of(said):
                    self.loops[k] = True
                    said[:] = go_round(said, room)
                if len(said) < room:
                    stay.append(place)
        self.done += len(rows) - len(stay)
        return stay


def _likeliest(logits_rv: Tensor) -> list[int]:
    """The first of the largest values of each row; block by block on a CPU, whose argmax is not vectorised."""
    rows, words = logits_rv.shape
    block = math.gcd(words, 512)
    if logits_rv.device.type != "cpu" or block < 64:
        return logits_rv.argmax(-1).tolist()
    blocks_rbw = logits_rv.reshape(rows, -1, block)
    best_r = blocks_rbw.amax(-1).argmax(-1)
    inside_r = blocks_rbw[torch.arange(rows), best_r].argmax(-1)
    return (best_r * block + inside_r).tolist()


def _fit(cache: Any, rows: Tensor, columns: int) -> None:
    """Keep some rows of a cache, and its last columns."""
    for layer in cache.layers:
        if layer.is_initialized:
            kept = _kept(layer, columns)
            layer.keys = _aligned(layer.keys[rows], kept)
            layer.values = _aligned(layer.values[rows], kept)
            _count(layer, columns)


def _joined(caches: Sequence[Any], columns: int) -> Any:
    """One cache of the rows of all, aligned at their last column."""
    first = caches[0]
    if len(caches) == 1:
        return first
    for number, layer in enumerate(first.layers):
        if layer.is_initialized:
            parts, kept = [cache.layers[number] for cache in caches], _kept(layer, columns)
            layer.keys = torch.cat([_aligned(part.keys, kept) for part in parts])
            layer.values = torch.cat([_aligned(part.values, kept) for part in parts])
            _count(layer, columns)
    return first


def _kept(layer: Any, columns: int) -> int:
    """Columns that a layer keeps of so many; its window's last key is that of the token that asks."""
    return min(columns, layer.sliding_window - 1) if layer.is_sliding else columns


def _count(layer: Any, columns: int) -> None:
    if layer.is_sliding:
        layer.cumulative_length = columns


def _aligned(x_rhcd: Tensor, columns: int) -> Tensor:
    """So many columns, cut or filled with zeros on the left."""
    have = x_rhcd.shape[-2]
    return x_rhcd[..., have - columns :, :] if have >= columns else pad(x_rhcd, (0, 0, columns - have, 0))
