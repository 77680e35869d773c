"""The figures of a study: what the data buy, and what the gain costs in English."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clo.report.collect import Run, Study
from clo.report.measures import COLUMNS, Column, Mean, english_column, mean_of, measure
from clo.report.summary import groups_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from clo.report.benchmarks import Marks

# Okabe-Ito, without the yellow that a white page swallows: told apart by colour-blind readers.
_METHOD_COLOURS = {
    "sft_en": "#CC79A7", "sft_target": "#56B4E9", "sft": "#0072B2", "sft_dpo": "#E69F00", "clo": "#D55E00",
    "clo_en_nll": "#009E73",
}  # fmt: skip
_COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#009E73", "#56B4E9", "#CC79A7", "#333333")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STYLE = {
    "font.family": "DejaVu Sans", "font.size": 10, "axes.titlesize": 11, "axes.labelsize": 10,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#666666", "axes.grid": True,
    "grid.color": "#E3E3E3", "grid.linewidth": 0.8, "axes.axisbelow": True, "xtick.color": "#444444",
    "ytick.color": "#444444", "legend.frameon": False, "figure.facecolor": "white", "svg.hashsalt": "clo",
    "lines.linewidth": 1.8, "figure.titlesize": 13,
}  # fmt: skip


def colours(labels: Sequence[str]) -> dict[str, str]:
    """A colour per label: fixed for the plain methods, else in turn, or along a scale for many."""
    import matplotlib

    if all(label in _METHOD_COLOURS for label in labels):
        return {label: _METHOD_COLOURS[label] for label in labels}
    if len(labels) <= len(_COLOURS):
        return dict(zip(labels, _COLOURS, strict=False))
    scale, last = matplotlib.colormaps["viridis"], len(labels) - 1
    return {label: matplotlib.colors.to_hex(scale(0.92 * i / last)) for i, label in enumerate(labels)}


def draw_all(study: Study, folder: Path, marks: Marks | None = None) -> dict[str, str]:
    """Draw every figure that the study has data for as PNG and SVG; returns name -> caption.

    Args:
        study: the runs.
        folder: where the files go.
        marks: benchmarks of the study; their figures are ``benchmarks_<lang>``.
    """
    import matplotlib

    from clo.report import benchmarks_figure, diagnostics

    drawings: dict[str, Callable[[Study], tuple[Figure, str] | None]] = {
        "data_efficiency": data_efficiency,
        "scatter": scatter,
        "square": diagnostics.square,
        "training": diagnostics.training,
    }
    if marks is not None:
        named = {f"benchmarks_{lang}": partial(benchmarks_figure.draw, marks, lang) for lang in study.langs}
        drawings |= named
    for path in folder.glob("benchmarks_*.*"):
        if path.stem not in drawings and path.suffix in (".png", ".svg"):
            path.unlink()
    captions = {}
    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]
        for name, draw in drawings.items():
            drawn = draw(study)
            for ending, extra in (("png", {"dpi": 160}), ("svg", {"metadata": {"Date": None}})):
                path = folder / f"{name}.{ending}"
                if drawn is None:  # a figure of an earlier report would tell of other runs
                    path.unlink(missing_ok=True)
                    continue
                buffer = io.BytesIO()
                drawn[0].savefig(buffer, format=ending, bbox_inches="tight", **extra)
                write(path, buffer.getvalue())
            if drawn is not None:
                captions[name] = drawn[1]
    return captions


def write(path: Path, content: str | bytes) -> None:
    """Write a file in one step, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    os.replace(temporary, path)


