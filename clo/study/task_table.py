"""Finished runs of mixtures in the terminal: every task in English, in the seen and in the unseen languages."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any


def task_rows(results: dict[str, Any]) -> list[list[str]]:
    """Cells of one run's lines, a line for each task.

    Args:
        results: as in results.json, with ``mixture`` and ``tasks``.
    """
    mixture = results["mixture"]
    source = next(iter(next(iter(mixture["rows"].values()))))
    groups = {name: [code for code in mixture[name] if code != source] for name in ("seen", "unseen")}
    found = []
    for task in mixture["tasks"]:
        ends = [results["tasks"][when][task] for when in ("start", "end")]
        rows = mixture["rows"][task]
        counts = sorted({rows[code] for code in groups["seen"]})
        others = "–" if not counts else f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        told = [results["model"], results["method"], "+".join(mixture["tasks"]), str(results["seed"]), task]
        cells = [_change(ends, codes) for codes in ([source], groups["seen"], groups["unseen"])]
        languages = [*groups["seen"], *groups["unseen"]]
        right = _change(ends, languages, "right_language")
        found.append([*told, f"{rows[source]} + {others}", *cells, right])
    return found


HEADS = ("model", "method", "trained", "seed", "task", "rows", "English", "seen", "unseen", "right language")
"""Of `task_rows`."""
NOTE = (
    "scores in %, 0 where an answer is in the wrong language; rows: English + each seen language; right language: of "
    "the answers in all languages but English"
)


def _change(ends: Sequence[dict[str, Any]], codes: Sequence[str], name: str = "score") -> str:
    if not codes:
        return "–"
    return " → ".join(f"{100 * fmean(end[code][name] for code in codes):.0f}" for end in ends)
