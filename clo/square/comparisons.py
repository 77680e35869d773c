"""Which comparisons there are in a batch: places in the square, found on the host from what the items hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from clo.data.batch import on_device
from clo.square.losses import Pairs

if TYPE_CHECKING:
    from clo.data.batch import Cell
    from clo.data.items import Item


class Comparison(NamedTuple):
    """Under one prompt one response is preferred over another."""

    prompt: int
    chosen: int
    rejected: int
    name: str = ""
    """What its values in the log are called; without one they are its prompt's, ``_en`` or ``_target``."""
    gap: float = 0.0
    """In a ranking: how far the chosen one's gain is above the rejected one's; 0 where each pair stands for itself."""

    def cells(self) -> tuple[Cell, Cell]:
        """The chosen one and the rejected one."""
        return (self.prompt, self.chosen), (self.prompt, self.rejected)

    def is_in(self, item: Item) -> bool:
        """Whether both of its cells are there."""
        return item.is_whole() or len(item.present(self.cells())) == 2


def logged(comparisons: Sequence[Comparison], codes: Sequence[str]) -> dict[str, list[int]]:
    """Name in the log -> the comparisons that are pooled under it, by number; none is empty.

    Args:
        comparisons: C of them.
        codes: of the languages, where every target has values of its own too; else empty.
    """
    plain = [(c, one.prompt) for c, one in enumerate(comparisons) if not one.name]
    found = {"en": [c for c, i in plain if i == 0], "target": [c for c, i in plain if i > 0]}
    found |= {code: [c for c, i in plain if i == place] for place, code in enumerate(codes) if place}
    for c, one in enumerate(comparisons):
        if one.name:
            found.setdefault(one.name, []).append(c)
    return {name: numbers for name, numbers in found.items() if numbers}


class Present:
    """The comparisons of a batch whose cells are there: all [B, C], or a list of P where some are absent.

    A batch that lacks some takes one copy to the device, which waits for nothing; a whole one takes none.

    Args:
        comparisons: C of them.
        items: of the batch; none where all of them are whole.
        codes: see `logged`.
        device: of the scores.
    """

    def __init__(
        self, comparisons: Sequence[Comparison], items: Sequence[Item] | None, codes: Sequence[str], device: Any
    ) -> None:
        self.comparisons, self.names = comparisons, logged(comparisons, codes)
        self._places_P: Tensor | None = None
        if items is None or all(item.is_whole() for item in items):
            return
        there = [(b, c) for b, item in enumerate(items) for c, one in enumerate(comparisons) if one.is_in(item)]
        lists = [[b * len(comparisons) + c for b, c in there]]
        for numbers in map(set, self.names.values()):
            lists.append([p for p, (_, c) in enumerate(there) if c in numbers])
        whole = on_device(torch.tensor([place for part in lists for place in part], dtype=torch.int64), device)
        self._places_P, *parts = whole.split([len(part) for part in lists])
        self._parts = dict(zip(self.names, parts, strict=True))

    def pairs(self, S_BLK: Tensor, R_BLK: Tensor | None, count_BLK: Tensor | None) -> Pairs:
        """What the loss compares, [B, C] or [P]."""
        chosen, rejected = self._sides(S_BLK)
        reference = (None, None) if R_BLK is None else self._sides(R_BLK)
        tokens = (None, None) if count_BLK is None else self._sides(count_BLK)
        return Pairs(chosen, rejected, *reference, *tokens)

    def kept(self, values_BC: Tensor) -> Tensor:
        """Values of all comparisons, without those of absent ones, [B, C] or [P]."""
        return values_BC if self._places_P is None else values_BC.flatten()[self._places_P]

    def of(self, name: str, values: Tensor) -> list[Tensor]:
        """The values, one per comparison, that are pooled under a name of the log."""
        if self._places_P is None:
            return [values[:, c] for c in self.names[name]]
        return [values[self._parts[name]]]

    def _sides(self, values_BLK: Tensor) -> tuple[Tensor, Tensor]:
        # By number, not by an index tensor: a copy to the device, and a question back, in every micro-batch.
        chosen_BC = torch.stack([values_BLK[:, one.prompt, one.chosen] for one in self.comparisons], 1)
        rejected_BC = torch.stack([values_BLK[:, one.prompt, one.rejected] for one in self.comparisons], 1)
        return self.kept(chosen_BC), self.kept(rejected_BC)
