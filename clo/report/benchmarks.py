"""Benchmarks of a study: accuracy per method and side, what it was before training, and paired tests over rows."""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from clo.report.collect import Run, Study, as_dict, grouped, number
from clo.report.comparisons import FIELDS, Comparison, compare_side, fields_of
from clo.report.formats import SIDES
from clo.storage.files import csv_text

FURTHER = {"accuracy_norm": "per character", "accuracy_bytes": "per byte", "f1": "F1"}
"""Other measures of the same rows -> heading."""


@dataclass(frozen=True)
class Asked:
    """A benchmark and how it was asked: results of different ones are never put into one table."""

    name: str
    scoring: str
    shots: int
    shots_from: str
    prompt: str
    template: str
    """Name of the chat template around the prompt; empty for plain text."""
    first: str = ""
    """Such as ``first100`` where the first rows only were asked."""
    label: str = field(default="", compare=False)
    """Name of the result in the run's files."""

    @property
    def title(self) -> str:
        """Such as ``belebele, letters``; shots where there are any, and how many rows where not all were asked."""
        shots = f", {self.shots} shots" if self.shots else ""
        chat = ", chat turns" if self.template else ""
        first = f", first {self.first.removeprefix('first')} rows" if self.first else ""
        return f"{self.name}, {self.scoring}{shots}{chat}{first}"


@dataclass(frozen=True)
class BenchmarkScore:
    """One side of a benchmark for a run, a (language, size, method) group of them, or a start model (size None)."""

    asked: Asked
    lang: str
    size: int | None
    label: str
    side: str
    mean: float
    """Share of right rows, 0 to 1."""
    low: float | None
    high: float | None
    """95 %: from the lowest to the highest end of the bootstrap over rows and Student's t over seeds; of seeds alone
    where a run's rows are missing."""
    change: float | None
    """Mean difference to the start model."""
    chance: float | None
    n: int
    """Rows; the fewest where runs differ, 0 where it is not known."""
    runs: int
    """0 for the start model."""
    further: Mapping[str, float]
    """The measures of FURTHER that there are."""


@dataclass(frozen=True)
class Benchmarks:
    """All benchmarks of a study."""

    scores: list[BenchmarkScore] = field(default_factory=list)
    tests: dict[Asked, list[Comparison]] = field(default_factory=dict)
    """Against the baseline at equal data, points of accuracy, corrected over all lines of a benchmark's side."""

    @property
    def asked(self) -> list[Asked]:
        """Benchmarks in the order of names, letters before answers."""
        order = ("letters", "answers", "number", "span")
        found = {score.asked for score in self.scores}
        return sorted(found, key=lambda a: (a.name, *(a.scoring != s for s in order), a.shots, a.template, a.prompt))


Rows = Mapping[tuple[Asked, str, Path], Mapping[str, float]]
"""(Benchmark, side, folder of a run) -> row -> 100 where right, else 0."""


def scores_of(run: Run, when: str = "scores", known: Collection[Asked] = ()) -> list[BenchmarkScore]:
    """Everything a run was asked, each once; ``when`` is ``scores``, or ``start`` for its start model.

    Labels of 0.1.0 do not tell that the first rows only were asked: such a result joins the one among its run's and
    ``known`` that is equal but for saying so, and has as many rows. Of two that mean the same, the fuller label counts.
    """
    scores = list(_summaries(run, when))
    asked = {*known, *(score.asked for score in scores)}
    found: dict[tuple[Asked, str], BenchmarkScore] = {}
    for score in scores:
        told = replace(score.asked, first=f"first{score.n}")
        one = replace(score, asked=told) if not score.asked.first and told in asked else score
        place = (one.asked, one.side)
        found[place] = max(found.get(place, one), one, key=lambda s: len(s.asked.label))
    return list(found.values())


