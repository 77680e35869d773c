"""The figures of a study: what the data buy, and what the gain costs in English."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clo.report import paper_figures
from clo.report.benchmarks_figure import benchmarks_figure
from clo.report.collect import Run, Study
from clo.report.diagnostics import square, training
from clo.report.findings import Findings
from clo.report.formats import few_seeds, file_name
from clo.report.measures import BY_KEY, Column, english_column, measure, target_column
from clo.report.style import START, STYLE, WIDTH, Drawing, Look, legend, looks, new_figure, whisker
from clo.report.summary import AS_TEXT, Table, TableRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_all(found: Findings, folder: Path) -> dict[str, dict[str, Any]]:
    """Draw every figure that a study has data for as PNG and SVG; returns name -> what its caption says of it."""
    study = found.study
    drawings: dict[str, Callable[[], Drawing | None]] = {
        "data_efficiency": partial(data_efficiency, study, found.table),
        "scatter": partial(scatter, study),
        "square": partial(square, study),
        "training": partial(training, study),
        "paper_curves": partial(paper_figures.curves, found),
        "paper_gains": partial(paper_figures.gains, found),
        "paper_nll": partial(paper_figures.nll_ablation, found),
        "paper_tuning": partial(paper_figures.tuning_ablation, found),
    }
    for lang in study.langs:
        drawings[f"benchmarks_{file_name(lang)}"] = partial(benchmarks_figure, study, found.benchmarks, lang)
    if found.guide is not None and found.guide.whole:  # every amount of rows is a label: a hundred of them tell nothing
        drawings = dict.fromkeys(drawings, _nothing)
    return save(drawings, folder, "benchmarks_")


def _nothing() -> None:
    return None


def save(drawings: Mapping[str, Callable[[], Drawing | None]], folder: Path, prefix: str) -> dict[str, dict[str, Any]]:
    """Draw and write each as PNG and SVG; returns name -> what its caption says of it.

    Figures of an earlier report go: those of ``drawings`` that are not drawn now, and those whose names begin with
    ``prefix``.
    """
    import matplotlib

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
        ours = path.stem in drawings or path.stem.startswith(prefix)
        if ours and path.suffix in (".png", ".svg") and path.stem not in told:
            path.unlink()
    return told


def data_efficiency(study: Study, table: Table) -> Drawing:
    """Target chrF above, English below, by data size; bars where the study has one size."""
    sizes = sorted({run.size for run in study.runs})
    many, labels, langs = len(sizes) > 1, study.labels, study.langs
    height = 5.6 if many else 1.6 + 2 * max(0.9, 0.28 * len(labels))
    width = max(WIDTH, 1.4 + min(2.6, 11 / len(langs)) * len(langs))
    figure, grid = new_figure(2, len(langs), width, height, sharey="row", sharex="col")
    measures = [("target", target_column(study)), ("English", english_column(study))]
    for line, (side, column) in zip(grid, measures, strict=True):
        text = f"{side} {column.head.replace(' (%)', ', %')}"
        for axes, lang in zip(line, langs, strict=True):
            _panel(axes, [row for row in table.rows if row.lang == lang and not row.rival], column, labels, many)
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
    few = any(few_seeds(row.cells[c.key].n) for row in table.rows for _, c in measures if c.key in row.cells)
    return figure, {"what": what, "few": few}


def _panel(axes: Axes, rows: Sequence[TableRow], column: Column, labels: Sequence[str], many: bool) -> None:
    """Curves over data sizes, or bars at the one size, and lines of the start models."""
    cells = {(row.label, row.size): row.cells[column.key] for row in rows if column.key in row.cells}
    line = axes.axhline if many else axes.axvline
    for as_text in (False, True):
        starts = {
            mean.mean for (name, size), mean in cells.items() if size is None and name.endswith(AS_TEXT) is as_text
        }
        for value in sorted(starts):
            dashes = START | ({"linestyle": ":"} if as_text else {})
            line(value * column.factor, label=f"start model{AS_TEXT if as_text else ''}", **dashes)
    sizes = [row.size for row in rows if row.size is not None]
    for number, (label, look) in enumerate(looks(labels).items()):
        points = [(size, mean) for (name, size), mean in cells.items() if name == label and size is not None]
        y = [mean.mean * column.factor for _, mean in points]
        if many and points:
            # Shifted by a little so that whiskers of different methods stand side by side.
            shift = 0.025 * (number - (len(labels) - 1) / 2) / max(1, len(labels) / 4)
            x = [size * (max(1, *sizes) / max(1, min(sizes))) ** shift for size, _ in points]
            axes.plot(x, y, label=label, markersize=6, **look.points)
            for at, value, (_, mean) in zip(x, y, points, strict=True):
                if mean.half is not None:
                    whisker(axes, at, value, look.color, mean.n, yerr=mean.half * column.factor)
        elif points:
            axes.barh(number, y, 0.66, color=look.color, alpha=0.65)
            if (half := points[0][1].half) is not None:
                whisker(axes, y[0], number, "#222222", points[0][1].n, xerr=half * column.factor)
    if many and 0 in sizes:  # a target without rows of its own, in a mixture
        axes.set_xscale("symlog", linthresh=min((size for size in sizes if size), default=1))
    elif many:
        axes.set_xscale("log")
    else:
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.grid(False, axis="y")
        axes.set_xlim(0, 102)


def scatter(study: Study) -> Drawing | None:
    """One point per run, a panel per language: what it gained in the target language, what changed in English."""
    gain, change = BY_KEY["target_gain_chrf"], english_column(study, change=True)
    found = [(run, measure(run, gain), measure(run, change)) for run in study.runs]
    points = [(run, x * gain.factor, y * change.factor) for run, x, y in found if x is not None and y is not None]
    if not points:
        return None
    palette, langs = looks(study.labels), [lang for lang in study.langs if any(p[0].lang == lang for p in points)]
    columns = min(3, len(langs))
    rows = -(-len(langs) // columns)
    figure, grid = new_figure(rows, columns, max(WIDTH, 3.1 * columns), 1.2 + 2.9 * rows, sharex=True, sharey=True)
    for axes in grid.flat[len(langs) :]:
        axes.set_axis_off()
    sizes = sorted({run.size for run in study.runs})
    for axes, lang in zip(grid.flat, langs, strict=False):
        _runs(axes, [point for point in points if point[0].lang == lang], palette, sizes)
        axes.set_title(lang, fontweight="bold")
        axes.axhline(0, color="#555555", linewidth=1)
        axes.set_xlabel("target chrF gain")
    for axes in grid[:, 0]:
        axes.set_ylabel(f"English {change.head}")
    low, high = min(x for _, x, _ in points), max(x for _, x, _ in points)
    if min(abs(low), abs(high)) <= high - low or low <= 0 <= high:  # else the way there would squeeze the points
        for axes in grid.flat[: len(langs)]:
            axes.axvline(0, color="#555555", linewidth=1)
    for label, look in palette.items():
        grid[0, 0].plot([], [], linestyle="", label=label, markersize=7, **look.points)
    legend(figure, grid[0, 0])
    figure.suptitle("Target gain and English change of each run, in points")
    return figure, {"sizes": len(sizes)}


def _runs(
    axes: Axes, points: Sequence[tuple[Run, float, float]], palette: Mapping[str, Look], sizes: Sequence[int]
) -> None:
    """Points of runs, large below small and each see-through inside its edge, so that none hides another."""
    from matplotlib.colors import to_rgba

    for run, x, y in sorted(points, key=lambda point: -point[0].size):
        look, wide = palette[run.label], 6.5 + 4.5 * sizes.index(run.size) / max(1, len(sizes) - 1)
        inside: dict[str, Any] = {} if look.fill == "none" else {"markerfacecolor": to_rgba(look.color, 0.5)}
        axes.plot(x, y, linestyle="", markersize=wide, markeredgewidth=1.5, **look.points, **inside)
    axes.margins(0.1)
