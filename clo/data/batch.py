"""From items to tensors: the wanted cells of the square, packed into one row, or padded one sequence per cell.

Shape letters: B items, L languages, N tokens of the packed row (or padded sequences), T positions, R response tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from clo.data.items import Item

if TYPE_CHECKING:
    from torch import Tensor

Cell = tuple[int, int]
"""(language of the prompt, language of the response)."""


def on_device(tensor: Tensor, device: Any) -> Tensor:
    """The tensor on a device; a GPU takes it from pinned memory, else the copy waits for all that runs there."""
    import torch

    pinned = tensor.pin_memory() if torch.device(device).type == "cuda" else tensor
    return pinned.to(device, non_blocking=True)


@dataclass(frozen=True)
class PaddedBatch:
    """Sequences ``prompt_i + response_j``, padded on the left so that responses end together at T."""

    ids_NT: Tensor
    """int64 token ids; 0 on padding."""
    mask_NT: Tensor
    """int64, 1 on tokens, 0 on padding."""
    response_NT: Tensor
    """bool, true on response tokens (the end-of-turn token included)."""
    cell_N3: Tensor
    """int64 (b, i, j): item, language of the prompt, language of the response."""
    size: int
    """B."""
    languages: int
    """L."""
    longest_response: int
    """Tokens of the longest response."""
    source_T: Tensor
    """int64, places of cell (0, 0)'s response tokens, item by item, among the ``N * longest_response`` last ones."""

    def to(self, device: Any) -> PaddedBatch:
        """The same batch on another device."""
        names = ("ids_NT", "mask_NT", "response_NT", "cell_N3", "source_T")
        there: dict[str, Any] = {name: on_device(getattr(self, name), device) for name in names}
        return replace(self, **there)


def pad(items: Sequence[Item], cells: Sequence[Cell]) -> PaddedBatch:
    """Build the sequences of the wanted cells of every item."""
    import torch

    places = [(b, i, j) for b in range(len(items)) for i, j in cells]
    length = max(len(items[b].prompts[i]) + len(items[b].responses[j]) for b, i, j in places)
    ids = torch.zeros(len(places), length, dtype=torch.int64)
    mask = torch.zeros(len(places), length, dtype=torch.int64)
    response = torch.zeros(len(places), length, dtype=torch.bool)
    for n, (b, i, j) in enumerate(places):
        tokens = items[b].prompts[i] + items[b].responses[j]
        ids[n, length - len(tokens) :] = torch.tensor(tokens)
        mask[n, length - len(tokens) :] = 1
        response[n, length - len(items[b].responses[j]) :] = True
    longest = max(len(items[b].responses[j]) for b, _, j in places)
    ends = [((n + 1) * longest, len(items[b].responses[0])) for n, (b, i, j) in enumerate(places) if i == j == 0]
    source = torch.tensor([k for end, count in ends for k in range(end - count, end)], dtype=torch.int64)
    return PaddedBatch(ids, mask, response, torch.tensor(places), len(items), len(items[0].prompts), longest, source)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the packed row whose tokens see each other causally, after a prompt that all of them see."""

    start: int
    """First token of the row that is its own."""
    stop: int
    """One past its last."""
    prefix: tuple[int, int]
    """(first, one past the last) token of the shared prompt; empty where the prompt is the segment's own beginning."""

    def keys(self) -> int:
        """Tokens that its last token sees, itself included."""
        return self.stop - self.start + self.prefix[1] - self.prefix[0]


@dataclass(frozen=True)
class PackedBatch:
    """One row without padding: per prompt ``[x | y_1 | … | y_L]``, positions of every response restarting after x.

    The last token of a response predicts nothing, so it is a target but no input.
    """

    ids_1N: Tensor
    """int64 token ids."""
    positions_1N: Tensor
    """int64 positions."""
    segments: tuple[Segment, ...]
    row_R: Tensor
    """int64, the token of the row that predicts each response token."""
    target_R: Tensor
    """int64, the response tokens."""
    cell_R: Tensor
    """int64, cell of each response token: (b * L + i) * L + j."""
    size: int
    """B."""
    languages: int
    """L."""
    source_T: Tensor
    """int64, the token of the row that predicts each response token of cell (0, 0), item by item."""

    def to(self, device: Any) -> PackedBatch:
        """The same batch on another device."""
        names = ("ids_1N", "positions_1N", "row_R", "target_R", "cell_R", "source_T")
        there: dict[str, Any] = {name: on_device(getattr(self, name), device) for name in names}
        return replace(self, **there)


