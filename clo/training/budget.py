"""The token budget of a stage, agreed once before its first step: what the fullest micro-batch leaves room for.

Ranks that meet in every pass would wait for ever for one that has run out of memory, so nobody may run out later: every
rank tries the largest micro-batch that the data can make, without the others, and the least of them counts for all, in
training, scoring and generation alike.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch

from clo.data.batch import Cell, packed_tokens, shape_of
from clo.data.items import Item
from clo.errors import UserError
from clo.square.anchor import Likely
from clo.square.objective import Objective
from clo.square.scores import groups_of
from clo.training.terms import Scorer


@dataclass(frozen=True)
class Budget:
    """What was agreed."""

    max_tokens: int
    """Tokens of a forward pass."""
    share: float = 1.0
    """Of the budget that was asked for; generation takes as much of its own."""
    said: str = ""
    """For the run's log; empty where nothing was tried."""


def limited(device: torch.device) -> bool:
    """Whether a device has a memory of its own that can be found out by trying; a CPU's is the whole machine's."""
    return device.type == "cuda"


@dataclass(frozen=True)
class Trial:
    """What is tried."""

    prepare: Callable[[], Scorer]
    """Makes a scorer whose weights are those of the stage's start; asked again after a pass that broke off."""
    within: Callable[[Any], AbstractContextManager[Any]]
    """Of a model: the context that training passes over it are made in."""
    objective: Objective
    items: Sequence[Item]
    """All that the stage trains on."""
    asked: int
    """Tokens of a forward pass."""
    batch_size: int
    """Items of a step, of all ranks."""


def agreed(trial: Trial) -> tuple[Scorer, Budget]:
    """The largest of what was asked, its half, its quarter … at which every rank can train on the largest micro-batch.

    Raises:
        UserError: some rank has no memory for a single item.
    """
    scorer, cells, budget = trial.prepare(), trial.objective.cells(), trial.asked
    engine = scorer.engine
    if not limited(engine.device):
        return scorer, Budget(budget)
    while True:
        largest = largest_group(engine.model, trial.items, cells, budget, trial.batch_size)
        with trial.within(engine.model):
            fits = _fits(scorer, trial.objective, largest)
        if engine.agree(fits):
            break
        if len(largest) == 1:
            raise UserError(
                f"out of memory: the longest item has {packed_tokens(largest[0], cells):,} tokens, and a device has no "
                "room to train on it alone; set trainer.gradient_checkpointing=true, tuning=attention_lora or a lower "
                "model.max_length"
            )
        budget //= 2
        engine.finish()  # split weights that broke off within a pass cannot go on: they are put together and split anew
        del scorer, engine
        gc.collect()
        scorer = trial.prepare()
        engine = scorer.engine
    tokens = sum(packed_tokens(item, cells) for item in largest)
    lower = "" if budget == trial.asked else f" ({trial.asked:,} did not fit)"
    told = f"token budget: {budget:,} per forward pass{lower}"
    where = "the device" if engine.ranks == 1 else f"each of {engine.ranks} devices"
    tried = f"{where} has room for the largest micro-batch, {tokens:,} tokens in {len(largest)} items"
    return scorer, Budget(budget, budget / trial.asked, f"{told}; {tried}")


def largest_group(
    model: Any, items: Sequence[Item], cells: Sequence[Cell], max_tokens: int, batch_size: int
) -> list[Item]:
    """A micro-batch as large as any that a step can make of the items: groups of similar length, filled up.

    Args:
        model: decides how items share a pass.
        items: all that is trained on.
        cells: that are scored.
        max_tokens: the budget.
        batch_size: a step has no more items.
    """
    groups = [group[:batch_size] for group in groups_of(model, items, cells, max_tokens)]  # the longest come first
    sizes = [sum(packed_tokens(items[k], cells) for k in group) for group in groups]
    largest = [items[k] for k in groups[sizes.index(max(sizes))]]
    longest = sorted(items, key=lambda item: -packed_tokens(item, cells))[:batch_size]
    room = min(max_tokens, sum(packed_tokens(item, cells) for item in longest)) - max(sizes)
    return [*largest, _cut(longest[0], cells, room)] if len(largest) < batch_size and room > LEAST else largest


LEAST = 8
"""Tokens that are not worth a filler."""


def _cut(item: Item, cells: Sequence[Cell], tokens: int) -> Item:
    """An item whose texts are cut so that together they have so many tokens at most, or hardly more."""
    share = min(1.0, tokens / packed_tokens(item, cells))
    prompts, responses = (
        tuple(None if ids is None else ids[: max(1, int(share * len(ids)))] for ids in texts)
        for texts in (item.prompts, item.responses)
    )
    return replace(item, id=f"{item.id} cut", prompts=prompts, responses=responses)


def _fits(scorer: Scorer, objective: Objective, items: Sequence[Item]) -> bool:
    """Whether this rank has memory for a step on these items: moments, earlier gradients, forward and backward."""
    engine = scorer.engine
    try:
        _try(scorer, objective, items)
        fits = True
    except torch.OutOfMemoryError:
        fits = False
    engine.forget()  # here the failed pass and all that it held are gone
    if engine.device.type == "cuda":
        torch.cuda.empty_cache()
    return fits


def _try(scorer: Scorer, objective: Objective, items: Sequence[Item]) -> None:
    engine = scorer.engine
    moments = [torch.empty_like(p) for p in engine.trained() for _ in range(2)]
    for parameter in engine.trained():
        parameter.grad = torch.zeros_like(parameter)
    tried = Scorer(engine, scorer.mode, scorer.start)
    _, *shape = shape_of(items)
    tried.references = {item.key(): torch.zeros(shape) for item in items}
    tried.likely = {item.key(): _unlikely(item) for item in items} if objective.anchor else {}
    with engine.alone():
        terms = tried.terms(items, objective)
        engine.backward(objective.loss(terms, objective.denominators(items)))
    del moments


def _unlikely(item: Item) -> Likely:
    """As much as the start's most likely tokens, without asking it."""
    tokens = len(item.response(0))
    return Likely(torch.zeros(tokens, 1, dtype=torch.int64), torch.full((tokens, 1), -1.0))
