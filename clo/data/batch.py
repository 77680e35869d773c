"""From items to tensors: the wanted cells of the square, packed into one row, or padded one sequence per cell.

Shape letters: B items, L languages of prompts, K candidate responses (the first L in the L languages), N tokens of the
packed row (or padded sequences), T positions, R response tokens. Cells that an item lacks are in no batch and no count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from clo.data.items import Item

if TYPE_CHECKING:
    from torch import Tensor

Cell = tuple[int, int]
"""(prompt, response): the first L responses are those in the languages of the L prompts."""


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
    """int64 (b, i, j): item, prompt, response."""
    shape: tuple[int, int, int]
    """B, L, K."""
    longest_response: int
    """Tokens of the longest response."""
    source_T: Tensor
    """int64, places of cell (0, 0)'s response tokens, item by item, among the ``N * longest_response`` last ones."""

    @property
    def size(self) -> int:
        """B."""
        return self.shape[0]

    def to(self, device: Any) -> PaddedBatch:
        """The same batch on another device."""
        names = ("ids_NT", "mask_NT", "response_NT", "cell_N3", "source_T")
        there: dict[str, Any] = {name: on_device(getattr(self, name), device) for name in names}
        return replace(self, **there)


def pad(items: Sequence[Item], cells: Sequence[Cell]) -> PaddedBatch:
    """Build the sequences of the wanted cells of every item."""
    import torch

    places = [(b, i, j) for b, there in enumerate(_present(items, cells)) for i, j in there]
    length = max(len(items[b].prompt(i)) + len(items[b].response(j)) for b, i, j in places)
    ids = torch.zeros(len(places), length, dtype=torch.int64)
    mask = torch.zeros(len(places), length, dtype=torch.int64)
    response = torch.zeros(len(places), length, dtype=torch.bool)
    for n, (b, i, j) in enumerate(places):
        tokens = items[b].prompt(i) + items[b].response(j)
        ids[n, length - len(tokens) :] = torch.tensor(tokens)
        mask[n, length - len(tokens) :] = 1
        response[n, length - len(items[b].response(j)) :] = True
    longest = max(len(items[b].response(j)) for b, _, j in places)
    ends = [((n + 1) * longest, len(items[b].response(0))) for n, (b, i, j) in enumerate(places) if i == j == 0]
    source = torch.tensor([k for end, count in ends for k in range(end - count, end)], dtype=torch.int64)
    return PaddedBatch(ids, mask, response, torch.tensor(places), shape_of(items), longest, source)


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
    """One row without padding: per prompt ``[x | y_1 | … | y_K]``, positions of every response restarting after x.

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
    """int64, cell of each response token: (b * L + i) * K + j."""
    shape: tuple[int, int, int]
    """B, L, K."""
    source_T: Tensor
    """int64, the token of the row that predicts each response token of cell (0, 0), item by item."""

    @property
    def size(self) -> int:
        """B."""
        return self.shape[0]

    def to(self, device: Any) -> PackedBatch:
        """The same batch on another device."""
        names = ("ids_1N", "positions_1N", "row_R", "target_R", "cell_R", "source_T")
        there: dict[str, Any] = {name: on_device(getattr(self, name), device) for name in names}
        return replace(self, **there)


def pack(items: Sequence[Item], cells: Sequence[Cell]) -> PackedBatch:
    """Build the packed row of the wanted cells of every item; a prompt is computed once for all its responses."""
    import torch

    shape = shape_of(items)
    _, languages, candidates = shape
    ids: list[int] = []
    positions: list[int] = []
    rows: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    segments: list[Segment] = []
    for b, (item, there) in enumerate(zip(items, _present(items, cells), strict=True)):
        wanted: dict[int, list[int]] = {}
        for i, j in there:
            wanted.setdefault(i, []).append(j)
        for i, responses in wanted.items():
            first, prompt = len(ids), item.prompt(i)
            ids += prompt
            positions += range(len(prompt))
            for j in responses:
                start, response = len(ids), item.response(j)
                ids += response[:-1]
                positions += range(len(prompt), len(prompt) + len(response) - 1)
                rows += [first + len(prompt) - 1, *range(start, len(ids))]
                targets += response
                owners += [(b * languages + i) * candidates + j] * len(response)
                if j == responses[0]:
                    segments.append(Segment(first, len(ids), (first, first)))
                elif len(response) > 1:
                    segments.append(Segment(start, len(ids), (first, first + len(prompt))))
    sources = [row for row, owner in zip(rows, owners, strict=True) if owner % (languages * candidates) == 0]
    tensors = [torch.tensor(values, dtype=torch.int64) for values in (ids, positions, rows, targets, owners, sources)]
    row, places, predicting, target, cell, of_source = tensors
    return PackedBatch(row[None], places[None], tuple(segments), predicting, target, cell, shape, of_source)


def shape_of(items: Sequence[Item]) -> tuple[int, int, int]:
    """(B, L, K) of items that have as many prompts and as many candidates each.

    Raises:
        ValueError: they have not.
    """
    kinds = {(len(item.prompts), len(item.responses)) for item in items}
    if len(kinds) != 1:
        raise ValueError(f"items of one batch have the same numbers of prompts and responses, got {sorted(kinds)}")
    ((languages, candidates),) = kinds
    return len(items), languages, candidates


def every_cell(items: Sequence[Item]) -> list[Cell]:
    """All L x K cells, row by row."""
    _, languages, candidates = shape_of(items)
    return [(i, j) for i in range(languages) for j in range(candidates)]


def _present(items: Sequence[Item], cells: Sequence[Cell]) -> list[Sequence[Cell]]:
    """Each item's cells; where there are none at all, one language's own of the first item: no pass is empty."""
    found = [item.present(cells) for item in items]
    if any(found):
        return found
    first = items[0].languages()[0]
    return [[(first, first)], *found[1:]]


def response_tokens(items: Sequence[Item], cells: Sequence[Cell]) -> int:
    """Response tokens of the items' cells, one that stands under two prompts counted twice."""
    return sum(len(item.response(j)) for item in items for _, j in item.present(cells))


