"""Figures of the mechanism: the cross-lingual square before and after, and the course of training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from clo.report.collect import Run, Study, read_lines
from clo.report.figures import colours, legend, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_METHODS = 6
"""Methods shown at most; more do not fit a page."""


def exemplars(study: Study, lang: str) -> list[Run]:
    """One run per label for what shows single runs: first seed, at the largest size that most labels have."""
    by_size: dict[int, dict[str, Run]] = {}
    for run in sorted(study.runs, key=lambda run: run.seed):
        if run.lang == lang:
            by_size.setdefault(run.size, {}).setdefault(run.label, run)
    firsts = by_size[max(by_size, key=lambda size: (len(by_size[size]), size))]
    return [firsts[label] for label in study.labels if label in firsts]


def square(study: Study) -> tuple[Figure, str] | None:
    """Heat maps of the mean log-prob per token, prompts down, responses across; one row per language."""
    rows = []
    for lang in study.langs:
        runs = [run for run in exemplars(study, lang) if matrices(run)][:MOST_METHODS]
        if runs:
            rows.append(runs)
    if not rows:
        return None
    rows = rows[:4]
    widest = max(len(runs) for runs in rows)
    figure, grid = new_figure(len(rows), 1 + widest, 1.1 + 1.75 * (1 + widest), 0.9 + 2.0 * len(rows))
    squares = [matrices(run)[key] for runs in rows for run in runs for key in ("before", "after")]
    values = [value for matrix in squares for line in matrix for value in line]
    scale = {"vmin": min(values), "vmax": min(0.0, max(values)), "cmap": "cividis"}
    image = None
    for line, runs in zip(grid, rows, strict=True):
        panels = [("start model", matrices(runs[0])["before"])]
        panels += [(run.label, matrices(run)["after"]) for run in runs]
        for axes, (title, matrix) in zip(line, panels, strict=False):
            axes.set_xlabel("response in" if runs is rows[-1] else "")
            image = _heat_map(axes, matrix, runs[0].results["square"]["languages"], scale)
            axes.set_title(title.replace(" ", "\n", 1).replace("=", "=\n") if len(title) > 12 else title)
        for axes in line[len(panels) :]:
            axes.set_axis_off()
        line[0].set_ylabel("prompt in")
    assert image is not None
    figure.colorbar(image, ax=list(grid.flat), label="log-prob per token (nats)", shrink=0.8, aspect=18)
    figure.suptitle("How likely is a response, given the language of the prompt?")
    return figure, (
        "The square: mean log-prob per token of the held-out responses, prompt language down, response "
        "language across. Learning to answer in the language asked brightens the diagonal against the rest. "
        f"One run per method, {_told(rows[0])}; one colour scale."
    )


def _told(runs: Sequence[Run]) -> str:
    most = f", at most {MOST_METHODS} methods" if len(runs) == MOST_METHODS else ""
    return f"{runs[0].size:,} items, seed {runs[0].seed}{most}"


def matrices(run: Run) -> dict[str, Any]:
    """The squares before and after, or nothing where one of them is missing or no matrix of numbers."""
    square_of = run.results.get("square")
    if not isinstance(square_of, dict):
        return {}
    size = len(square_of.get("languages") or ())
    for key in ("before", "after"):
        matrix = square_of.get(key)
        if not isinstance(matrix, list) or len(matrix) != size:
            return {}
        if not all(len(line) == size and all(isinstance(v, int | float) for v in line) for line in matrix):
            return {}
    return square_of


def _heat_map(axes: Axes, matrix: Sequence[Sequence[float]], names: Sequence[str], scale: dict[str, Any]) -> Any:
    image = axes.imshow(matrix, **scale)
    middle = (scale["vmin"] + scale["vmax"]) / 2
    for i, line in enumerate(matrix):
        for j, value in enumerate(line):
            ink = "white" if value < middle else "black"
            text = f"{value:.2f}".replace("-", "\u2212")
            axes.text(j, i, text, ha="center", va="center", color=ink, fontsize=10)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


_PANELS: tuple[tuple[str, dict[str, Literal["-", "--"]]], ...] = (
    ("change of log-prob (nats)", {"chosen_change": "-", "rejected_change": "--"}),
    ("margin:\n\u03b2 (chosen \u2212 rejected)", {"margin": "-"}),
    ("validation NLL\n(nats per token)", {"nll": "-"}),
)


def training(study: Study) -> tuple[Figure, str] | None:
    """Change of chosen and rejected, margin and validation NLL over the steps, per direction."""
    from matplotlib.lines import Line2D

    lang = study.langs[0]
    runs = exemplars(study, lang)[:MOST_METHODS]
    courses = {run.label: _course(read_lines(run.folder / "metrics.jsonl")) for run in runs}
    panels = [panel for panel in _PANELS if any(_has(course, panel[1]) for course in courses.values())]
    if not panels:
        return None
    palette = colours(study.labels)
    figure, grid = new_figure(len(panels), 2, 8.4, 1.0 + 2.1 * len(panels), sharex=True, sharey="row")
    for line, (text, keys) in zip(grid, panels, strict=True):
        for axes, side in zip(line, ("en", "target"), strict=True):
            for number, (label, course) in enumerate(courses.items()):
                for key, style in keys.items():
                    # Wider below, so that curves that coincide (a shared first stage) all stay visible.
                    width = 1.5 + 1.3 * (len(courses) - 1 - number) / max(1, len(courses) - 1)
                    steps, values = _series(course, f"{key}_{side}")
                    dots = "o" if len(steps) <= 16 else None
                    color = palette[label]
                    axes.plot(steps, values, style, color=color, linewidth=width, marker=dots, markersize=3)
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
        grid[-1, 0].plot([], [], color=palette[label], label=label)
    legend(figure, grid[-1, 0])
    figure.suptitle(f"The course of training, {lang}, {runs[0].size:,} items")
    return figure, (
        f"Target language {lang}: {_told(runs)}; held-out items where they were scored, else the training "
        "batches. Change and margin are against the reference of the stage, so a method with two stages "
        "starts again at 0, where its line has a gap."
    )


Course = list[tuple[float, dict[str, Any]]]


def _course(lines: Sequence[dict[str, Any]]) -> Course:
    """Lines with their step counted over all stages; an empty line between stages breaks the curves."""
    course: Course = []
    stage, offset = None, 0.0
    for line in lines:
        step = line.get("step")
        if not isinstance(step, int | float):
            continue
        if stage is not None and line.get("stage") != stage:
            offset = course[-1][0]
            course.append((offset, {}))
        stage = line.get("stage")
        course.append((offset + step, line))
    return course


def _has(course: Course, keys: Iterable[str]) -> bool:
    return any(len(_series(course, f"{key}_{side}")[0]) > 1 for key in keys for side in ("en", "target"))


def _series(course: Course, name: str) -> tuple[list[float], list[float]]:
    """Steps and values of a metric: held-out where there are at least two values, else training."""
    for prefix in ("val/", "train/"):
        known = [isinstance(line.get(prefix + name), int | float) for _, line in course]
        if sum(known) > 1:
            kept = [pair for pair, ok in zip(course, known, strict=True) if ok or not pair[1]]
            return [x for x, _ in kept], [line.get(prefix + name, math.nan) for _, line in kept]
    return [], []