def new_figure(rows: int, columns: int, width: float, height: float, **more: Any) -> tuple[Figure, Any]:
    """A figure without pyplot's global state, and its grid of axes (always two-dimensional)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def legend(figure: Figure, axes: Axes, columns: int = 6) -> None:
    """One legend for the whole figure, under it, each entry once."""
    unique = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    wide = max((len(label) for label in unique), default=0)
    columns = max(1, min(columns, len(unique), round(figure.get_figwidth() * 11 / (wide + 6))))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=columns)


def data_efficiency(study: Study) -> tuple[Figure, str]:
    """Target chrF above, English below, by data size; bars where the study has one size."""
    by_key = {column.key: column for column in COLUMNS}
    measures = [("target", by_key["target_chrf"]), ("English", english_column(study))]
    sizes = sorted({run.size for run in study.runs})
    many = len(sizes) > 1
    palette, labels = colours(study.labels), study.labels
    height = 5.6 if many else 1.6 + 2 * max(0.9, 0.28 * len(labels))
    width = max(6.4, 1.4 + min(3.1, 11 / len(study.langs)) * len(study.langs))
    figure, grid = new_figure(2, len(study.langs), width, height, sharey="row", sharex="col")
    for row, (side, measured) in enumerate(measures):
        for column, lang in enumerate(study.langs):
            axes = grid[row, column]
            runs = [run for run in study.runs if run.lang == lang]
            _start_line(axes, runs, measured, vertical=not many)
            (_curves if many else _bars)(axes, runs, measured, labels, palette)
            text = f"{side} {measured.head.replace(' (%)', ', %')}"
            if many:
                axes.set_ylabel(text if column == 0 else "")
                axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
                axes.set_xticks([], minor=True)
                axes.set_xlabel("training items" if row == 1 else "")
            else:
                axes.set_xlabel(text)
                axes.tick_params(axis="x", labelbottom=True)
            if row == 0:
                axes.set_title(lang, fontweight="bold")
    for axes in grid[:, 0] if many else ():  # only now, since the panels of a row share their limits
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -2), min(high, 102))
    legend(figure, grid[0, 0])
    what = "by number of training items" if many else f"at {sizes[0]:,} training items"
    figure.suptitle(f"Target language and English, {what}")
    return figure, (
        f"Score in the target language (above) and in English (below) {what}, one column per language: "
        "means over seeds with their 95 % t-intervals, which the axes cut off where they leave 0 to 100. "
        "The dashed line is the start model."
    )


def _curves(axes: Axes, runs: Sequence[Run], measured: Column, labels: Sequence[str], palette: dict[str, str]) -> None:
    means = _means(runs, measured)
    span = max(run.size for run in runs) / max(1, min(run.size for run in runs))
    for number, label in enumerate(labels):
        points = [(size, mean) for (size, name), mean in means.items() if name == label]
        if not points:
            continue
        # Shifted by a little so that whiskers of different methods stand side by side.
        shift = span ** (0.025 * (number - (len(labels) - 1) / 2) / max(1, len(labels) / 4))
        x = [size * shift for size, _ in points]
        half = [mean.half or 0.0 for _, mean in points]
        y, error = [m.mean * measured.factor for _, m in points], [h * measured.factor for h in half]
        axes.errorbar(
            x, y, error, label=label, color=palette[label], marker=_MARKERS[number % len(_MARKERS)],
            markersize=5, capsize=2.5, elinewidth=1.1,
        )  # fmt: skip
    axes.set_xscale("log")


def _bars(axes: Axes, runs: Sequence[Run], measured: Column, labels: Sequence[str], palette: dict[str, str]) -> None:
    means = {label: mean for (_, label), mean in _means(runs, measured).items()}
    for number, label in enumerate(labels):
        if label in means:
            mean = means[label]
            error = None if mean.half is None else mean.half * measured.factor
            axes.barh(
                number, mean.mean * measured.factor, 0.66, xerr=error, color=palette[label], alpha=0.65,
                ecolor="#222222", capsize=2.5, error_kw={"elinewidth": 1.1},
            )  # fmt: skip
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.set_xlim(0, 102)


def _means(runs: Sequence[Run], measured: Column) -> dict[tuple[int, str], Mean]:
    means = {}
    for (_, size, label), group in groups_of(runs).items():
        mean = mean_of([value for run in group if (value := measure(run, measured)) is not None])
        if mean is not None:
            means[size, label] = mean
    return means


def _start_line(axes: Axes, runs: Sequence[Run], measured: Column, vertical: bool) -> None:
    values = {value for run in runs if (value := measure(run, measured, "start")) is not None}
    for value in sorted(values):
        line = axes.axvline if vertical else axes.axhline
        line(value * measured.factor, color="#555555", linestyle="--", linewidth=1.3, label="start model")


def scatter(study: Study) -> tuple[Figure, str] | None:
    """One point per run: what it gained in the target language against what changed in English."""
    from matplotlib.lines import Line2D

    by_key = {column.key: column for column in COLUMNS}
    gain, change = by_key["target_gain_chrf"], english_column(study, change=True)
    palette, sizes = colours(study.labels), sorted({run.size for run in study.runs})
    markers = {lang: _MARKERS[i % len(_MARKERS)] for i, lang in enumerate(study.langs)}
    figure, grid = new_figure(1, 1, 7.2, 4.8)
    axes = grid[0, 0]
    drawn = 0
    for run in study.runs:
        x, y = measure(run, gain), measure(run, change)
        if x is None or y is None:
            continue
        drawn += 1
        area = 26 + 60 * sizes.index(run.size) / max(1, len(sizes) - 1)
        axes.scatter(
            x * gain.factor, y * change.factor, s=area, color=palette[run.label], marker=markers[run.lang],
            alpha=0.75, linewidths=0.6, edgecolors="white",
        )  # fmt: skip
    if not drawn:
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
    larger = "; larger marks are larger data sizes" if len(sizes) > 1 else ""
    return figure, (
        "One mark per run: right of the vertical line the target language improved, below the horizontal "
        f"line English got worse. Colour is the method, shape the language{larger}."
    )
