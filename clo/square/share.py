"""Scoring that several ranks share, whether or not they meet in every pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clo.data.batch import Cell
from clo.data.items import Item
from clo.square.scores import groups_of, score_within
from clo.storage.ranks import Ranks


@dataclass(frozen=True)
class Share(Ranks):
    """This rank's part of work that all ranks do."""

    most: Callable[[int], int] | None = None
    """Ranks that meet in every pass: (passes of this rank) -> those of the rank with most of them."""

    def keep_company(
        self, model: Any, blocks: Sequence[Sequence[Item]], cells: Sequence[Cell], max_tokens: int
    ) -> None:
        """Passes on a single item, as many as another rank has more of, before this one's own.

        Args:
            model: of the passes.
            blocks: what this rank has to score, maybe nothing, and last an item for the passes that nobody needs.
            cells: that are scored.
            max_tokens: the token budget.
        """
        if self.most is None:
            return
        *own, spare = blocks
        passes = sum(len(groups_of(model, block, cells, max_tokens)) for block in own)
        for _ in range(self.most(passes) - passes):
            score_within(model, spare[:1], cells, max_tokens, alone=False)
