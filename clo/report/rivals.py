"""Cheap rivals of a study's runs, in words: the start model told the language, sums and averages of weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from clo.report.collect import Run, as_dict, grouped, number
from clo.report.labels import short

AVERAGED = "averaged"
"""Begins the names of rivals that are made of a run's own weights; the others are the start model's."""


def rivals_of(runs: Sequence[Run], of_weights: bool) -> list[tuple[str, str, list[Run]]]:
    """(Name in results.json, words behind the row's label, the runs that were asked), prompts first, shares rising.

    Args:
        runs: of one row, or of one start model.
        of_weights: those made of the runs' own weights; else those of the start model, see `once`.
    """
    asked = [
        (name, _words(name, as_dict(as_dict(told).get("asked"))), run)
        for run in runs
        for name, told in run.part("rivals").items()
        if name.startswith(AVERAGED) is of_weights
    ]
    found = []
    for (name, words), own in grouped(asked, lambda one: one[:2]).items():
        having = [run for *_, run in own]
        found.append((name, words, having if of_weights else once(having)))
    return sorted(found, key=lambda one: (not one[0].startswith("prompted"), one[0], one[1]))


def once(runs: Sequence[Run]) -> list[Run]:
    """The first run of every start model and held-out fold: the others hold copies of what was asked of it there."""
    alike = grouped(runs, lambda run: (run.config.get("model.path"), run.config.get("data.fold")))
    return [same[0] for same in alike.values()]


def _words(name: str, asked: dict[str, Any]) -> str:
    """What a rival is, behind its row's label."""
    if name.startswith(AVERAGED):
        share = number(asked.get("share"))
        return f": averaged with the start, {'?' if share is None else short(str(share))} trained"
    if name.startswith("prompted"):
        return f", told “{asked.get('instruction', name)}”"
    return f", as chat vector on {PurePath(str(asked.get('adapted', name))).name}"
