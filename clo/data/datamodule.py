"""Mixed-language batches: one optimizer step's items at a time, in an order that a resumed run continues exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from clo.data.budgets import columns_of, shares
from clo.data.items import Item


@dataclass(frozen=True)
class Replay:
    """Which of some further rows come into a step: round after round, each a permutation by (seed, round)."""

    rows: int = 0
    per_step: int = 0

    def of_step(self, step: int, seed: int) -> list[int]:
        """Their numbers; a function of the step alone, so that a resumed run goes on with the next ones."""
        found: list[int] = []
        orders: dict[int, list[int]] = {}
        for place in range(step * self.per_step, (step + 1) * self.per_step):
            turn, k = divmod(place, self.rows)
            if turn not in orders:
                generator = torch.Generator().manual_seed((1 << 60) + (seed << 20) + turn)
                orders[turn] = torch.randperm(self.rows, generator=generator).tolist()
            found.append(orders[turn][k])
        return found


NO_REPLAY = Replay()


class StepSampler(Sampler[list[int]]):
    """The items of every step of a stage: epoch after epoch, each a permutation by (seed, epoch).

    The stage is one pass over this sampler, however many epochs it spans, so a position in it is just a step number.
    """

    def __init__(self, items: int, batch_size: int, total_steps: int, seed: int, replay: Replay = NO_REPLAY) -> None:
        self.items, self.batch_size, self.total_steps, self.seed = items, batch_size, total_steps, seed
        self.replay = replay
        self.start = 0
        """First step to yield; set on resume."""

    def __len__(self) -> int:
        return self.total_steps

    def __iter__(self) -> Iterator[list[int]]:
        per_epoch = steps_per_epoch(self.items, self.batch_size)
        order: list[int] = []
        for step in range(self.start, self.total_steps):
            epoch, position = divmod(step, per_epoch)
            if not order or position == 0:
                generator = torch.Generator().manual_seed((self.seed << 20) + epoch)
                order = torch.randperm(self.items, generator=generator).tolist()
            own = order[position * self.batch_size : (position + 1) * self.batch_size]
            yield [*own, *(self.items + k for k in self.replay.of_step(step, self.seed))]


class TargetSampler(Sampler[list[int]]):
    """The items of every step where columns are drawn by shares of their own, each through permutations of its items.

    Args:
        places: of each item, the number of its column: of its target among the run's languages, see `columns_of`.
        shares: column -> share of the draws.
        plain: says how long the stage is, how large a step, and what is replayed in it.
    """

    def __init__(self, places: Sequence[int], shares: Mapping[int, float], plain: StepSampler) -> None:
        self.places, self.shares, self.plain = places, shares, plain
        self.batch_size, self.total_steps, self.seed = plain.batch_size, plain.total_steps, plain.seed
        self.start = 0
        """First step to yield; set on resume."""

    def __len__(self) -> int:
        return self.total_steps

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed << 20)
        weights = torch.tensor(list(self.shares.values()), dtype=torch.float64)
        draws = torch.multinomial(weights, self.total_steps * self.batch_size, True, generator=generator).tolist()
        streams = [self._stream(place) for place in self.shares]
        for step in range(self.total_steps):  # a resumed run draws what was used before, too
            batch = [next(streams[draw]) for draw in draws[step * self.batch_size : (step + 1) * self.batch_size]]
            if step >= self.start:
                yield [*batch, *(len(self.places) + k for k in self.plain.replay.of_step(step, self.seed))]

    def _stream(self, place: int) -> Iterator[int]:
        """Items of one column, epoch after epoch."""
        own = [index for index, target in enumerate(self.places) if target == place]
        for epoch in count():
            generator = torch.Generator().manual_seed((self.seed << 20) + (place << 14) + epoch)
            yield from (own[k] for k in torch.randperm(len(own), generator=generator).tolist())


def steps_per_epoch(items: int, batch_size: int) -> int:
    """Steps that see every item once; the last may be smaller."""
    return -(-items // batch_size)


def stage_steps(items: int, batch_size: int, epochs: float) -> int:
    """Steps of a stage, at least one."""
    return max(1, round(epochs * steps_per_epoch(items, batch_size)))


class _Items(Dataset[Item]):
    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Item:
        return self.items[index]


def _as_list(items: list[Item]) -> list[Item]:
    return items


class SquareDataModule(pl.LightningDataModule):
    """Training steps and held-out squares of one stage.

    Every rank is given all items of a step, since their token counts normalise the loss; the module takes its share.

    Args:
        train: items in nested order.
        val: held-out items, scored whole at every validation.
        batch_size: items per optimizer step, over all ranks.
        total_steps: steps of the stage.
        seed: decides the order.
        replayed: further items, and how many of them come into every step.
    """

    def __init__(
        self,
        train: Sequence[Item],
        val: Sequence[Item],
        batch_size: int,
        total_steps: int,
        seed: int,
        replayed: tuple[Sequence[Item], int] = ((), 0),
    ) -> None:
        super().__init__()
        more, per_step = replayed
        self.train, self.val, self.own = [*train, *more], val, len(train)
        self.batch_size = batch_size + per_step
        replay = Replay(len(more), per_step)
        self.plain = StepSampler(len(train), batch_size, total_steps, seed, replay)
        self.sampler: StepSampler | TargetSampler = self.plain

    def by_temperature(self, temperature: float) -> None:
        """Draw the smaller columns more often than by their size, see `columns_of` and `shares`."""
        places = columns_of(self.train[: self.own])
        self.sampler = TargetSampler(places, shares(places, temperature), self.plain)

    def train_dataloader(self) -> DataLoader[Item]:
        """One list of items per optimizer step."""
        return DataLoader(_Items(self.train), batch_sampler=self.sampler, collate_fn=_as_list)

    def state_dict(self) -> dict[str, int]:
        """Steps trained on, kept in the checkpoint."""
        return {"step": 0 if self.trainer is None else self.trainer.global_step}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue after the checkpoint's step."""
        self.sampler.start = state_dict["step"]