def _summaries(run: Run, when: str) -> Iterator[BenchmarkScore]:
    """Those with a share of right rows (``accuracy``, for spans ``exact``)."""
    size, label, runs = (None, "start", 0) if when == "start" else (run.size, run.label, 1)
    for name in run.part("benchmarks", when):
        for side in SIDES:
            for key, summary in run.part("benchmarks", when, name, side).items():
                mean = number(summary.get("accuracy", summary.get("exact"))) if isinstance(summary, dict) else None
                if mean is None:
                    continue
                shots, interval = summary.get("shots"), summary.get("interval")
                texts = [str(summary.get(text) or "") for text in ("shots_from", "prompt", "template")]
                scoring, *how = key.split("-")
                first = next((part for part in how if part.startswith("first")), "")
                count = shots if isinstance(shots, int) else 0
                asked = Asked(name, scoring, count, texts[0], texts[1], texts[2], first, key)
                whole = isinstance(interval, list) and len(interval) == 2
                low, high = map(number, interval) if whole else (None, None)
                chance, n = number(summary.get("chance")), int(number(summary.get("n")) or 0)
                further = {k: value for k in FURTHER if (value := number(summary.get(k))) is not None}
                place = (asked, run.lang, size, label, side)
                yield BenchmarkScore(*place, mean, low, high, None, chance, n, runs, further)


