"""Scores of runs as cubes [amounts, seeds, prompts]: means over the languages of a group, prompt by prompt."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from clo.report.guide.runs import Arm, MixtureRun, Mixtures, Scores

if TYPE_CHECKING:
    from clo.evaluation.dynamics import Array, Draws

SEEN, UNSEEN, SOURCE = "seen", "unseen", "source"
GROUPS = (SEEN, UNSEEN, SOURCE)
"""Languages that an arm trains beside the source, those it never trains, and the source."""


class Lab:
    """The scores of a study of mixtures, in cubes over the same seeds and prompts, which are resampled alike."""

    def __init__(self, mixtures: Mixtures) -> None:
        self.mixtures = mixtures
        self._cubes: dict[tuple[Arm, str, tuple[str, ...]], Array] = {}

    @cached_property
    def seeds(self) -> list[int]:
        """Of the whole study."""
        return sorted({run.seed for run in self.mixtures.runs})

    @cached_property
    def prompts(self) -> dict[str, list[str]]:
        """Task -> its prompts."""
        found: dict[str, set[str]] = {task: set() for task in self.mixtures.tasks}
        for run in self.mixtures.runs:
            for (task, _), own in run.ends.items():
                if task in found:
                    found[task].update(own)
        return {task: sorted(keys) for task, keys in found.items()}

    @cached_property
    def draws(self) -> dict[str, Draws]:
        """Task -> resamples: seeds are drawn alike in all tasks, prompts in each for itself."""
        from clo.evaluation.dynamics import Draws, draw

        of = draw(len(self.seeds), 1)
        return {
            task: Draws(of.seeds, draw(1, len(keys), seed=zlib.crc32(task.encode())).prompts, of.counts)
            for task, keys in self.prompts.items()
        }

    def amounts(self, arm: Arm) -> list[int]:
        """Rising."""
        return sorted({run.amount for run in self.mixtures.arms[arm]})

    def at(self, arm: Arm, amount: int) -> list[MixtureRun]:
        """The runs of an arm at an amount, by seed."""
        return [run for run in self.mixtures.arms[arm] if run.amount == amount]

    def cube(self, arm: Arm, task: str, langs: Sequence[str]) -> Array:
        """Points of the trained models [amounts, seeds, prompts], the mean over the languages.

        NaN where a run is missing, or lacks the prompt in one of the languages.
        """
        key = arm, task, tuple(langs)
        if key not in self._cubes:
            self._cubes[key] = self._filled([self.at(arm, amount) for amount in self.amounts(arm)], task, langs)
        return self._cubes[key]

    def start(self, arm: Arm, task: str, langs: Sequence[str]) -> Array:
        """As `cube`, of the start models."""
        return self._filled([self.at(arm, amount) for amount in self.amounts(arm)], task, langs, before=True)

    def _filled(
        self, cells: Sequence[Sequence[MixtureRun]], task: str, langs: Sequence[str], before: bool = False
    ) -> Array:
        import numpy as np

        keys = self.prompts[task]
        found = np.full((len(cells), len(self.seeds), len(keys)), np.nan)
        for cell, runs in zip(found, cells, strict=True):
            for run in runs:
                scores = run.starts if before else run.ends
                own = [scores.get((task, lang), {}) for lang in langs]
                cell[self.seeds.index(run.seed)] = _line(own, keys)
        return found

    def group(self, arm: Arm, task: str, group: str) -> list[str]:
        """Languages of one of GROUPS."""
        if group == SOURCE:
            return [self.mixtures.source]
        return self.mixtures.seen(arm, task) if group == SEEN else self.mixtures.unseen(arm, task)

    def others(self, task: str) -> list[str]:
        """All languages but the source that every run of the task was asked in."""
        asked = [{lang for one, lang in run.ends if one == task} for run in self.mixtures.runs if task in run.tasks]
        return sorted(set.intersection(*asked) - {self.mixtures.source}) if asked else []

    def arms(self, method: str, model: str | None = None, task: str | None = None) -> list[Arm]:
        """Those of a method, maybe of a model, and maybe those that train a task."""
        return [
            arm
            for arm in self.mixtures.arms
            if arm.method == method and model in (None, arm.model) and (task is None or task in arm.tasks)
        ]

    def pairs(self, method: str, model: str, task: str) -> list[tuple[Arm, Arm]]:
        """(Single, joint): the task alone, and among others, in the same languages."""
        arms = self.arms(method, model, task)
        return [
            (single, joint)
            for joint in arms
            for single in arms
            if joint.joint and not single.joint and self.mixtures.seen(single, task) == self.mixtures.seen(joint, task)
        ]

    def equal_rows(self, single: Arm, joint: Arm, task: str) -> list[int]:
        """Amounts at which both have the same rows of the task in every language."""
        shared = [amount for amount in self.amounts(joint) if amount in self.amounts(single)]
        return [a for a in shared if self.at(single, a)[0].rows[task] == self.at(joint, a)[0].rows[task]]


def _line(own: Sequence[Scores], keys: Sequence[str]) -> list[float]:
    nothing = float("nan")
    return [sum(one.get(key, nothing) for one in own) / len(own) if own else nothing for key in keys]