def pack(items: Sequence[Item], cells: Sequence[Cell]) -> PackedBatch:
    """Build the packed row of the wanted cells of every item; a prompt is computed once for all its responses."""
    import torch

    languages = len(items[0].prompts)
    wanted: dict[int, list[int]] = {}
    for i, j in cells:
        wanted.setdefault(i, []).append(j)
    ids: list[int] = []
    positions: list[int] = []
    rows: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    segments: list[Segment] = []
    for b, item in enumerate(items):
        for i, responses in wanted.items():
            first, prompt = len(ids), item.prompts[i]
            ids += prompt
            positions += range(len(prompt))
            for j in responses:
                start, response = len(ids), item.responses[j]
                ids += response[:-1]
                positions += range(len(prompt), len(prompt) + len(response) - 1)
                rows += [first + len(prompt) - 1, *range(start, len(ids))]
                targets += response
                owners += [(b * languages + i) * languages + j] * len(response)
                if j == responses[0]:
                    segments.append(Segment(first, len(ids), (first, first)))
                elif len(response) > 1:
                    segments.append(Segment(start, len(ids), (first, first + len(prompt))))
    source = [row for row, owner in zip(rows, owners, strict=True) if owner % languages**2 == 0]
    tensors = [torch.tensor(values, dtype=torch.int64) for values in (ids, positions, rows, targets, owners, source)]
    row, places, predicting, target, cell, from_source = tensors
    sizes = len(items), languages
    return PackedBatch(row[None], places[None], tuple(segments), predicting, target, cell, *sizes, from_source)


def packed_tokens(item: Item, cells: Sequence[Cell]) -> int:
    """Tokens of an item's part of the packed row."""
    prompts = sum(len(item.prompts[i]) for i in {i for i, _ in cells})
    return prompts + sum(len(item.responses[j]) - 1 for _, j in cells)


def padded_tokens(item: Item, cells: Sequence[Cell]) -> int:
    """Tokens of an item's padded sequences when it is alone."""
    return len(cells) * max(len(item.prompts[i]) + len(item.responses[j]) for i, j in cells)


def micro_batches(
    items: Sequence[Item], cells: Sequence[Cell], max_tokens: int, is_packed: bool = True
) -> list[list[int]]:
    """Indices of items in groups of similar length that stay within ``max_tokens``, the longest first.

    An item that is over the budget by itself makes a group of its own. The groups are a function of the items alone.
    """
    cost = [packed_tokens(item, cells) if is_packed else padded_tokens(item, cells) for item in items]
    groups: list[list[int]] = []
    total = 0
    for index in sorted(range(len(items)), key=lambda k: -cost[k]):  # the longest first: memory peaks at once
        # Padded rows are as wide as the group's first, packed ones only as long as they are.
        total += cost[index] if is_packed or not groups else cost[groups[-1][0]]
        if not groups or total > max_tokens:
            groups.append([])
            total = cost[index]
        groups[-1].append(index)
    return groups


def balanced(items: Sequence[Item], cells: Sequence[Cell], ranks: int) -> list[list[Item]]:
    """Each rank's items, about as many tokens for each: the longest first, to the rank with the fewest so far."""
    costs = [packed_tokens(item, cells) for item in items]
    loads, shares = [0] * ranks, [list[int]() for _ in range(ranks)]
    for index in sorted(range(len(items)), key=lambda k: -costs[k]):
        rank = loads.index(min(loads))
        loads[rank] += costs[index]
        shares[rank].append(index)
    return [[items[k] for k in sorted(share)] for share in shares]
