"""The segments of a packed row, and what attention derives from them once for all layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from torch import Tensor

from clo.data.batch import Segment


@dataclass
class AttentionPlan:
    """The segments of a packed row, and what the attention function derives from them once for all layers."""

    segments: Sequence[Segment]
    calls: int = 0
    """Attention layers that used the plan; 0 after a forward pass: the model has an attention of its own."""
    _cache: dict[Any, Any] = field(default_factory=dict)

    def longest(self) -> int:
        """Keys of the longest segment."""
        return max(s.keys() for s in self.segments)

    def rows(self) -> list[list[Segment]]:
        """The segments of each prompt."""
        rows: list[list[Segment]] = []
        for segment in self.segments:
            if segment.prefix[0] == segment.prefix[1]:
                rows.append([])
            rows[-1].append(segment)
        return rows

    def longest_row(self) -> int:
        """Tokens of the longest prompt with all its responses."""
        return max(row[-1].stop - row[0].start for row in self.rows())

    def own(self, x: Tensor, dim: int) -> tuple[Tensor, ...]:
        """The tokens of each segment; going back through a split is one concatenation, through slices a fill each."""
        return x.split([s.stop - s.start for s in self.segments], dim)

    def seen(self, x: Tensor, dim: int) -> list[list[Tensor]]:
        """The pieces of the row that each segment's queries see, in order; views, without indexing."""
        sizes, wanted = self.cached("pieces", self._pieces)
        pieces = x.split(sizes, dim)
        return [[pieces[k] for k in places] for places in wanted]

    def shares(self) -> bool:
        """Whether some prompt is seen by more than one segment."""
        return any(s.prefix[0] != s.prefix[1] for s in self.segments)

    def _pieces(self) -> tuple[list[int], list[list[int]]]:
        """Sizes of the pieces between all ends of segments and prompts, and those that each segment sees."""
        cuts = sorted({place for s in self.segments for place in (s.start, s.stop, *s.prefix)})
        number = {place: k for k, place in enumerate(cuts)}
        sizes = [stop - start for start, stop in pairwise(cuts)]
        ranges = [((*s.prefix,), (s.start, s.stop)) for s in self.segments]
        return sizes, [[k for a, b in pair for k in range(number[a], number[b])] for pair in ranges]

    def cached(self, key: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` returned for this key."""
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]


@dataclass(frozen=True)
class How:
    """What a layer asks for beside queries, keys and values."""

    scale: float | None
    """Factor of the logits; none is D ** -0.5."""
    dropout: float
    window: int | None
    """Tokens that a query sees, itself included; none is all."""


def autocast_dtype(device: str) -> Any:
    """The dtype that matrix products are to take on this kind of device, where autocast is on; else none."""
    import torch

    return torch.get_autocast_dtype(device) if device != "meta" and torch.is_autocast_enabled(device) else None
