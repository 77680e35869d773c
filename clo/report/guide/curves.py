"""What rows of other languages buy: curves with their intervals, where they level off, the gap of unseen languages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clo.report.formats import decimal, signed
from clo.report.guide.cubes import GROUPS, SEEN, UNSEEN, Lab
from clo.report.guide.runs import Arm
from clo.storage.files import csv_text

if TYPE_CHECKING:
    from clo.evaluation.dynamics import LevelOff
    from clo.evaluation.statistics import Interval


@dataclass(frozen=True)
class Curve:
    """The score of an arm in a task and a group of languages, by amount."""

    arm: Arm
    task: str
    group: str
    langs: list[str]
    amounts: list[int]
    points: list[Interval]
    seeds: list[int]
    """Runs of each amount."""
    level: LevelOff
    start: float | None
    """The start models' mean."""


@dataclass(frozen=True)
class Gap:
    """Seen less unseen languages, by amount, with how it changes and how the two go together."""

    arm: Arm
    task: str
    amounts: list[int]
    points: list[Interval]
    change: Interval | None
    """From the first to the last amount that has rows: without rows, no language is seen yet."""
    slope: Interval | None
    """Points per doubling of the rows, over the same amounts."""
    correlation: Interval
    """Of seen and unseen scores over the arm's runs."""
    seeds: int


def curves_of(lab: Lab) -> list[Curve]:
    """One per arm, task and group of languages that has any."""
    return [
        curve
        for arm in lab.mixtures.arms
        for task in arm.tasks
        for group in GROUPS
        if (curve := _curve(lab, arm, task, group)) is not None
    ]


def _curve(lab: Lab, arm: Arm, task: str, group: str) -> Curve | None:
    from clo.evaluation.dynamics import curve, level_off, means

    langs, amounts = lab.group(arm, task, group), lab.amounts(arm)
    if not langs:
        return None
    cube, draws = lab.cube(arm, task, langs), lab.draws[task]
    seeds = [len(lab.at(arm, amount)) for amount in amounts]
    before = [one for one in means(lab.start(arm, task, langs)).tolist() if math.isfinite(one)]
    start = sum(before) / len(before) if before else None
    return Curve(
        arm, task, group, langs, amounts, curve(cube, draws), seeds, level_off(amounts, cube, draws), start
    )  # fmt: skip


def gaps_of(lab: Lab) -> list[Gap]:
    """One per arm and task with both seen and unseen languages."""
    from clo.evaluation.dynamics import correlation, curve, interval, means, resampled, slope

    found = []
    for arm in lab.mixtures.arms:
        for task in arm.tasks:
            groups = [lab.group(arm, task, group) for group in (SEEN, UNSEEN)]
            if not all(groups):
                continue
            seen, unseen = (lab.cube(arm, task, langs) for langs in groups)
            amounts, draws, gap = lab.amounts(arm), lab.draws[task], seen - unseen
            trained = [place for place, amount in enumerate(amounts) if amount]
            change = tilt = None
            if len(trained) > 1:
                mean, sample = means(gap)[trained], resampled(gap, draws)[:, trained]
                doublings = [math.log2(amounts[place]) for place in trained]
                change = interval(float(mean[-1] - mean[0]), sample[:, -1] - sample[:, 0])
                tilt = interval(float(slope(doublings, mean)), slope(doublings, sample))
            seeds = min(len(lab.at(arm, amount)) for amount in amounts)
            together = correlation(seen, unseen, draws)
            found.append(Gap(arm, task, amounts, curve(gap, draws), change, tilt, together, seeds))
    return found


def told(one: Interval | None, digits: int = 1, plus: bool = False) -> str:
    """Such as ``41.0 (39.2 to 43.1)``; empty where there is none."""
    if one is None:
        return ""
    words = signed if plus else decimal
    ends = "" if one.low is None or one.high is None else f" ({words(one.low, digits)} to {words(one.high, digits)})"
    return f"{words(one.value, digits)}{ends}"


