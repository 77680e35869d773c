"""Tables of the paper's claims and gains for Markdown pages (see :mod:`clo.report.docs`)."""

from __future__ import annotations

from collections.abc import Sequence

from clo.report.collect import grouped
from clo.report.formats import DASH, signed, with_interval
from clo.report.guide.docs_tables import Line, Table
from clo.report.paper import MEASURES


def claims(study: str, lines: Sequence[Line], _: str) -> Table:
    """A row per claim and arm: the verdict, the differences it rests on, what was claimed."""
    several = len({line["arm"] for line in lines}) > 1
    heads = [f"`{study}`: claim", *(["arm"] if several else []), "verdict", "difference (95 %)", "claimed", "paper"]
    told = []
    for (claim, arm), own in grouped(lines, lambda one: (one["claim"], one["arm"])).items():
        first = own[0]
        verdict = f"{first['verdict']} ({first['reason']})" if first["reason"] else first["verdict"]
        effects = [_effect(line) for line in own if line["difference"]]
        row = [verdict, "; ".join(effects), first["claimed"] if effects else "", first["paper"]]
        told.append([claim, *([arm] if several else []), *row])
    return heads, told


def verdicts(studies: str, lines: Sequence[Line], _: str) -> Table:
    """A row per claim, several studies side by side; of a study with several arms of CLO the first."""
    arms = {line["study"]: line["arm"] for line in reversed(lines)}
    of_arm = [line for line in lines if line["arm"] == arms[line["study"]]]
    by, names = grouped(of_arm, lambda one: (one["claim"], one["study"])), studies.split(",")
    stated = dict.fromkeys(line["claim"] for line in of_arm)
    told = [[claim, *(_verdict(by.get((claim, name), ())) for name in names)] for claim in stated]
    return ["claim", *(f"`{name}`" for name in names)], told


def _verdict(lines: Sequence[Line]) -> str:
    """``undecided (de +1.1, sw +0.6)``."""
    if not lines:
        return DASH
    effects = [f"{line['language']} {signed(float(line['difference']))}" for line in lines if line["difference"]]
    return lines[0]["verdict"] + (f" ({', '.join(effects)})" if effects else "")


def _effect(line: Line) -> str:
    gap, low, high = (float(line[key]) for key in ("difference", "low", "high"))
    return f"{line['language']} {with_interval(gap, low, high, int(line['seeds']))}"


def gains(study: str, lines: Sequence[Line], _: str) -> Table:
    """A row per gain that a paper reports, ours beside it."""
    heads = [f"`{study}`: gain", "language", "paper's measure", "models", "paper", "sure", "ours (95 %)", "verdict"]
    told = []
    for line in lines:
        mean, low, high = (float(line[f"paper_{key}"]) for key in ("mean", "low", "high"))
        paper = signed(mean) + ("" if low == high else f" ({signed(low)} to {signed(high)})")
        place = line["languages"].replace(" ", " and ") + (f" ({line['tier']})" if line["tier"] else "")
        sure = line["confidence"] + ("" if line["source"] == "paper" else f", {line['source']}")
        models = str(len(line["models"].split())) + (" (ours)" if line["models"] == line["model"] else "")
        gap, least, most = (float(line[key]) for key in ("ours", "low", "high"))
        ours = with_interval(gap, least, most, int(line["seeds"]))
        theirs = [place, MEASURES[line["measure"]], models, paper, sure]
        told.append([line["gain"], *theirs, ours, line["verdict"]])
    return heads, told
