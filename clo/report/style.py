"""The look of every figure: colours, fonts, legends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Drawing = tuple["Figure", dict[str, Any]]
"""A figure, and what its caption says of it: values for the macro of its name in ``captions.html``."""

# Okabe-Ito, without the yellow that a white page swallows: told apart by colour-blind readers.
_METHOD_COLOURS = {
    "sft_en": "#CC79A7", "sft_target": "#56B4E9", "sft": "#0072B2", "sft_dpo": "#E69F00", "clo": "#D55E00",
    "clo_en_nll": "#009E73",
}  # fmt: skip
_COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#009E73", "#56B4E9", "#CC79A7", "#333333")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
START: dict[str, Any] = {"color": "#555555", "linestyle": "--", "linewidth": 1.3}
"""Of the line of a start model."""
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 10, "axes.titlesize": 11, "axes.labelsize": 10,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#666666", "axes.grid": True,
    "grid.color": "#E3E3E3", "grid.linewidth": 0.8, "axes.axisbelow": True, "xtick.color": "#444444",
    "ytick.color": "#444444", "legend.frameon": False, "figure.facecolor": "white", "svg.hashsalt": "clo",
    "lines.linewidth": 1.8, "figure.titlesize": 13, "text.parse_math": False,  # a label may hold dollar signs
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
