"""Tasks trained together against the task alone: with as many rows of it, and for as many steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clo.report.collect import grouped
from clo.report.guide.cubes import SEEN, UNSEEN, Lab
from clo.report.guide.curves import Lines, told
from clo.report.guide.runs import Arm
from clo.storage.files import csv_text

if TYPE_CHECKING:
    from clo.evaluation.dynamics import Array
    from clo.evaluation.significance import Difference

BOTH, ROWS, STEPS = "rows and steps", "rows", "steps"
"""What is equal."""
RESAMPLES = 2_000


@dataclass(frozen=True)
class Pair:
    """Joint less single, in a task and a group of languages."""

    basis: str
    """BOTH, ROWS or STEPS."""
    single: Arm
    joint: Arm
    task: str
    group: str
    joint_amount: int
    single_amount: float
    """Rows per language; between two amounts that were run where no run has the steps."""
    steps: tuple[float | None, float | None]
    """Single, joint."""
    gap: Difference


def pairs_of(lab: Lab) -> list[Pair]:
    """Every comparison that the study allows."""
    found = []
    for method in lab.mixtures.methods:
        for model in lab.mixtures.models:
            for task in lab.mixtures.tasks:
                for single, joint in lab.pairs(method, model, task):
                    for group in (SEEN, UNSEEN):
                        if lab.group(joint, task, group):
                            found += [
                                *_rows(lab, (single, joint), task, group),
                                *_steps(lab, (single, joint), task, group),
                            ]
    return found


def _rows(lab: Lab, arms: tuple[Arm, Arm], task: str, group: str) -> Iterator[Pair]:
    """At every amount at which both have the same rows of the task, in every language."""
    single, joint = arms
    alone, among = (lab.cube(arm, task, lab.group(joint, task, group)) for arm in arms)
    for amount in lab.equal_rows(single, joint, task):
        at = [cube[lab.amounts(arm).index(amount)] for cube, arm in zip((alone, among), arms, strict=True)]
        steps = (steps_at(lab, single)[amount], steps_at(lab, joint)[amount])
        if (gap := paired(at[1], at[0])) is not None:
            basis = BOTH if steps[0] is not None and steps[0] == steps[1] else ROWS
            yield Pair(basis, single, joint, task, group, amount, amount, steps, gap)


def _steps(lab: Lab, arms: tuple[Arm, Arm], task: str, group: str) -> Iterator[Pair]:
    """At every amount of the joint arm whose steps lie among those of the single one."""
    from clo.evaluation.dynamics import axis

    single, joint = arms
    alone, among = (lab.cube(arm, task, lab.group(joint, task, group)) for arm in arms)
    own = {amount: steps for amount, steps in steps_at(lab, single).items() if steps}
    amounts = lab.amounts(single)
    for place, amount in enumerate(lab.amounts(joint)):
        wanted = steps_at(lab, joint)[amount]
        if not wanted or wanted == own.get(amount):  # equal rows are compared above
            continue
        if between := _between(own, wanted, amount):
            low, high, part = between
            one = (1 - part) * alone[amounts.index(low)] + part * alone[amounts.index(high)]
            at = axis([low, high])
            rows = float(2 ** ((1 - part) * at[0] + part * at[1]) - 1)
            if (gap := paired(among[place], one)) is not None:
                yield Pair(STEPS, single, joint, task, group, amount, round(rows), (wanted, wanted), gap)


def _between(own: dict[int, float], wanted: float, amount: int) -> tuple[int, int, float] | None:
    """Two amounts and how far from the one to the other the steps lie, by their logarithm; none where outside."""
    equal = [one for one, steps in own.items() if steps == wanted]
    if equal:  # all of them where the steps are fixed: then that of the same amount
        nearest = min(equal, key=lambda one: abs(one - amount))
        return nearest, nearest, 0.0
    below = [one for one, steps in own.items() if steps < wanted]
    above = [one for one, steps in own.items() if steps > wanted]
    if not below or not above:
        return None
    low, high = max(below, key=lambda one: own[one]), min(above, key=lambda one: own[one])
    part = math.log(wanted / own[low]) / math.log(own[high] / own[low])
    return low, high, part


def steps_at(lab: Lab, arm: Arm) -> dict[int, float | None]:
    """Amount -> optimizer steps, the mean over seeds."""
    found: dict[int, float | None] = {}
    for amount in lab.amounts(arm):
        known = [run.steps for run in lab.at(arm, amount) if run.steps is not None]
        found[amount] = sum(known) / len(known) if known else None
    return found


def count(steps: float | None) -> str:
    """A number of steps in words, also where none was recorded."""
    return "unknown" if steps is None else f"{steps:,.0f}"


def paired(ours: Array, theirs: Array) -> Difference | None:
    """Ours less theirs [seeds, prompts] over the seeds and prompts that both have; None where there are none."""
    import numpy as np

    from clo.evaluation.significance import difference

    there = np.isfinite(ours) & np.isfinite(theirs)
    seeds, prompts = there.any(1), there.any(0)
    if not seeds.any():
        return None
    left, right = (np.where(there, one, np.nan)[seeds][:, prompts] for one in (ours, theirs))
    return difference(left, right, resamples=RESAMPLES)


def pair_lines(pairs: Sequence[Pair]) -> Lines:
    """A line per model, task, group of languages and basis: the difference at every amount of the joint mixture."""
    amounts = sorted({one.joint_amount for one in pairs})
    heads = ["model", "method", "joint", "task", "languages", "equal", *(f"{n:,}" for n in amounts)]
    rows = []
    for own in grouped(pairs, lambda one: (one.joint, one.single, one.task, one.group, one.basis)).values():
        by, one = {pair.joint_amount: told(pair.gap.interval, plus=True) for pair in own}, own[0]
        lead = [one.joint.model, one.joint.method, one.joint.label, one.task, one.group]
        cells = [by.get(amount, "") for amount in amounts]
        rows.append([*lead, one.basis, *cells])
    return heads, rows


def pairs_csv(pairs: Sequence[Pair]) -> str:
    """One line per comparison, in full precision."""
    heads = ["model", "method", "joint", "single", "task", "group", "basis", "joint_rows", "single_rows", "joint_steps"]
    heads += ["single_steps", "difference", "low", "high", "p", "prompts", "seeds"]
    rows = []
    for one in pairs:
        gap, (alone, among) = one.gap, one.steps
        lead = [one.joint.model, one.joint.method, one.joint.label, one.single.label, one.task, one.group, one.basis]
        told = [one.joint_amount, one.single_amount, among, alone, gap.interval.value, gap.interval.low]
        rows.append([*lead, *told, gap.interval.high, gap.p, gap.items, gap.seeds])
    return csv_text(heads, rows)
