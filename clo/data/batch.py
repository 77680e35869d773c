"""From items to tensors: the wanted cells of the square as padded sequences.

Shape letters: B items, L languages, N sequences (one per wanted cell and item), T positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clo.data.items import Item

if TYPE_CHECKING:
    from torch import Tensor

Cell = tuple[int, int]
"""(language of the prompt, language of the response)."""


@dataclass(frozen=True)
class Batch:
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

    def to(self, device: object) -> Batch:
        """The same batch on another device."""
        names = ("ids_NT", "mask_NT", "response_NT", "cell_N3")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def collate(items: Sequence[Item], cells: Sequence[Cell]) -> Batch:
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
    return Batch(ids, mask, response, torch.tensor(places), len(items), len(items[0].prompts), longest)


def micro_batches(items: Sequence[Item], cells: Sequence[Cell], max_tokens: int) -> Iterator[list[int]]:
    """Indices of items in groups of similar length whose padded sequences stay within ``max_tokens``.

    An item that is over the budget by itself makes a group of its own. The groups are a function of the items alone.
    """
    lengths = [max(len(item.prompts[i]) + len(item.responses[j]) for i, j in cells) for item in items]
    group: list[int] = []
    for index in sorted(range(len(items)), key=lambda k: -lengths[k]):  # the longest first: memory peaks at once
        if group and lengths[group[0]] * len(cells) * (len(group) + 1) > max_tokens:
            yield group
            group = []
        group.append(index)
    if group:
        yield group
