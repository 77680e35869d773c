"""The look of every figure: colours, shapes, whiskers, fonts, legends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from clo.report.arms import family
from clo.report.formats import few_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Drawing = tuple["Figure", dict[str, Any]]
"""A figure, and what its caption says of it: values for the macro of its name in ``captions.html``."""


@dataclass(frozen=True)
class Look:
    """What tells a method from others: its colour, and without colour its shape and how that is filled."""

    color: str
    marker: str
    fill: Literal["full", "none", "left", "top"] = "full"

    @property
    def points(self) -> dict[str, Any]:
        """For a line with points, and for points alone."""
        return {"color": self.color, "marker": self.marker, "fillstyle": self.fill}


# Okabe-Ito, without its yellow and orange: the page swallows the one, and the other is near the red.
_METHOD_LOOKS = {
    "sft_en": Look("#333333", "v"), "sft_target": Look("#56B4E9", "P"), "sft": Look("#0072B2", "o"),
    "sft_dpo": Look("#CC79A7", "s"), "clo": Look("#D55E00", "^"), "clo_en_nll": Look("#009E73", "D"),
}  # fmt: skip
_COLOURS = ("#0072B2", "#CC79A7", "#D55E00", "#009E73", "#56B4E9", "#333333")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_FILLS: tuple[Literal["full", "none", "left", "top"], ...] = ("full", "none", "left", "top")
WIDTH = 6.6
"""Inches of most figures: two stand beside each other on a wide page, and one shrinks to a phone and stays legible."""
LINE = 0.22
"""Inches of a line of a legend; figures are drawn for two."""
SIDE_COLOURS = {"target": "#882255", "en": "#4477AA"}
"""Where bars are of sides and not of methods."""
START: dict[str, Any] = {"color": "#555555", "linestyle": "--", "linewidth": 1.3}
"""Of the line of a start model."""
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 10, "axes.titlesize": 11, "axes.labelsize": 10,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#666666", "axes.grid": True,
    "grid.color": "#E3E3E3", "grid.linewidth": 0.8, "axes.axisbelow": True, "xtick.color": "#444444",
    "ytick.color": "#444444", "legend.frameon": False, "figure.facecolor": "white", "svg.hashsalt": "clo",
    "lines.linewidth": 1.8, "figure.titlesize": 13, "text.parse_math": False,  # a label may hold dollar signs
}  # fmt: skip


def looks(labels: Sequence[str]) -> dict[str, Look]:
    """A look per label: fixed where each is of another method, else in turn; for many, colours run along a scale.

    Shapes and fills differ for the first 28 labels, so that grey print tells them apart.
    """
    import matplotlib

    families = [family(label) for label in labels]
    if None not in families and len(set(families)) == len(labels):
        return {label: _METHOD_LOOKS[str(method)] for label, method in zip(labels, families, strict=True)}
    scale, last = matplotlib.colormaps["viridis"], len(labels) - 1  # up to where it turns yellow
    few = len(labels) <= len(_COLOURS)
    colours = _COLOURS if few else [matplotlib.colors.to_hex(scale(0.8 * i / last)) for i in range(len(labels))]
    every = len(_MARKERS)
    return {
        label: Look(colours[i], _MARKERS[i % every], _FILLS[i // every % len(_FILLS)]) for i, label in enumerate(labels)
    }


def whisker(axes: Axes, x: float, y: float, color: str, seeds: int, **ends: Any) -> None:
    """The interval around a point, ``xerr`` or ``yerr`` as matplotlib takes them; dotted where two seeds make it."""
    _, _, bars = axes.errorbar(x, y, fmt="none", ecolor=color, capsize=2.5, elinewidth=1.2, **ends)
    for bar in bars if few_seeds(seeds) else ():
        bar.set_linestyle((0, (1, 1.5)))


def new_figure(rows: int, columns: int, width: float, height: float, **more: Any) -> tuple[Figure, Any]:
    """A figure without pyplot's global state, and its grid of axes (always two-dimensional)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def legend(figure: Figure, axes: Axes, columns: int = 6) -> None:
    """One legend for the whole figure, under it, each entry once; the figure grows with it, so the axes keep theirs."""
    unique = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    wide = max((len(label) for label in unique), default=0)
    columns = max(1, min(columns, len(unique), round(figure.get_figwidth() * 11 / (wide + 6))))
    lines = -(-len(unique) // columns)
    figure.set_figheight(figure.get_figheight() + LINE * max(0, lines - 2))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=columns)
