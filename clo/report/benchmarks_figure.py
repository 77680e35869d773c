"""The figures of the benchmarks, one per language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from clo.report.benchmarks import Benchmarks, BenchmarkScore
from clo.report.collect import Study
from clo.report.formats import SIDES, few_seeds
from clo.report.style import START, WIDTH, Drawing, Look, legend, looks, new_figure, whisker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS = 12
"""Rows of a figure at most."""


def benchmarks_figure(study: Study, found: Benchmarks, lang: str) -> Drawing | None:
    """Accuracy per method with whiskers, target language beside English, one row per benchmark."""
    scores = [score for score in found.scores if score.lang == lang]
    counts = {size: len({m.label for m in scores if m.size == size}) for size in {m.size for m in scores if m.size}}
    if not counts:
        return None
    size = max(counts, key=lambda s: (counts[s], s))
    scores = [score for score in scores if score.size in (size, None)]
    every = [asked for asked in found.asked if any(m.asked == asked and m.size for m in scores)]
    shown, labels = every[:MOST_PANELS], [label for label in study.labels if any(m.label == label for m in scores)]
    palette = looks(study.labels)
    height = 1.1 + len(shown) * (1.0 + 0.3 * len(labels))
    figure, grid = new_figure(len(shown), 2, WIDTH, height, sharey=True, sharex="row")
    for line, asked in zip(grid, shown, strict=True):
        for axes, side in zip(line, SIDES, strict=True):
            mine = [score for score in scores if (score.asked, score.side) == (asked, side)]
            _panel(axes, mine, labels, palette)
            axes.set_title(f"{asked.title}: {'English' if side == 'en' else lang}", fontsize=10)
    for axes in grid[:, 0]:  # only now, since the panels of a row share their limits
        low, high = axes.get_xlim()
        wide = max(0.0, 5 - (high - low)) / 2  # a benchmark that nobody moves is no row of decimals
        axes.set_xlim(max(low - wide, -2), min(high + wide, 102))
    for axes in grid[-1]:
        axes.set_xlabel("accuracy (%)")
    for words, style in (("start model", "--"), ("chance", ":")):
        grid[0, 0].plot([], [], label=words, **START | {"linestyle": style})
    legend(figure, grid[0, 0])
    figure.suptitle(f"Benchmarks, {lang}, {size:,} training items")
    few = any(few_seeds(score.runs) for score in scores)
    return figure, {"lang": lang, "size": size, "hidden": len(every) - len(shown), "few": few}


def _panel(axes: Axes, scores: Sequence[BenchmarkScore], labels: Sequence[str], palette: Mapping[str, Look]) -> None:
    for score in scores:
        value = 100 * score.mean
        if score.size is None:
            axes.axvline(value, **START)
        if score.chance is not None:
            axes.axvline(100 * score.chance, **START | {"linestyle": ":"})
        if score.size is not None and score.label in labels:
            low, high = (value if end is None else 100 * end for end in (score.low, score.high))
            ends, look = [[max(0.0, value - low)], [max(0.0, high - value)]], palette[score.label]
            at = labels.index(score.label)
            axes.plot(value, at, markersize=7, **look.points)
            whisker(axes, value, at, look.color, score.runs, xerr=ends)
    if not scores:
        axes.text(0.5, 0.5, "not asked", transform=axes.transAxes, ha="center", va="center", color="#777777")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
