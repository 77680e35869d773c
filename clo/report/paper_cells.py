"""Cell by cell beside the papers: their number, how sure it is, ours with its interval, and whether the two agree.

A cell of ours is a counterpart where model, language and method are the paper's; where another number of items is the
nearest that there is, or anything else that is known to differ, the cell says so and gets no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clo.report.arms import FAMILIES, number_of, objective, weights
from clo.report.benchmarks import Benchmarks, BenchmarkScore
from clo.report.claim_tests import clo_arms
from clo.report.collect import Run, Study, grouped
from clo.report.formats import counted_seeds, few_seeds
from clo.report.judged import Verdicts
from clo.report.paper import MEASURES, METHODS, Paper, PaperValue

if TYPE_CHECKING:
    from clo.evaluation.statistics import Interval

OPEN_PROMPTS = "alpaca"
"""In the name of the answers to AlpacaEval's prompts, as docs/reproduce.md names them."""


@dataclass(frozen=True)
class Cell:
    """A number of a paper and ours."""

    paper: PaperValue
    label: str
    """Of our arm; empty where the study has no such cell, as the rest."""
    size: int | None = None
    ours: float | None = None
    """In the paper's unit, points or percent."""
    low: float | None = None
    high: float | None = None
    """95 %, see `CELLS_RULE`."""
    seeds: int = 0
    unequal: tuple[str, ...] = ()
    """What is known to differ from the paper's cell."""
    runs: tuple[Run, ...] = ()
    """Those behind our number."""
    how: str = ""
    """How ours was asked or judged."""

    @property
    def there(self) -> bool:
        """Whether the study has a counterpart."""
        return bool(self.runs)

    @property
    def nearest(self) -> bool:
        """Whether the counterpart is the nearest one, of another number of items."""
        return self.size is not None and self.size != self.paper.size

    @property
    def verdict(self) -> str:
        """``agrees``, ``higher`` or ``lower``, saying so of one seed; or that there is nothing to say.

        Two seeds decide nothing: their interval rests on a single difference.
        """
        if not self.there:
            return "no such cell"
        if self.why or self.low is None or self.high is None:
            return "not comparable"
        if few_seeds(self.seeds):
            return f"undecided ({counted_seeds(self.seeds)})"
        inside = self.low <= self.paper.value <= self.high
        found = "agrees" if inside else "higher" if self.low > self.paper.value else "lower"
        return found if self.seeds > 1 else f"{found} (one seed)"

    @property
    def why(self) -> str:
        """What keeps the two from being compared; empty where nothing does."""
        reasons = [] if self.paper.sure else ["the paper's number is doubtful"]
        reasons += self.unequal
        reasons += ["one seed without an interval"] if self.there and self.low is None else []
        return "; ".join(reasons)


@dataclass(frozen=True)
class _Ours:
    """Our number for a cell."""

    value: float
    low: float | None
    high: float | None
    runs: tuple[Run, ...]
    unequal: tuple[str, ...] = ()
    how: str = ""


def paper_cells(study: Study, benchmarks: Benchmarks, verdicts: Sequence[Verdicts], paper: Paper) -> list[Cell]:
    """A line per number of the papers and arm of ours that is its counterpart; one without ours where there is none."""
    bench = _Bench(study, benchmarks, verdicts)
    return [cell for value in paper.values for cell in (list(bench.cells(value)) or [Cell(value, "")])]


