"""The order of items: every item once per epoch, another order each epoch, continued exactly from any step."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_runs import random_items

from clo.data.datamodule import Replay, SquareDataModule, StepSampler, stage_steps, steps_per_epoch


def order(items: int = 14, batch: int = 4, steps: int = 12, seed: int = 0, start: int = 0) -> list[list[int]]:
    sampler = StepSampler(items, batch, steps, seed)
    sampler.start = start
    return list(sampler)


def test_every_item_once_per_epoch_with_a_smaller_last_batch() -> None:
    steps = order()
    assert [len(step) for step in steps] == [4, 4, 4, 2] * 3
    for epoch in (steps[:4], steps[4:8], steps[8:]):
        assert sorted(index for step in epoch for index in step) == list(range(14))


def test_epochs_and_seeds_differ_and_the_order_is_a_function_of_the_seed() -> None:
    steps = order()
    assert steps[:4] != steps[4:8] != steps[8:] != steps[:4]
    assert order() == steps
    assert order(seed=1) != steps
    # Seed 1's first epoch must not be seed 0's second: seeds would share all but one epoch.
    assert order(seed=1)[:4] not in (steps[4:8], steps[8:])


def test_a_longer_stage_begins_like_a_shorter_one() -> None:
    assert order(steps=20)[:12] == order(steps=12)


def test_replayed_rows_come_beside_the_items_and_go_on_where_they_were() -> None:
    """The items of a step are those of a run without; every row once per round; the same from any step on."""
    plain, sampler = order(), StepSampler(14, 4, 12, 0, Replay(5, 2))
    steps = list(sampler)
    assert [step[:-2] for step in steps] == plain
    rows = [index - 14 for step in steps for index in step[-2:]]
    for turn in range(4):
        assert sorted(rows[5 * turn : 5 * turn + 5]) == list(range(5))
    assert rows[:5] != rows[5:10]
    sampler.start = 7
    assert list(sampler) == steps[7:]
    many = list(StepSampler(14, 4, 2, 0, Replay(2, 5)))
    assert [len(step) for step in many] == [9, 9]


@settings(max_examples=80, deadline=None)
@given(items=st.integers(1, 40), batch=st.integers(1, 12), steps=st.integers(1, 30), data=st.data())
def test_starting_in_the_middle_continues(items: int, batch: int, steps: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, steps))
    whole = order(items, batch, steps, 5)
    assert len(whole) == steps
    assert order(items, batch, steps, 5, start) == whole[start:]
    per_epoch = steps_per_epoch(items, batch)
    counts = Counter(index for step in whole[: steps - steps % per_epoch] for index in step)
    assert all(count == steps // per_epoch for count in counts.values())
    assert all(0 < len(step) <= batch for step in whole)


def test_a_sampler_can_be_read_twice() -> None:
    sampler = StepSampler(14, 4, 6, 0)
    assert list(sampler) == list(sampler)
    assert len(sampler) == 6


@pytest.mark.parametrize(
    ("items", "batch", "epochs", "steps"),
    [(14, 4, 1, 4), (14, 4, 2, 8), (16, 4, 1, 4), (14, 4, 0.5, 2), (14, 4, 1.5, 6), (14, 4, 0.01, 1), (3, 64, 5, 5)],
)
def test_steps_of_a_stage(items: int, batch: int, epochs: float, steps: int) -> None:
    assert stage_steps(items, batch, epochs) == steps


def test_a_fraction_of_an_epoch_sees_items_once() -> None:
    seen = [index for step in order(steps=stage_steps(14, 4, 1.5)) for index in step]
    counts = Counter(seen)
    assert sum(counts.values()) == 14 + 8 and set(counts.values()) == {1, 2}


def test_loader_gives_the_sampled_items() -> None:
    train = random_items(14)
    data = SquareDataModule(train, train[:2], 4, 6, seed=0)
    expected = [[train[index] for index in step] for step in order(steps=6)]
    assert list(data.train_dataloader()) == expected


def test_state_continues_after_its_step() -> None:
    train = random_items(14)
    data = SquareDataModule(train, train[:2], 4, 6, seed=0)
    assert data.state_dict() == {"step": 0}
    whole = list(data.train_dataloader())
    data.load_state_dict({"step": 3})
    assert list(data.train_dataloader()) == whole[3:]
