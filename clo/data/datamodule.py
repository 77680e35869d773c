"""Mixed-language batches: one optimizer step's items at a time, in an order that a resumed run continues exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from clo.data.budgets import shares, targets_of
from clo.data.items import Item


class StepSampler(Sampler[list[int]]):
    """The items of every step of a stage: epoch after epoch, each a permutation by (seed, epoch).

    The stage is one pass over this sampler, however many epochs it spans, so a position in it is just a step number.
    """

    def __init__(self, items: int, batch_size: int, total_steps: int, seed: int) -> None:
        self.items, self.batch_size, self.total_steps, self.seed = items, batch_size, total_steps, seed
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
            yield order[position * self.batch_size : (position + 1) * self.batch_size]


class TargetSampler(Sampler[list[int]]):
    """The items of every step where targets are drawn by shares of their own, each through permutations of its items.

    Args:
        places: of each item, that of its target among the run's languages.
        shares: place -> share of the draws.
        batch_size: items per step.
        total_steps: of the stage.
        seed: decides the draws and the permutations.
    """

    def __init__(
        self, places: Sequence[int], shares: Mapping[int, float], batch_size: int, total_steps: int, seed: int
    ) -> None:
        self.places, self.shares = places, shares
        self.batch_size, self.total_steps, self.seed = batch_size, total_steps, seed
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
                yield batch

    def _stream(self, place: int) -> Iterator[int]:
        """Items of one target, epoch after epoch."""
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
        temperature: above 1, of items with one target each: the smaller targets are drawn more often, see `shares`.
    """

    def __init__(
        self,
        train: Sequence[Item],
        val: Sequence[Item],
        batch_size: int,
        total_steps: int,
        seed: int,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.train, self.val = train, val
        self.sampler: StepSampler | TargetSampler = StepSampler(len(train), batch_size, total_steps, seed)
        if temperature > 1:
            places = [place for item in train for place in targets_of(item)]
            self.sampler = TargetSampler(places, shares(train, temperature), batch_size, total_steps, seed)

    def train_dataloader(self) -> DataLoader[Item]:
        """One list of items per optimizer step."""
        return DataLoader(_Items(self.train), batch_sampler=self.sampler, collate_fn=_as_list)

    def state_dict(self) -> dict[str, int]:
        """Steps trained on, kept in the checkpoint."""
        return {"step": 0 if self.trainer is None else self.trainer.global_step}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue after the checkpoint's step."""
        self.sampler.start = state_dict["step"]
