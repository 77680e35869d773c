"""Figures of the mechanism: the cross-lingual square before and after, and the course of training."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from clo.report.collect import MOST_METHODS, Run, Study
from clo.report.formats import SIDES, decimal
from clo.report.style import WIDTH, Drawing, legend, looks, new_figure
from clo.report.targets import course_of
from clo.storage.jsonl import read_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def square(study: Study) -> Drawing | None:
    """Heat maps of the mean log-prob per token, prompts down, responses across; one row per language."""
    shown = ([run for run in study.exemplars(lang) if run.square()][:MOST_METHODS] for lang in study.langs)
    rows = [runs for runs in shown if runs][:4]
    if not rows:
        return None
    columns = 1 + max(map(len, rows))
    most = max(_title(run.label).count("\n") for runs in rows for run in runs)
    figure, grid = new_figure(len(rows), columns, 1.0 + 1.45 * columns, 0.9 + 0.18 * most + 1.5 * len(rows))
    squares = [run.square()[key] for runs in rows for run in runs for key in ("before", "after")]
    values = [value for matrix in squares for line in matrix for value in line]
    scale = {"vmin": min(values), "vmax": min(0.0, max(values)), "cmap": "cividis"}
    for line, runs in zip(grid, rows, strict=True):
        for axes in line[1 + len(runs) :]:
            axes.set_axis_off()
        panels = [("start model", runs[0].square()["before"]), *((run.label, run.square()["after"]) for run in runs)]
        for axes, (title, matrix) in zip(line, panels, strict=False):
            image = _heat_map(axes, matrix, runs[0].square()["languages"], scale)
            axes.set_title(_title(title))
            axes.set_xlabel("response in" if runs is rows[-1] else "")
        line[0].set_ylabel("prompt in")
    figure.colorbar(image, ax=list(grid.flat), label="log-prob per token (nats)", shrink=0.8, aspect=18)
    figure.suptitle("How likely is a response, given the language of the prompt?")
    return figure, _example(rows[0])


def _title(label: str) -> str:
    """A label in lines that are no wider than its square."""
    return textwrap.fill(label, 16)


def _example(runs: Sequence[Run]) -> dict[str, Any]:
    return {"size": runs[0].size, "seed": runs[0].seed, "most": MOST_METHODS if len(runs) == MOST_METHODS else 0}


def _heat_map(axes: Axes, matrix: Sequence[Sequence[float]], names: Sequence[str], scale: dict[str, Any]) -> Any:
    image = axes.imshow(matrix, **scale)
    middle = (scale["vmin"] + scale["vmax"]) / 2
    for i, line in enumerate(matrix):
        for j, value in enumerate(line):
            ink = "white" if value < middle else "black"
            axes.text(j, i, decimal(value, 2), ha="center", va="center", color=ink, fontsize=10)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return image


_PANELS: tuple[tuple[str, dict[str, Literal["-", "--"]]], ...] = (
    ("change of log-prob (nats)", {"chosen_change": "-", "rejected_change": "--"}),
    ("margin:\n\u03b2 (chosen \u2212 rejected)", {"margin": "-"}),
    ("validation NLL\n(nats per token)", {"nll": "-"}),
)


MOST_POINTS = 10
"""Marked on a curve."""


def training(study: Study) -> Drawing | None:
    """Change of chosen and rejected, margin and validation NLL over the steps, per direction."""
    from matplotlib.lines import Line2D

    lang = study.langs[0]
    runs = study.exemplars(lang)[:MOST_METHODS]
    courses = {run.label: _course(_metrics(run)) for run in runs}
    names = [f"{key}_{side}" for _, keys in _PANELS for key in keys for side in SIDES]
    series = {name: {label: _series(course, name) for label, course in courses.items()} for name in names}
    drawn = {name for name, curves in series.items() if any(steps for steps, _ in curves.values())}
    panels = [panel for panel in _PANELS if any(f"{key}_{side}" in drawn for key in panel[1] for side in SIDES)]
    if not panels:
        return None
    palette = looks(study.labels)
    figure, grid = new_figure(len(panels), 2, WIDTH, 1.0 + 2.1 * len(panels), sharex=True, sharey="row")
    for line, (text, keys) in zip(grid, panels, strict=True):
        for axes, side in zip(line, ("en", "target"), strict=True):
            for number, label in enumerate(courses):
                # Wider below, so that curves that coincide (a shared first stage) all stay visible, with their points.
                below = (len(courses) - 1 - number) / max(1, len(courses) - 1)
                for key, style in keys.items():
                    steps, values = series[f"{key}_{side}"][label]
                    wide = {"linewidth": 1.4 + 1.4 * below, "markersize": 4 + 4 * below}
                    between = -(-len(steps) // MOST_POINTS) or 1
                    own = (number * between // len(courses), between)
                    axes.plot(steps, values, linestyle=style, markevery=own, **palette[label].points, **wide)
            if "nll" not in keys:
                axes.axhline(0, color="#999999", linewidth=0.8)
        line[0].set_ylabel(text)
        if len(keys) > 1:
            kinds = [Line2D([], [], color="#555555", ls=s, label=k.split("_")[0]) for k, s in keys.items()]
            line[0].legend(handles=kinds, loc="best", fontsize=9)
    grid[0, 0].set_title("prompts in English", fontweight="bold")
    grid[0, 1].set_title(f"prompts in {lang}", fontweight="bold")
    for axes in grid[-1]:
        axes.set_xlabel("optimizer step")
    for label in courses:
        grid[-1, 0].plot([], [], label=label, **palette[label].points)
    legend(figure, grid[-1, 0])
    figure.suptitle(f"The course of training, {lang}, {runs[0].size:,} items")
    return figure, {"lang": lang, **_example(runs)}


def _metrics(run: Run) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl, of several targets with this one's values."""
    lines = read_lines(run.home / "metrics.jsonl")
    return lines if run.within is None else course_of(lines, run.lang)


Course = list[tuple[float, dict[str, Any]]]


def _course(lines: Sequence[dict[str, Any]]) -> Course:
    """Lines with their step counted over all stages; an empty line between stages breaks the curves."""
    course: Course = []
    offset = 0.0
    for line in lines:
        if isinstance(line.get("step"), int | float):
            if course and line.get("stage") != course[-1][1].get("stage"):
                offset = course[-1][0]
                course.append((offset, {}))
            course.append((offset + line["step"], line))
    return course


def _series(course: Course, name: str) -> tuple[list[float], list[float]]:
    """Steps and values of a metric: held-out where there are at least two values, else training."""
    for prefix in ("val/", "train/"):
        known = [isinstance(line.get(prefix + name), int | float) for _, line in course]
        if sum(known) > 1:
            kept = [pair for pair, ok in zip(course, known, strict=True) if ok or not pair[1]]
            return [x for x, _ in kept], [line.get(prefix + name, math.nan) for _, line in kept]
    return [], []