def packed_tokens(item: Item, cells: Sequence[Cell]) -> int:
    """Tokens of an item's part of the packed row."""
    there = item.present(cells)
    prompts = sum(len(item.prompt(i)) for i in {i for i, _ in there})
    return prompts + sum(len(item.response(j)) - 1 for _, j in there)


def padded_tokens(items: Sequence[Item], cells: Sequence[Cell]) -> int:
    """Tokens of the items' padded sequences in one batch."""
    return sum(len(item.present(cells)) for item in items) * max(_width(item, cells) for item in items)


def _width(item: Item, cells: Sequence[Cell]) -> int:
    return max((len(item.prompt(i)) + len(item.response(j)) for i, j in item.present(cells)), default=0)


def micro_batches(
    items: Sequence[Item], cells: Sequence[Cell], max_tokens: int, is_packed: bool = True
) -> list[list[int]]:
    """Indices of items in groups of similar length that stay within ``max_tokens``, the longest first.

    An item that is over the budget by itself makes a group of its own. The groups are a function of the items alone.
    """
    width = [packed_tokens(item, cells) if is_packed else _width(item, cells) for item in items]
    rows = [1 if is_packed else len(item.present(cells)) for item in items]
    groups: list[list[int]] = []
    total = 0
    for index in sorted(range(len(items)), key=lambda k: -width[k]):  # the longest first: memory peaks at once
        # Padded rows are as wide as the group's first, packed ones only as long as they are.
        total += rows[index] * width[index if is_packed or not groups else groups[-1][0]]
        if not groups or total > max_tokens:
            groups.append([])
            total = rows[index] * width[index]
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