def level_text(curve: Curve) -> str:
    """Such as ``310 (120 to 900)``, ``0, at the first point`` or ``over 400 (180 to beyond 1,600), not reached``."""
    level, last = curve.level, curve.amounts[-1]
    if level.state == "no score" or len(curve.amounts) < 2:
        return "no score" if level.state == "no score" else "one amount alone"

    def rows(value: float) -> str:
        return f"beyond {last:,}" if math.isinf(value) else f"{value:,.0f}"

    one = level.rows
    ends = "" if one.low is None or one.high is None else f" ({rows(one.low)} to {rows(one.high)})"
    words = "" if level.state == "reached" else f", {level.state}"
    return f"{'over ' if level.state == 'not reached' else ''}{rows(one.value)}{ends}{words}"


Lines = tuple[list[str], list[list[str]]]
"""Headings and cells as text."""


def curve_lines(curves: Sequence[Curve]) -> Lines:
    """A line per curve: where it levels off, and its score at every amount."""
    amounts = sorted({amount for curve in curves for amount in curve.amounts})
    heads = ["model", "method", "mixture", "languages", "95 % of the peak at", "start", *(f"{n:,}" for n in amounts)]
    rows = []
    for one in curves:
        by = dict(zip(one.amounts, one.points, strict=True))
        lead = [one.arm.model, one.arm.method, one.arm.label, f"{one.group}: {', '.join(one.langs)}"]
        rows.append([*lead, level_text(one), decimal(one.start), *(told(by.get(amount)) for amount in amounts)])
    return heads, rows


def gap_lines(gaps: Sequence[Gap]) -> Lines:
    """A line per gap: how it changes, how the two sides go together, and the gap at every amount."""
    amounts = sorted({amount for gap in gaps for amount in gap.amounts})
    heads = ["model", "method", "mixture", "task", "change", "per doubling", "correlation", "seeds"]
    heads += [f"{n:,}" for n in amounts]
    rows = []
    for one in gaps:
        by = dict(zip(one.amounts, one.points, strict=True))
        lead = [one.arm.model, one.arm.method, one.arm.label, one.task, told(one.change, plus=True)]
        lead += [told(one.slope, 2, plus=True), told(one.correlation, 2), str(one.seeds)]
        rows.append([*lead, *(told(by.get(amount), plus=True) for amount in amounts)])
    return heads, rows


def curves_csv(curves: Sequence[Curve]) -> str:
    """One line per point of a curve, in full precision."""
    heads = [
        "model",
        "method",
        "mixture",
        "tasks",
        "task",
        "group",
        "languages",
        "rows",
        "score",
        "low",
        "high",
        "seeds",
    ]
    rows = []
    for one in curves:
        lead = [one.arm.model, one.arm.method, one.arm.name, "+".join(one.arm.tasks), one.task, one.group]
        for amount, point, seeds in zip(one.amounts, one.points, one.seeds, strict=True):
            rows.append([*lead, "+".join(one.langs), amount, point.value, point.low, point.high, seeds])
    return csv_text(heads, rows)


def peaks_csv(curves: Sequence[Curve]) -> str:
    """One line per curve: where 95 % of its peak is reached; an end that lies beyond the last amount is ``inf``."""
    heads = ["model", "method", "mixture", "tasks", "task", "group", "languages", "state", "rows", "low", "high"]
    rows = []
    for one in curves:
        lead = [one.arm.model, one.arm.method, one.arm.name, "+".join(one.arm.tasks), one.task, one.group]
        level = one.level
        rows.append([*lead, "+".join(one.langs), level.state, level.rows.value, level.rows.low, level.rows.high])
    return csv_text(heads, rows)


def gaps_csv(gaps: Sequence[Gap]) -> str:
    """One line per number: the gap at every amount, its change, its slope, the correlation."""
    heads = ["model", "method", "mixture", "tasks", "task", "what", "rows", "value", "low", "high", "seeds"]
    rows: list[list[object]] = []
    for one in gaps:
        lead = [one.arm.model, one.arm.method, one.arm.name, "+".join(one.arm.tasks), one.task]
        kept: list[tuple[str, int | None, Interval | None]] = [
            ("gap", amount, point) for amount, point in zip(one.amounts, one.points, strict=True)
        ]
        kept += [
            ("change", None, one.change),
            ("per doubling", None, one.slope),
            ("correlation", None, one.correlation),
        ]
        rows += [[*lead, what, n, i.value, i.low, i.high, one.seeds] for what, n, i in kept if i is not None]
    return csv_text(heads, rows)
