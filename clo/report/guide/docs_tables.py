"""Tables of the guide's study for Markdown pages, from the files of its report (see :mod:`clo.report.docs`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from clo.report.collect import grouped
from clo.report.formats import DASH, decimal

Line = Mapping[str, str]
"""Of a CSV file."""
Table = tuple[list[str], list[list[str]]]
GROUPS = {"seen": "languages with rows", "unseen": "languages without", "source": "English"}


def sentences(study: str, lines: Sequence[Line], _: str) -> Table:
    """The guide's sentences: verdict, and what was found for every size, task and language."""
    heads = [f"`{study}`: sentence", "verdict", "found (95 %)", "claimed", "paper"]
    told = []
    for claim, own in grouped(lines, lambda line: line["claim"]).items():
        first, found = own[0], [_effect(line) for line in own if line["difference"]]
        verdict = f"{first['verdict']} ({first['reason']})" if first["reason"] else first["verdict"]
        told.append([claim, verdict, "; ".join(found), first["claimed"] if found else "", first["paper"]])
    return heads, told


def curves(study: str, lines: Sequence[Line], _: str) -> Table:
    """Scores by rows per language, of each task trained alone and with the others, in the mixture of most amounts."""
    by_mixture = grouped(lines, lambda line: line["mixture"])
    lines = max(by_mixture.values(), key=lambda own: len({line["rows"] for line in own}))
    amounts = sorted({int(line["rows"]) for line in lines})
    heads = [f"`{study}`", "trained", "task", "asked in", *(f"{amount:,} rows" for amount in amounts)]
    told = []
    for (model, tasks, task, group), own in grouped(
        lines, lambda line: (line["model"], line["tasks"], line["task"], line["group"])
    ).items():
        at = {int(line["rows"]): line for line in own}
        trained = "all tasks" if "+" in tasks else tasks
        told.append([model, trained, task, GROUPS[group], *(_score(at.get(amount)) for amount in amounts)])
    return heads, told


def shares(study: str, lines: Sequence[Line], _: str) -> Table:
    """How much of the variance each variable explains, by outcome."""
    outcomes = list(dict.fromkeys(line["outcome"] for line in lines))
    heads = [f"`{study}`: variable", *(f"{outcome}, %" for outcome in outcomes)]
    told = []
    for variable, own in grouped(lines, lambda line: line["variable"]).items():
        by = {line["outcome"]: line for line in own}
        told.append([variable, *(_interval(by[one], "percent") if one in by else DASH for one in outcomes)])
    return heads, told


def _effect(line: Line) -> str:
    size = "" if line["model"] == "transfer" else f"{line['model']} "
    return f"{size}{line['language']} {_interval(line, 'difference')}"


def _interval(line: Line, key: str) -> str:
    value, low, high = (float(line[name] or "nan") for name in (key, "low", "high"))
    digits = 2 if abs(value) <= 1 and max(abs(low), abs(high)) <= 2 else 1  # a correlation
    told = [decimal(one, digits) if math.isfinite(one) else "∞" for one in (value, low, high)]
    return f"{told[0]} ({told[1]} to {told[2]})"


def _score(line: Line | None) -> str:
    if line is None or not line["score"]:
        return DASH
    value, low, high = (float(line[name] or "nan") for name in ("score", "low", "high"))
    told = [decimal(one, 0) for one in (value, low, high)]
    return f"{told[0]} ({told[1]} to {told[2]})" if math.isfinite(low) else told[0]
