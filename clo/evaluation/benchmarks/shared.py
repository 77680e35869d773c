"""One-token options of many rows: what prompts have in common at their beginning is computed once.

Few-shot examples are the same for nearly all rows, and two questions of BELEBELE ask about one passage. Prompts are
sorted, neighbours with a common beginning become ``[beginning | rest_1 | … | rest_n]`` of the packed row, and only the
last token of each is put through the head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clo.data.batch import PackedBatch, Segment
from clo.square.scores import halved, score, without_dropout

Ids = Sequence[int]


@dataclass(frozen=True, slots=True)
class Family:
    """Prompts with a common beginning."""

    members: tuple[int, ...]
    """Their places in the list of all prompts."""
    common: int
    """Tokens of the beginning; every member has at least one more."""

    def tokens(self, prompts: Sequence[Ids]) -> int:
        """Its tokens in the packed row."""
        return self.common + sum(len(prompts[k]) - self.common for k in self.members)


def families(prompts: Sequence[Ids], max_tokens: int) -> list[Family]:
    """Groups of prompts whose common beginning saves the most, each within ``max_tokens`` unless it is one prompt.

    Greedy over the sorted prompts: a neighbour joins where sharing what is left in common saves at least as many tokens
    as the group saved without it.
    """
    found: list[Family] = []
    for k in sorted(range(len(prompts)), key=lambda k: tuple(prompts[k])):
        if found:
            last = found[-1]
            joined = Family((*last.members, k), _common(last, prompts, k))
            saves = (len(joined.members) - 1) * joined.common >= max(1, (len(last.members) - 1) * last.common)
            if saves and joined.tokens(prompts) <= max_tokens:
                found[-1] = joined
                continue
        found.append(Family((k,), len(prompts[k]) - 1))
    return found


def _common(family: Family, prompts: Sequence[Ids], k: int) -> int:
    """Tokens that a family and one more prompt begin with, one less where that is a whole prompt."""
    first, other = prompts[family.members[0]], prompts[k]
    longest = min(family.common, len(other) - 1)
    return next((n for n in range(longest) if first[n] != other[n]), longest)


def score_one_token_options(
    model: Any, prompts: Sequence[Ids], options: Sequence[Sequence[int]], max_tokens: int
) -> Iterator[list[tuple[int, list[float]]]]:
    """Log-probs of single tokens after each prompt, pass by pass.

    Args:
        model: a causal language model that packs, see :func:`clo.square.scores.packs`.
        prompts: token ids; none is empty.
        options: per prompt the same number K of token ids.
        max_tokens: token budget of a forward pass; halved when memory runs out.

    Yields:
        (place of the prompt, K log-probs in nats) of the prompts of a pass.
    """
    import torch

    left = list(range(len(prompts)))
    while left:
        groups = families([prompts[k] for k in left], max_tokens)
        groups = [Family(tuple(left[k] for k in group.members), group.common) for group in groups]
        for batch in _passes(groups, prompts, max_tokens):
            members = [k for family in batch for k in family.members]
            try:
                values = _score(model, batch, prompts, options)
            except torch.OutOfMemoryError:
                if len(members) == 1:
                    raise
                max_tokens = halved(max_tokens)
                break
            gone = set(members)
            left = [k for k in left if k not in gone]
            yield list(zip(members, values, strict=True))


def _passes(groups: Sequence[Family], prompts: Sequence[Ids], max_tokens: int) -> list[list[Family]]:
    """Families in batches under the budget, the largest first: memory peaks at once."""
    batches: list[list[Family]] = []
    total = 0
    for family in sorted(groups, key=lambda family: -family.tokens(prompts)):
        total += family.tokens(prompts)
        if not batches or total > max_tokens:
            batches.append([])
            total = family.tokens(prompts)
        batches[-1].append(family)
    return batches


def _score(
    model: Any, groups: Sequence[Family], prompts: Sequence[Ids], options: Sequence[Sequence[int]]
) -> list[list[float]]:
    import torch

    batch = _packed(groups, prompts, options).to(next(model.parameters()).device)
    with torch.no_grad(), without_dropout(model):
        S_BLK = score(model, batch).S_BLK
    values: list[list[float]] = S_BLK[:, 0].double().cpu().tolist()
    return values


def _packed(groups: Sequence[Family], prompts: Sequence[Ids], options: Sequence[Sequence[int]]) -> PackedBatch:
    """The row of all families; option j of prompt b is the cell (b, 0, j)."""
    import torch

    members = [k for family in groups for k in family.members]
    count = len(options[members[0]])
    ids: list[int] = []
    positions: list[int] = []
    last: list[int] = []
    segments: list[Segment] = []
    for family in groups:
        first = len(ids)
        for k in family.members:
            start, begin = len(ids), family.common if len(ids) > first else 0
            ids += prompts[k][begin:]
            positions += range(begin, len(prompts[k]))
            segments.append(Segment(start, len(ids), (first, first + begin)))
            last.append(len(ids) - 1)
    cells = range(len(members) * count)
    return PackedBatch(
        torch.tensor([ids]),
        torch.tensor([positions]),
        tuple(segments),
        torch.tensor(last).repeat_interleave(count),
        torch.tensor([option for k in members for option in options[k]]),
        torch.tensor(cells),
        (len(members), 1, count),
        torch.tensor(last),
    )