def rows_of(run: Run, asked: Asked, side: str) -> dict[str, float]:
    """Row -> 100 where right, else 0; empty where the run was not asked so, or its file is missing or broken."""
    label = next((s.asked.label for s in scores_of(run, known=[asked]) if (s.asked, s.side) == (asked, side)), None)
    path = run.folder / "benchmarks" / f"{asked.name}-{side}.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"][label]
        return {str(row["id"]): 100.0 * bool(row["right"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def collect_benchmarks(study: Study, against: str) -> Benchmarks:
    """Scores of a study and paired tests against a baseline; both empty where no run was asked anything."""
    starts: dict[tuple[Any, ...], BenchmarkScore] = {}
    trained: dict[tuple[Any, ...], list[tuple[BenchmarkScore, Run]]] = defaultdict(list)
    several = {lang: len({run.base for run in study.runs if run.lang == lang}) > 1 for lang in study.langs}
    every = {score.asked for run in study.runs for when in ("start", "scores") for score in scores_of(run, when)}
    for run in study.runs:
        label = f"start model={run.base[0]} data={run.base[1]}" if several[run.lang] else "start"
        for score in scores_of(run, "start", every):
            starts.setdefault((score.asked, score.side, run.lang, run.base), replace(score, label=label))
    for run in study.runs:
        for score in scores_of(run, "scores", every):
            start = starts.get((score.asked, score.side, run.lang, run.base))
            known = replace(score, change=None if start is None else score.mean - start.mean)
            trained[score.asked, score.side, run.lang, run.size, run.label].append((known, run))
    rows = {
        (asked, side, run.folder): rows_of(run, asked, side) for asked in every for side in SIDES for run in study.runs
    }
    found = Benchmarks([*starts.values(), *(_over_seeds(group, rows) for group in trained.values())])
    tests = {asked: _tests(study, against, asked, rows) for asked in found.asked}
    return Benchmarks(found.scores, {asked: own for asked, own in tests.items() if own})


def _over_seeds(asked: Sequence[tuple[BenchmarkScore, Run]], rows: Rows) -> BenchmarkScore:
    group = [score for score, _ in asked]
    low, high = _interval(asked, rows)
    changes = [score.change for score in group if score.change is not None]
    change = statistics.fmean(changes) if len(changes) == len(group) else None
    shared = [key for key in FURTHER if all(key in score.further for score in group)]
    further = {key: statistics.fmean(score.further[key] for score in group) for key in shared}
    n, runs, mean = min(score.n for score in group), len(group), statistics.fmean(score.mean for score in group)
    return replace(group[0], mean=mean, low=low, high=high, change=change, n=n, runs=runs, further=further)


def _interval(asked: Sequence[tuple[BenchmarkScore, Run]], rows: Rows) -> tuple[float | None, float | None]:
    from clo.evaluation.significance import mean_interval
    from clo.evaluation.statistics import seed_interval

    first = asked[0][0]
    if len(asked) == 1:
        return first.low, first.high
    answered = [rows[score.asked, score.side, run.folder] for score, run in asked]
    if all(answered):
        ids = sorted(set().union(*answered))
        found = mean_interval([[own.get(row, math.nan) / 100 for row in ids] for own in answered])
    else:
        found = seed_interval([score.mean for score, _ in asked])
    return found.low, found.high


def _tests(study: Study, against: str, asked: Asked, rows: Rows) -> list[Comparison]:
    by_side = {side: {run.folder: rows[asked, side, run.folder] for run in study.runs} for side in SIDES}
    return [one for side, own in by_side.items() for one in compare_side(study, against, side, own, halved=False)]


def table_of(study: Study, found: Benchmarks, asked: Asked) -> dict[str, Any]:
    """A benchmark's scores in the order of a page; ``groups`` are (language, size, lines of (label, side -> score))."""
    names = {run.lang: f"{run.lang_name} ({run.lang})" for run in study.runs}
    rank = {label: number for number, label in enumerate(study.labels)}
    scores = [score for score in found.scores if score.asked == asked]
    scores.sort(key=lambda s: (s.lang, s.size or 0, rank.get(s.label, -1), s.label))
    groups = []
    for (lang, size), cell in grouped(scores, lambda s: (s.lang, s.size)).items():
        lines = [(label, {s.side: s for s in line}) for label, line in grouped(cell, lambda s: s.label).items()]
        groups.append((names[lang], size, lines))
    return {
        "asked": asked,
        "sides": [side for side in SIDES if any(score.side == side for score in scores)],
        "further": [key for key in FURTHER if any(key in score.further for score in scores)],
        "rows": sorted({score.n for score in scores}),
        "groups": groups,
    }


def scorer(run: Run) -> str:
    """Who scored, with versions."""
    versions = run.part("versions")
    named = [f"{name} {versions[name]}" for name in ("clo", "torch", "transformers") if name in versions]
    if not named:
        return "scored by clo's own scorer, version not recorded"
    return f"scored by {named[0]}'s own scorer" + (f" ({', '.join(named[1:])})" if named[1:] else "")


def left_out(study: Study) -> list[str]:
    """``name side: reason`` of what could not be asked, each once."""
    found = []
    for run in study.runs:
        words = {"target": run.lang, "en": "English"}
        for name, sides in run.part("benchmarks", "left_out").items():
            found += [f"{name}, {words.get(side, side)}: {reason}" for side, reason in as_dict(sides).items()]
    return list(dict.fromkeys(found))


def to_csv(scores: Sequence[BenchmarkScore]) -> str:
    """One line per benchmark, language, size, method and side; shares of 0 to 1 in full precision."""
    place, own = ("lang", "size", "label", "side"), ("mean", "low", "high", "change", "chance", "n", "runs")
    first = attrgetter("asked.name", "asked.scoring", "asked.shots", *place, *own)
    last = attrgetter("asked.shots_from", "asked.prompt", "asked.template")
    heads = ["benchmark", "scoring", "shots", "language", "data_size", "method", "side", *own, *FURTHER]
    rows = ([*first(score), *map(score.further.get, FURTHER), *last(score)] for score in scores)
    return csv_text([*heads, "shots_from", "prompt", "template"], rows)


def tests_csv(tests: Mapping[Asked, Sequence[Comparison]]) -> str:
    """One line per paired test, points of accuracy in full precision."""
    rows = ([a.name, a.scoring, a.shots, *fields_of(one)] for a, found in tests.items() for one in found)
    return csv_text(["benchmark", "scoring", "shots", *FIELDS], rows)
