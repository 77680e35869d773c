"""The figures of a study of mixtures: curves by task, the gap of unseen languages, seen against unseen, variances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clo.report.figures import save
from clo.report.formats import decimal, file_name
from clo.report.guide.cubes import SEEN, UNSEEN
from clo.report.guide.curves import Curve, Gap
from clo.report.guide.find import Guide
from clo.report.guide.variance import OUTCOMES
from clo.report.style import START, WIDTH, Drawing, Look, legend, looks, new_figure, whisker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from clo.evaluation.statistics import Interval

PREFIX = "guide_"
MOST_MODELS = 3
"""Side by side; more go on in a further row."""


def draw_guide(guide: Guide | None, folder: Path) -> dict[str, dict[str, Any]]:
    """Draw every figure that there are numbers for; returns name -> what its caption says of it, with its ``kind``."""
    drawings: dict[str, Callable[[], Drawing | None]] = {}
    if guide is not None:
        for method in guide.mixtures.methods:
            for task in guide.mixtures.tasks:
                drawings[f"{PREFIX}curves_{file_name(task)}_{file_name(method)}"] = partial(
                    _curves, guide, task, method
                )
            drawings[f"{PREFIX}gap_{file_name(method)}"] = partial(_gaps, guide, method)
            drawings[f"{PREFIX}seen_{file_name(method)}"] = partial(_seen, guide, method)
        drawings[f"{PREFIX}variance"] = partial(_variance, guide)
    return save(drawings, folder, PREFIX)


def _panels(models: Sequence[str], height: float) -> tuple[Any, dict[str, Axes]]:
    """A panel for each model, small ones first."""
    columns = min(MOST_MODELS, len(models))
    lines = -(-len(models) // columns)
    figure, grid = new_figure(lines, columns, WIDTH, 1.0 + height * lines, sharey=True, sharex=True)
    for axes in grid.flat[len(models) :]:
        axes.set_axis_off()
    panels = dict(zip(models, grid.flat, strict=False))
    for model, axes in panels.items():
        axes.set_title(model, fontweight="bold")
    return figure, panels


def _by_rows(axes: Axes, amounts: Sequence[int]) -> None:
    """Rows on an axis that is logarithmic from the fewest on, with a place for none."""
    axes.set_xscale("symlog", linthresh=min((amount for amount in amounts if amount), default=1))
    axes.set_xticks(amounts, [f"{amount:,}" for amount in amounts], rotation=45, fontsize=9)
    axes.set_xticks([], minor=True)
    axes.set_xlabel("rows per language")


def _line(axes: Axes, amounts: Sequence[int], points: Sequence[Interval], **look: Any) -> None:
    y = [point.value for point in points]
    axes.plot(amounts, y, markersize=5.5, **look)
    for x, point in zip(amounts, points, strict=True):
        if point.low is not None and point.high is not None:
            ends = [[max(0.0, point.value - point.low)], [max(0.0, point.high - point.value)]]
            whisker(axes, x, point.value, look["color"], 3, yerr=ends)


def _curves(guide: Guide, task: str, method: str) -> Drawing | None:
    """Scores by rows: a colour for each mixture, seen languages filled and drawn through, unseen ones hollow."""
    found = [c for c in guide.curves if (c.task, c.arm.method) == (task, method) and c.group in (SEEN, UNSEEN)]
    if not found:
        return None
    models = [model for model in guide.mixtures.models if any(c.arm.model == model for c in found)]
    palette = looks(list(dict.fromkeys(c.arm.label for c in found)))
    figure, panels = _panels(models, 2.9)
    amounts = sorted({amount for c in found for amount in c.amounts})
    for model, axes in panels.items():
        own = [c for c in found if c.arm.model == model]
        for start in sorted({round(c.start, 6) for c in own if c.start is not None and c.group == UNSEEN}):
            axes.axhline(start, label="start model, unseen", **START)
        for c in own:
            _line(axes, c.amounts, c.points, label=f"{c.arm.label}, {c.group}", **_look(palette[c.arm.label], c))
        _by_rows(axes, amounts)
    first = next(iter(panels.values()))
    first.set_ylabel("score, points")
    legend(figure, first, 3)
    figure.suptitle(f"{task}, {method}")
    return figure, {"kind": "curves", "task": task, "method": method}


def _look(look: Look, curve: Curve) -> dict[str, Any]:
    seen = curve.group == SEEN
    return {
        "color": look.color, "marker": look.marker, "fillstyle": "full" if seen else "none",
        "linestyle": "-" if seen else "--",
    }  # fmt: skip


def _gaps(guide: Guide, method: str) -> Drawing | None:
    """Seen less unseen by rows: a colour for each task, alone drawn through, among others dashed."""
    found = [gap for gap in guide.gaps if gap.arm.method == method]
    if not found:
        return None
    models = [model for model in guide.mixtures.models if any(gap.arm.model == model for gap in found)]
    palette = looks(list(dict.fromkeys(gap.task for gap in found)))
    figure, panels = _panels(models, 2.7)
    for model, axes in panels.items():
        axes.axhline(0, color="#555555", linewidth=1)
        for gap in _mains(guide, found, model):
            look = palette[gap.task]
            style = {"color": look.color, "marker": look.marker, "linestyle": "--" if gap.arm.joint else "-"}
            label = f"{gap.task}, {'joint' if gap.arm.joint else 'alone'}"
            _line(axes, gap.amounts, gap.points, label=label, **style)
        _by_rows(axes, sorted({amount for gap in found for amount in gap.amounts}))
    first = next(iter(panels.values()))
    first.set_ylabel("seen less unseen, points")
    legend(figure, first, 3)
    figure.suptitle(f"The gap of unseen languages, {method}")
    return figure, {"kind": "gap", "task": "", "method": method}


def _mains(guide: Guide, gaps: Sequence[Gap], model: str) -> list[Gap]:
    """Of each task alone and of each joint mixture, the gap over most amounts and languages."""
    best: dict[tuple[str, bool], Gap] = {}

    def rank(gap: Gap) -> tuple[int, int]:
        return len(gap.amounts), len(guide.mixtures.seen(gap.arm, gap.task))

    for gap in gaps:
        if gap.arm.model == model:
            key = gap.task, gap.arm.joint
            best[key] = max(best.get(key, gap), gap, key=rank)
    return list(best.values())


def _seen(guide: Guide, method: str) -> Drawing | None:
    """A point for each mixture and amount: its score in seen languages, and in unseen ones."""
    curves = {(c.arm, c.task, c.group): c for c in guide.curves if c.arm.method == method}
    found = [
        (own, curves[arm, task, UNSEEN])
        for (arm, task, group), own in curves.items()
        if group == SEEN and (arm, task, UNSEEN) in curves
    ]
    if not found:
        return None
    models = [model for model in guide.mixtures.models if any(c.arm.model == model for c, _ in found)]
    palette = looks(list(dict.fromkeys(c.task for c, _ in found)))
    figure, panels = _panels(models, 2.6)
    for model, axes in panels.items():
        for task, look in palette.items():
            own = [pair for pair in found if (pair[0].arm.model, pair[0].task) == (model, task)]
            x, y = ([point.value for pair in own for point in pair[side].points] for side in (0, 1))
            axes.plot(x, y, linestyle="", label=task, markersize=5.5, **look.points)
        axes.axline((0, 0), slope=1, color="#999999", linewidth=1)
        axes.set_xlabel("seen, points")
    first = next(iter(panels.values()))
    first.set_ylabel("unseen, points")
    legend(figure, first)
    figure.suptitle(f"Seen and unseen languages, {method}")
    return figure, {"kind": "seen", "task": "", "method": method}


def _variance(guide: Guide) -> Drawing | None:
    """A bar for each outcome, parted by what explains how much of its variance."""
    found = list(guide.explained)
    if not found:
        return None
    names = list(dict.fromkeys(name for one in found for name in one.shares))
    palette = looks(names)
    figure, grid = new_figure(1, 1, WIDTH, 1.6 + 0.7 * len(found))
    axes = grid[0, 0]
    for at, one in enumerate(found):
        left = 0.0
        for name, share in one.shares.items():
            width = max(0.0, share.value)
            axes.barh(at, width, 0.62, left=left, color=palette[name].color, label=name, edgecolor="white")
            if width > 5:
                axes.text(left + width / 2, at, decimal(share.value, 0), ha="center", va="center", color="white")
            left += width
    several = len({one.method for one in found}) > 1
    names_of = [OUTCOMES[one.outcome].replace(" in ", "\nin ", 1) for one in found]
    names_of = [f"{name}\n({one.method})" if several else name for name, one in zip(names_of, found, strict=True)]
    axes.set_yticks(range(len(found)), names_of)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.grid(False, axis="y")
    axes.set_xlabel("% of the variance over runs")
    legend(figure, axes)
    figure.suptitle("What explains how much")
    return figure, {"kind": "variance", "task": "", "method": ""}
