"""The figures of a study: what the data buy, and what the gain costs in English."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clo.report.benchmarks_figure import benchmarks_figure
from clo.report.collect import Study
from clo.report.diagnostics import square, training
from clo.report.findings import Findings
from clo.report.formats import file_name
from clo.report.measures import BY_KEY, Column, english_column, measure
from clo.report.style import MARKERS, START, STYLE, Drawing, colours, legend, new_figure
from clo.report.summary import Table, TableRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_all(found: Findings, folder: Path) -> dict[str, dict[str, Any]]:
    """Draw every figure that a study has data for as PNG and SVG; returns name -> what its caption says of it."""
    import matplotlib

    study = found.study
    drawings: dict[str, Callable[[], Drawing | None]] = {
        "data_efficiency": partial(data_efficiency, study, found.table),
        "scatter": partial(scatter, study),
        "square": partial(square, study),
        "training": partial(training, study),
    }
    for lang in study.langs:
        drawings[f"benchmarks_{file_name(lang)}"] = partial(benchmarks_figure, study, found.benchmarks, lang)
    told = {}
    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        for name, draw in drawings.items():
            if (drawn := draw()) is not None:
                figure, told[name] = drawn
                for ending, extra in (("png", {"dpi": 160}), ("svg", {"metadata": {"Date": None}})):
                    temporary = folder / f".{name}.{ending}.{os.getpid()}.tmp"
                    figure.savefig(temporary, format=ending, bbox_inches="tight", **extra)
                    os.replace(temporary, folder / f"{name}.{ending}")
    for path in folder.iterdir():  # a figure of an earlier report would tell of other runs
        ours = path.stem in drawings or path.stem.startswith("benchmarks_")
        if ours and path.suffix in (".png", ".svg") and path.stem not in told:
            path.unlink()
    return told


def data_efficiency(study: Study, table: Table) -> Drawing:
    """Target chrF above, English below, by data size; bars where the study has one size."""
    sizes = sorted({run.size for run in study.runs})
    many, labels, langs = len(sizes) > 1, study.labels, study.langs
    height = 5.6 if many else 1.6 + 2 * max(0.9, 0.28 * len(labels))
    width = max(6.4, 1.4 + min(3.1, 11 / len(langs)) * len(langs))
    figure, grid = new_figure(2, len(langs), width, height, sharey="row", sharex="col")
    measures = [("target", BY_KEY["target_chrf"]), ("English", english_column(study))]
    for line, (side, column) in zip(grid, measures, strict=True):
        text = f"{side} {column.head.replace(' (%)', ', %')}"
        for axes, lang in zip(line, langs, strict=True):
            _panel(axes, [row for row in table.rows if row.lang == lang], column, labels, many)
            if many:
                axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
                axes.set_xticks([], minor=True)
            else:
                axes.set_xlabel(text)
                axes.tick_params(axis="x", labelbottom=True)
        if many:  # only now, since the panels of a row share their limits
            line[0].set_ylabel(text)
            low, high = line[0].get_ylim()
            line[0].set_ylim(max(low, -2), min(high, 102))
    for axes, lang in zip(grid[0], langs, strict=True):
        axes.set_title(lang, fontweight="bold")
    for axes in grid[1] if many else ():
        axes.set_xlabel("training items")
    legend(figure, grid[0, 0])
    what = "by number of training items" if many else f"at {sizes[0]:,} training items"
    figure.suptitle(f"Target language and English, {what}")
    return figure, {"what": what}


def _panel(axes: Axes, rows: Sequence[TableRow], column: Column, labels: Sequence[str], many: bool) -> None:
    """Curves over data sizes, or bars at the one size, and lines of the start models."""
    cells = {(row.label, row.size): row.cells[column.key] for row in rows if column.key in row.cells}
    for value in sorted({mean.mean for (_, size), mean in cells.items() if size is None}):
        line = axes.axhline if many else axes.axvline
        line(value * column.factor, label="start model", **START)
    sizes = [row.size for row in rows if row.size is not None]
    for number, (label, color) in enumerate(colours(labels).items()):
        points = [(size, mean) for (name, size), mean in cells.items() if name == label and size is not None]
        y = [mean.mean * column.factor for _, mean in points]
        error = [(mean.half or 0.0) * column.factor for _, mean in points]
        if many and points:
            # Shifted by a little so that whiskers of different methods stand side by side.
            shift = 0.025 * (number - (len(labels) - 1) / 2) / max(1, len(labels) / 4)
            x = [size * (max(sizes) / max(1, min(sizes))) ** shift for size, _ in points]
            marker = MARKERS[number % len(MARKERS)]
            axes.errorbar(x, y, error, label=label, color=color, marker=marker, ms=5, capsize=2.5, elinewidth=1.1)
        elif points:
            whisker: dict[str, Any] = {"ecolor": "#222222", "capsize": 2.5, "error_kw": {"elinewidth": 1.1}}
            xerr = None if points[0][1].half is None else error
            axes.barh(number, y, 0.66, xerr=xerr, color=color, alpha=0.65, **whisker)
    if many:
        axes.set_xscale("log")
    else:
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.grid(False, axis="y")
        axes.set_xlim(0, 102)


def scatter(study: Study) -> Drawing | None:
    """One point per run: what it gained in the target language against what changed in English."""
    from matplotlib.lines import Line2D

    gain, change = BY_KEY["target_gain_chrf"], english_column(study, change=True)
    palette, sizes = colours(study.labels), sorted({run.size for run in study.runs})
    markers = {lang: MARKERS[i % len(MARKERS)] for i, lang in enumerate(study.langs)}
    figure, grid = new_figure(1, 1, 7.2, 4.8)
    axes = grid[0, 0]
    for run in study.runs:
        x, y = measure(run, gain), measure(run, change)
        if x is not None and y is not None:
            area = 26 + 60 * sizes.index(run.size) / max(1, len(sizes) - 1)
            style = {"color": palette[run.label], "marker": markers[run.lang], "alpha": 0.75, "linewidths": 0.6}
            axes.scatter(x * gain.factor, y * change.factor, s=area, edgecolors="white", **style)
    if not axes.collections:
        return None
    axes.axhline(0, color="#555555", linewidth=1)
    axes.axvline(0, color="#555555", linewidth=1)
    axes.set_xlabel("target chrF, change from the start model (points)")
    axes.set_ylabel(f"English {change.head.replace(' change', '')}, change from the start model (points)")
    axes.margins(0.08)
    dots = [Line2D([], [], linestyle="", marker="o", color=palette[label], label=label) for label in palette]
    shapes = [Line2D([], [], linestyle="", marker=m, color="#777777", label=g) for g, m in markers.items()]
    figure.legend(handles=[*dots, *shapes], loc="outside right center")
    axes.set_title("Target gain and English change of each run", fontsize=13, pad=12)
    return figure, {"sizes": len(sizes)}
