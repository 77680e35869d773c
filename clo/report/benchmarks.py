"""Benchmarks of a study: accuracy per method and side, what it was before training, and paired tests over rows."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clo.report.collect import Run, Study
from clo.report.comparisons import Comparison, compare_side

SIDES = ("target", "en")
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

    @property
    def title(self) -> str:
        """Such as ``belebele, letters``; shots where there are any."""
        shots = f", {self.shots} shots" if self.shots else ""
        return f"{self.name}, {self.scoring}{shots}" + (", chat turns" if self.template else "")


@dataclass(frozen=True)
class Mark:
    """One side of a benchmark for a (language, size, method) group of runs, or for a start model (size None)."""

    asked: Asked
    lang: str
    size: int | None
    label: str
    side: str
    mean: float
    """Share of right rows, 0 to 1."""
    low: float | None
    high: float | None
    """95 %: Student's t over seeds; for one run or the start model the bootstrap over its rows."""
    change: float | None
    """Mean difference to the start model."""
    chance: float | None
    n: int
    """Rows; the fewest where runs differ."""
    runs: int
    """0 for the start model."""
    further: tuple[tuple[str, float], ...] = ()
    """Means of the measures of FURTHER."""


@dataclass(frozen=True)
class Marks:
    """All benchmarks of a study."""

    marks: list[Mark]
    tests: dict[Asked, list[Comparison]]
    """Against the baseline at equal data, points of accuracy, corrected over all lines of a benchmark's side."""

    @property
    def asked(self) -> list[Asked]:
        """Benchmarks in the order of names, letters before answers."""
        order = ("letters", "answers", "number", "span")
        found = {mark.asked for mark in self.marks}
        return sorted(found, key=lambda a: (a.name, *(a.scoring != s for s in order), a.shots, a.template, a.prompt))


def benchmarks_of(run: Run, when: str = "scores") -> Iterator[tuple[Asked, str, Mapping[str, Any]]]:
    """(Benchmark, side, summary) of everything a run was asked; ``when`` is ``scores`` or ``start``."""
    found = run.results.get("benchmarks")
    for name, sides in _items(_part(found, when)):
        for side in SIDES:
            for scoring, summary in _items(_part(sides, side)):
                if value_of(summary) is not None:
                    shots = summary.get("shots")
                    texts = (str(summary.get(key) or "") for key in ("shots_from", "prompt", "template"))
                    yield Asked(name, scoring, shots if isinstance(shots, int) else 0, *texts), side, summary


def value_of(summary: object) -> float | None:
    """Share of right rows: ``accuracy``, for spans ``exact``."""
    if not isinstance(summary, dict):
        return None
    return _number(summary.get("accuracy", summary.get("exact")))