class _Bench:
    """The runs of a study, to be found by the papers' cells."""

    def __init__(self, study: Study, benchmarks: Benchmarks, verdicts: Sequence[Verdicts]) -> None:
        self.study, self.benchmarks = study, benchmarks
        self.runs = {run.folder.name: run for run in study.runs}
        self.verdicts = grouped(verdicts, lambda one: one.run)
        self.arms = set(clo_arms(study))

    def cells(self, value: PaperValue) -> Iterator[Cell]:
        for label, runs in grouped(self._of(value, value.method), lambda run: run.label).items():
            size = min({run.size for run in runs}, key=lambda n: (abs(math.log(n / value.size)), -n))
            there = [run for run in runs if run.size == size]
            for ours in self._measured(value, there):
                found = Cell(value, label, size, ours.value, ours.low, ours.high, len({r.seed for r in ours.runs}))
                yield replace(found, unequal=(*_unequal(value, there), *ours.unequal), runs=ours.runs, how=ours.how)

    def _of(self, value: PaperValue, method: str) -> list[Run]:
        """Runs of the cell's model, language and method, of whatever size; CLO's are its arms that are the paper's."""
        there = (r for r in self.study.runs if (r.base[0], r.lang, r.targets) == (value.model, value.lang, 1))
        found = [run for run in there if objective(run.recorded) == FAMILIES.get(method, method)]
        return [run for run in found if run.label in self.arms] if method == "clo" else found

    def _measured(self, value: PaperValue, runs: Sequence[Run]) -> Iterator[_Ours]:
        if value.measure in ("mmmlu", "belebele"):
            yield from self._benchmark(value, runs)
        elif value.measure in ("win_rate", "lc_win_rate"):
            yield from self._judged(value, runs)

    def _benchmark(self, value: PaperValue, runs: Sequence[Run]) -> Iterator[_Ours]:
        place = (value.measure, value.lang, runs[0].size, runs[0].label, value.side)
        for score in self.benchmarks.scores:
            if (score.asked.name, score.lang, score.size, score.label, score.side) == place:
                shown = tuple(run for run in runs if run.part("benchmarks", "scores", score.asked.name))
                yield _Ours(100 * score.mean, *_points(score), shown, _asked(value, score), score.asked.title)

    def _judged(self, value: PaperValue, runs: Sequence[Run]) -> Iterator[_Ours]:
        """Win rates against the rival, by judge, prompts and arm of it; of a gain another arm's own are taken off."""
        ours = self._rates(value, runs, "sft" if value.gain else value.against)
        rivals = self._rates(value, self._of(value, value.against), "sft") if value.gain else {}
        for (model, answers, label), rates in ours.items():
            if value.gain:
                rates = _less(rates, rivals.get((model, answers, label), []))
            if rates:
                found = _over_seeds([rate.value for rate in rates])
                low, high = (found.low, found.high) if len(rates) > 1 else (rates[0].low, rates[0].high)
                shown = tuple(run for rate in rates for run in rate.runs)
                yield _Ours(found.value, low, high, shown, _judge(value, model, answers), f"judge {model}, {label}")

    def _rates(self, value: PaperValue, runs: Sequence[Run], against: str) -> dict[tuple[str, str, str], list[_Ours]]:
        """(Judge, answers, label of the rival) -> win rates in percent, each of a run."""
        found = []
        for run in runs:
            for one in self.verdicts.get(run.folder.name, []):
                rival = self.runs.get(one.against)
                controlled = value.measure == "lc_win_rate"
                rate = one.length_controlled if controlled else one.win_rate
                if one.side != value.side or rate is None or rival is None or not _is(rival, against):
                    continue
                low, high = (None if end is None or controlled else 100 * end for end in (one.low, one.high))
                found.append(((one.model, one.answers, rival.label), _Ours(100 * rate, low, high, (run,))))
        return {key: [rate for _, rate in own] for key, own in grouped(found, lambda pair: pair[0]).items()}


def _less(ours: Sequence[_Ours], theirs: Sequence[_Ours]) -> list[_Ours]:
    """Differences of the win rates of runs of equal size and seed; one alone has no interval."""
    off = {(rate.runs[0].size, rate.runs[0].seed): rate for rate in theirs}
    pairs = [(rate, off.get((rate.runs[0].size, rate.runs[0].seed))) for rate in ours]
    return [_Ours(a.value - b.value, None, None, (*a.runs, *b.runs)) for a, b in pairs if b is not None]


def _is(run: Run, method: str) -> bool:
    """Whether a run is of a method as the papers' file names it."""
    if method == "clo_full":
        return objective(run.recorded) == FAMILIES["clo"] and weights(run.recorded) == "all weights"
    return objective(run.recorded) == FAMILIES.get(method, method)


def _over_seeds(values: Sequence[float]) -> Interval:
    from clo.evaluation.statistics import seed_interval

    return seed_interval(values)


def _points(score: BenchmarkScore) -> tuple[float | None, float | None]:
    low, high = (None if end is None else 100 * end for end in (score.low, score.high))
    return low, high


def _unequal(value: PaperValue, runs: Sequence[Run]) -> list[str]:
    """What is known to differ between our arm and the paper's cell."""
    run, found = runs[0], []
    if run.size != value.size:
        found.append(f"nearest: {run.size:,} items for {value.size:,}")
    source, of, translator = (
        value.source,
        run.config.get("data.source.dataset"),
        run.config.get("data.translation.model"),
    )
    if run.base[1] != source.data or source.rows not in str(of).lower():
        found.append(f"other rows ({run.base[1]})")
    elif translator != source.translator:
        found.append(f"translated by {translator}, the paper's by {source.translator}")
    if value.method in ("clo", "clo_en_nll") and value.source.key == "paper" and weights(run.recorded) != "attention":
        found.append(f"trains {weights(run.recorded)}, the paper attention")
    lam = number_of(run.recorded.get("method.lam"))
    if value.method == "clo" and lam != 0.5:
        found.append(f"λ {lam}, the paper .5")
    return found


def _asked(value: PaperValue, score: BenchmarkScore) -> tuple[str, ...]:
    """What is known to differ in how a benchmark was asked."""
    shots, first = value.source.shots.get(value.measure), score.asked.first
    found = [] if shots in (None, score.asked.shots) else [f"{score.asked.shots} shots, the paper {shots}"]
    return (*found, *([f"its first {first.removeprefix('first')} rows"] if first else []))


def _judge(value: PaperValue, model: str, answers: str) -> tuple[str, ...]:
    """What is known to differ in who judged what."""
    judge = value.source.judge
    found = [] if OPEN_PROMPTS in answers.lower() else ["test prompts, not AlpacaEval's"]
    if judge is None:
        found.append(f"the paper's judge is not known (ours {model})")
    elif judge != model:
        found.append(f"judge {model}, the paper {judge}")
    return tuple(found)


def measure_of(cell: Cell) -> str:
    """The measure in words, with its rival, its side, and how ours was asked."""
    value = cell.paper
    words = f"{MEASURES[value.measure]}{', English' if value.side == 'en' else ''}"
    rival = f", {'less' if value.gain else 'against'} {METHODS[value.against]}" if value.against else ""
    return f"{words}{rival} ({cell.how})"
