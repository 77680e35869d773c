"""The figures of the benchmarks, one per language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from clo.report.benchmarks import SIDES, Mark, Marks
from clo.report.collect import Study
from clo.report.figures import colours, legend, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 12
"""Rows of a figure at most."""


def draw(found: Marks, lang: str, study: Study) -> tuple[Figure, str] | None:
    """Accuracy per method with whiskers, target language beside English, one row per benchmark."""
    marks = [mark for mark in found.marks if mark.lang == lang]
    counts = {size: len({m.label for m in marks if m.size == size}) for size in {m.size for m in marks if m.size}}
    if not counts:
        return None
    size = max(counts, key=lambda s: (counts[s], s))
    marks = [mark for mark in marks if mark.size in (size, None)]
    every = [asked for asked in found.asked if any(m.asked == asked and m.size for m in marks)]
    shown, labels = every[:MOST_PANELS], [label for label in study.labels if any(m.label == label for m in marks)]
    palette = colours(study.labels)
    height = 1.1 + len(shown) * (1.0 + 0.3 * len(labels))
    figure, grid = new_figure(len(shown), 2, 8.4, height, sharey=True, sharex="row")
    for line, asked in zip(grid, shown, strict=True):
        for axes, side in zip(line, SIDES, strict=True):
            mine = [mark for mark in marks if (mark.asked, mark.side) == (asked, side)]
            _panel(axes, mine, labels, palette)
            axes.set_title(f"{asked.title}: {'English' if side == 'en' else lang}", fontsize=10)
    for axes in grid[:, 0]:  # only now, since the panels of a row share their limits
        low, high = axes.get_xlim()
        wide = max(0.0, 5 - (high - low)) / 2  # a benchmark that nobody moves is no row of decimals
        axes.set_xlim(max(low - wide, -2), min(high + wide, 102))
    for axes in grid[-1]:
        axes.set_xlabel("accuracy (%)")
    for words, style in (("start model", "--"), ("chance", ":")):
        grid[0, 0].plot([], [], color="#555555", linestyle=style, linewidth=1.3, label=words)
    legend(figure, grid[0, 0])
    figure.suptitle(f"Benchmarks, {lang}, {size:,} training items")
    rest = f" {len(every) - len(shown)} more benchmarks stand in the tables only." if every[MOST_PANELS:] else ""
    return figure, (
        f"Accuracy in the target language ({lang}, left) and in English (right) at {size:,} training items. Whiskers "
        "are 95 % intervals, over seeds or (one seed) over the rows, which the axes cut off where they leave 0 to 100. "
        f"Dashed: the start model; dotted: chance.{rest}"
    )


def _panel(axes: Axes, marks: Sequence[Mark], labels: Sequence[str], palette: Mapping[str, str]) -> None:
    for mark in marks:
        value = 100 * mark.mean
        if mark.size is None:
            axes.axvline(value, color="#555555", linestyle="--", linewidth=1.3)
        if mark.chance is not None:
            axes.axvline(100 * mark.chance, color="#555555", linestyle=":", linewidth=1.3)
        if mark.size is None or mark.label not in labels:
            continue
        low, high = (value if end is None else 100 * end for end in (mark.low, mark.high))
        ends = [[max(0.0, value - low)], [max(0.0, high - value)]]
        number = labels.index(mark.label)
        axes.errorbar(
            value, number, xerr=ends, color=palette[mark.label], marker="o", markersize=6, capsize=3, elinewidth=1.4,
        )  # fmt: skip
    if not marks:
        axes.text(0.5, 0.5, "not asked", transform=axes.transAxes, ha="center", va="center", color="#777777")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