def interval_of(summary: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The bootstrap interval over rows."""
    interval = summary.get("interval")
    if not isinstance(interval, list) or len(interval) != 2:
        return None, None
    return _number(interval[0]), _number(interval[1])


def further_of(summary: Mapping[str, Any]) -> dict[str, float]:
    """The measures of FURTHER that a summary has."""
    return {key: value for key in FURTHER if (value := _number(summary.get(key))) is not None}


def rows_of(run: Run, asked: Asked, side: str) -> dict[str, float]:
    """Row -> 100 where right, else 0; empty where the file is missing or broken."""
    path = run.folder / "benchmarks" / f"{asked.name}-{side}.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"][asked.scoring]
        return {str(row["id"]): 100.0 * bool(row["right"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def collect_marks(study: Study, against: str) -> Marks:
    """Summaries and paired tests of a study; both empty where no run was asked anything.

    Args:
        study: the runs.
        against: label of the baseline of the tests.
    """
    trained: dict[tuple[Any, ...], list[tuple[Run, Mapping[str, Any]]]] = defaultdict(list)
    starts: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    several = {lang: len({run.base for run in study.runs if run.lang == lang}) > 1 for lang in study.langs}
    for run in study.runs:
        for asked, side, summary in benchmarks_of(run, "start"):
            starts.setdefault((asked, side, run.lang, run.base), summary)
        for asked, side, summary in benchmarks_of(run):
            trained[asked, side, run.lang, run.size, run.label].append((run, summary))
    marks = []
    for (asked, side, lang, base), summary in starts.items():
        label = f"start model={base[0]} data={base[1]}" if several[lang] else "start"
        value = value_of(summary)
        assert value is not None
        further = tuple(further_of(summary).items())
        low, high = interval_of(summary)
        marks.append(
            Mark(asked, lang, None, label, side, value, low, high, None, *_chance_and_n([summary]), 0, further)
        )
    for (asked, side, lang, size, label), group in trained.items():
        before = [value_of(starts.get((asked, side, lang, run.base))) for run, _ in group]
        marks.append(_mark(asked, side, lang, size, label, [summary for _, summary in group], before))
    found = Marks(marks, {})
    return Marks(marks, {asked: tests for asked in found.asked if (tests := _tests(study, against, asked))})


def _mark(
    asked: Asked,
    side: str,
    lang: str,
    size: int,
    label: str,
    group: Sequence[Mapping[str, Any]],
    before: Sequence[float | None],
) -> Mark:
    from clo.evaluation.statistics import seed_interval

    values = [value for summary in group if (value := value_of(summary)) is not None]
    found = seed_interval(values)
    low, high = (found.low, found.high) if len(values) > 1 else interval_of(group[0])
    changes = [value - start for value, start in zip(values, before, strict=True) if start is not None]
    change = statistics.fmean(changes) if len(changes) == len(values) else None
    several = [further_of(summary) for summary in group]
    further = tuple((k, statistics.fmean(f[k] for f in several)) for k in FURTHER if all(k in f for f in several))
    chance, n = _chance_and_n(group)
    return Mark(asked, lang, size, label, side, found.value, low, high, change, chance, n, len(values), further)


def _tests(study: Study, against: str, asked: Asked) -> list[Comparison]:
    from clo.evaluation.significance import holm

    tests = []
    for side in SIDES:
        runs = [run for run in study.runs if any((a, s) == (asked, side) for a, s, _ in benchmarks_of(run))]
        rows = {run.folder: rows_of(run, asked, side) for run in runs}
        found = compare_side(study, against, side, rows, halved=False)
        tests += [replace(c, p=p) for c, p in zip(found, holm([c.p for c in found]), strict=True)]
    return tests


def left_out(study: Study) -> list[str]:
    """``name side: reason`` of what could not be asked, each once."""
    found = []
    for run in study.runs:
        for name, sides in _items(_part(run.results.get("benchmarks"), "left_out")):
            words = {"target": run.lang, "en": "English"}
            found += [f"{name}, {words.get(side, side)}: {reason}" for side, reason in _items(sides)]
    return list(dict.fromkeys(found))


def to_csv(marks: Sequence[Mark]) -> str:
    """One line per benchmark, language, size, method and side; shares of 0 to 1 in full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    own = ("mean", "low", "high", "change", "chance", "n", "runs")
    asked = ("name", "scoring", "shots", "shots_from", "prompt", "template")
    writer.writerow(["benchmark", *asked[1:3], "language", "data_size", "method", "side", *own, *FURTHER, *asked[3:]])
    for mark in marks:
        how = [getattr(mark.asked, key) for key in asked]
        place = [mark.lang, mark.size, mark.label, mark.side]
        further = dict(mark.further)
        values = [*(getattr(mark, key) for key in own), *(further.get(key) for key in FURTHER)]
        writer.writerow(["" if cell is None else cell for cell in [*how[:3], *place, *values, *how[3:]]])
    return out.getvalue()


def tests_csv(tests: Mapping[Asked, Sequence[Comparison]]) -> str:
    """One line per paired test, points of accuracy in full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [*Comparison.__dataclass_fields__, "verdict"]
    writer.writerow(["benchmark", "scoring", "shots", *names])
    for asked, found in tests.items():
        lead = [asked.name, asked.scoring, asked.shots]
        writer.writerows([*lead, *(getattr(c, name) for name in names)] for c in found)
    return out.getvalue()


def _chance_and_n(group: Sequence[Mapping[str, Any]]) -> tuple[float | None, int]:
    counts = [int(_number(summary.get("n")) or 0) for summary in group]
    return _number(group[0].get("chance")), min(counts)


def _part(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, dict) else None


def _items(value: object) -> list[tuple[str, Any]]:
    return [(str(key), item) for key, item in value.items()] if isinstance(value, dict) else []


def _number(value: object) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None  # type: ignore[arg-type]
