"""Win rates by a judge model: what lies in the ``judge-*.json`` files of the runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import Any

from clo.report.collect import Run, Study
from clo.storage.files import csv_text


@dataclass(frozen=True)
class Verdicts:
    """One side of one run against one other, both by the names of their folders; shares are of 0 to 1."""

    run: str
    label: str
    lang: str
    size: int
    seed: int
    against: str
    against_label: str
    """Method and seed where ``against`` is a run of the study, else empty."""
    side: str
    n: int
    win_rate: float | None
    low: float | None
    high: float | None
    length_controlled: float | None
    wins: int
    ties: int
    losses: int
    position_bias: float | None
    disagreement: float | None
    unparsed: int
    left_out: int
    same_language: float | None
    same_language_against: float | None
    model: str
    prompts: str
    """Version of the judge's prompts."""
    temperature: float | None
    answers: str = ""
    """Name of the answers to open prompts that were judged; empty for the test answers."""


def collect_verdicts(study: Study) -> tuple[list[Verdicts], list[str]]:
    """Every judged side of the study's runs, and a sentence for each file that cannot be read."""
    names = {run.folder.name: f"{run.label}, seed {run.seed}" for run in study.runs}
    found, broken = [], []
    for run in study.runs:
        for path in sorted(run.folder.glob("judge-*.json")):
            try:
                told = json.loads(path.read_text(encoding="utf-8"))
                answers = path.stem.removeprefix(f"judge-{told['against']}").removeprefix("-")
                found += [replace(_verdicts(run, names, told, side), answers=answers) for side in told["sides"]]
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                broken.append(f"{run.folder.name}/{path.name} cannot be read: {type(error).__name__}: {error}")
    return found, broken


def _verdicts(run: Run, names: Mapping[str, str], told: Mapping[str, Any], side: str) -> Verdicts:
    values, judge, against = told["sides"][side], told["judge"], str(told["against"])
    own: dict[str, Any] = {key: int(values[key]) for key in ("n", "wins", "ties", "losses", "unparsed", "left_out")}
    own |= {key: values[key] for key in ("win_rate", "length_controlled", "position_bias", "disagreement")}
    own["low"], own["high"] = values["interval"] or (None, None)
    own["same_language"], own["same_language_against"] = (values["same_language"][key] for key in ("run", "against"))
    own |= {"model": str(judge["model"]), "prompts": str(judge["prompts"]), "temperature": judge.get("temperature")}
    own |= {"label": run.label, "lang": run.lang, "size": run.size, "seed": run.seed, "side": side}
    return Verdicts(run=run.folder.name, against=against, against_label=names.get(against, ""), **own)


def to_csv(found: Sequence[Verdicts]) -> str:
    """One line per run, opponent and side, in full precision."""
    return csv_text([one.name for one in fields(Verdicts)], map(astuple, found))
