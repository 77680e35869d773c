"""Square items of three languages with further candidates and holes, and objectives over them."""

from __future__ import annotations

import torch
from tiny_runs import random_items

from clo.config.choices import Cells, NllReduction, PairReduction, Prompts
from clo.data.items import Item
from clo.square.comparisons import Comparison
from clo.square.objective import Objective

CODES = ("en", "ko", "sw")
FURTHER = (Comparison(0, 0, 3, "worse"), Comparison(1, 1, 4, "own"), Comparison(2, 2, 4, "own"))
"""Candidate 3 is a worse English answer, 4 one that two prompts share."""
EVERY = [
    Objective(3, nll, preference, 0.3, 0.4, *reductions, against=against, further=further, codes=CODES)
    for nll, preference in ((Cells.target, Prompts.both), (Cells.diagonal, Prompts.target), (Cells.none, Prompts.both))
    for reductions in zip(NllReduction, PairReduction, strict=True)
    for against in (None, (0,), (1,), (0, 2))
    for further in ((), FURTHER)
]


def holed_items(count: int, seed: int = 0, languages: int = 3, further: int = 2) -> list[Item]:
    """Items of which every one but the first three lacks some prompts and responses; the third has its source alone."""
    rng = torch.Generator().manual_seed(seed)
    items = []
    for k, item in enumerate(random_items(count, languages, seed)):
        more = random_items(1, further, seed=1000 + 10 * seed + k)[0].responses if further else ()
        draws = torch.rand(2 * languages + further, generator=rng).tolist()
        holes = [False] * len(draws) if k < 2 else [True] * len(draws) if k == 2 else [draw < 0.3 for draw in draws]
        holes[0] = holes[languages] = False
        prompts = [None if hole else ids for ids, hole in zip(item.prompts, holes, strict=False)]
        responses = [None if h else ids for ids, h in zip((*item.responses, *more), holes[languages:], strict=True)]
        items.append(Item(item.id, tuple(prompts), tuple(responses)))
    return items
