"""From runs to the rows of the table: one group of seeds per row, start models, win rates, best values."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from clo.errors import UserError
from clo.report.arms import FAMILIES
from clo.report.collect import Run, Study, grouped, nearest
from clo.report.formats import DAGGER, FEWEST_SEEDS, TWO_SEEDS, few_seeds
from clo.report.measures import COLUMNS, Column, Mean, mean_of, measure, shown
from clo.report.rivals import once, rivals_of

AS_TEXT = ", asked as text"
"""After the name of a start model, where ``model.oracle`` asked it: the ceiling of a transfer."""


@dataclass(frozen=True)
class TableRow:
    """One (language, data size, method) group of ``n`` runs, or a language's start model (size None, no runs)."""

    lang: str
    lang_name: str
    size: int | None
    label: str
    n: int
    cells: dict[str, Mean]
    """Column key -> value; a key without a value is absent."""
    rival: bool = False
    """Whether it is a cheap rival of the row above it."""
    runs: Sequence[Run] = ()
    """Those behind its numbers, also of a start model's row."""


@dataclass(frozen=True)
class Table:
    """Rows, the columns worth showing, and what the reader must know about them."""

    rows: list[TableRow]
    columns: list[Column]
    compare: str | None
    """Label or method that win rates are against; None where there are none."""
    notes: list[str]

    @cached_property
    def groups(self) -> list[list[int]]:
        """Indices of the rows by language and size."""
        return list(grouped(range(len(self.rows)), lambda i: (self.rows[i].lang, self.rows[i].size)).values())

    @cached_property
    def best(self) -> set[tuple[int, str]]:
        """(Row index, column key) of the best mean within a language and size, where means differ.

        A mean of fewer than FEWEST_SEEDS is never one: the next seed may well turn the order round.
        """
        found = set()
        for indices in self.groups:
            for column in (column for column in COLUMNS if column.score):  # a win rate has no row to beat at 50 %
                key, best = column.key, min if column.lower else max
                cells = {i: self.rows[i].cells[key] for i in indices if key in self.rows[i].cells}
                means = {cell.mean for cell in cells.values()}
                if self.rows[indices[0]].size is not None and len(means) > 1:
                    firm = {i for i, cell in cells.items() if cell.n >= FEWEST_SEEDS}
                    found |= {(i, key) for i in firm if cells[i].mean == best(means)}
        return found

    def cells(self, index: int, columns: Sequence[Column] | None = None) -> list[tuple[str, str, bool]]:
        """(Mean, half-width, whether it is the best) of a row as text, by column."""
        cells, columns = self.rows[index].cells, self.columns if columns is None else columns
        return [(*shown(cells.get(c.key), c), (index, c.key) in self.best) for c in columns]


def build(study: Study, compare: str | None = None) -> Table:
    """Compute the table.

    Args:
        study: what ``collect`` found.
        compare: method or label that win rates are against; None is ``sft`` where the study has it.

    Raises:
        UserError: ``compare`` names no method of the study.
    """
    against = compare or "sft"
    if not any(run.named(against) for run in study.runs):
        if compare:
            there = "; ".join((*dict.fromkeys(run.method for run in study.runs), *study.labels))
            raise UserError(f"compare={compare} is no method of study {study.name}; set one of {there}")
        against = ""
    wins = _win_rates(study, against) if against else {}
    rows: list[TableRow] = []
    for lang, runs in grouped(study.runs, lambda run: run.lang).items():
        name, starts = runs[0].lang_name, grouped(runs, lambda run: run.base)
        for (model, data), group in starts.items():
            label = "start" if len(starts) == 1 else f"start model={model} data={data}"
            rows.append(TableRow(lang, name, None, label, 0, _cells(once(group), {}, "start"), runs=once(group)))
            told = once([run for run in group if run.part("oracle")])
            if asked_as_text := _cells(told, {}, "oracle"):
                rows.append(TableRow(lang, name, None, f"{label}{AS_TEXT}", 0, asked_as_text, runs=told))
            for key, words, asked in rivals_of(group, of_weights=False):
                cells = _cells(asked, {}, f"rivals/{key}")
                rows.append(TableRow(lang, name, None, f"{label}{words}", 0, cells, True, asked))
        for (size, label), group in grouped(runs, lambda run: (run.size, run.label)).items():
            rows.append(TableRow(lang, name, size, label, len(group), _cells(group, wins), runs=group))
            last = [run for run in group if run.part("last")]
            if last:
                cells = _cells(last, {}, "last/scores")
                rows.append(TableRow(lang, name, size, f"{label}: last weights", len(last), cells, runs=last))
            for key, words, asked in rivals_of(group, of_weights=True):
                cells = _cells(asked, {}, f"rivals/{key}")
                rows.append(TableRow(lang, name, size, f"{label}{words}", len(asked), cells, True, asked))
    filled = {key for row in rows for key in row.cells}
    columns = [c for c in COLUMNS if c.key in filled and c.instead_of not in filled]
    return Table(
        rows, columns, against if wins else None, _notes(study, rows, FAMILIES.get(against, against) if wins else "")
    )


def _cells(group: Sequence[Run], wins: Mapping[Path, float], when: str = "scores") -> dict[str, Mean]:
    """Means over runs; a start model depends on no seed, so it has no interval."""
    cells = {}
    for column in COLUMNS:
        read = (measure(run, column, when) if column.score else wins.get(run.folder) for run in group)
        told = not column.change or when == "scores" or when.startswith("rivals/")
        values = [value for value in read if value is not None and told]
        if values:
            cells[column.key] = mean_of(values) if when != "start" else Mean(statistics.fmean(values), None, 1)
    return cells


def _win_rates(study: Study, against: str) -> dict[Path, float]:
    """Folder -> win rate in the target language against the baseline run of equal language, size and seed.

    Of several the one that trains the same weights for as many steps; a run without exactly one such rival has none.
    """
    from clo.evaluation.win_rate import compare, read_samples

    def place(run: Run) -> tuple[Any, ...]:
        return run.lang, run.size, run.seed, run.base

    baselines = grouped((run for run in study.runs if run.named(against)), place)
    rates = {}
    for run in study.runs:
        rivals = nearest(run, baselines.get(place(run), []))
        if len(rivals) == 1 and not run.named(against):
            with suppress(UserError):  # one of the two has no samples, or they share no prompt
                found = compare(read_samples(run.folder), read_samples(rivals[0].folder), "target")
                rates[run.folder] = float(found["win_rate"])
    return rates


def _notes(study: Study, rows: Sequence[TableRow], against: str) -> list[str]:
    counts = sorted({row.n for row in rows if row.size is not None})
    seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    interval = "Mean ± half-width of the 95 % t-interval over seeds, where there are at least two."
    chance = "One seed gives no interval: differences between rows may be chance."
    few = any(few_seeds(cell.n) for row in rows for cell in row.cells.values())
    dagger = f" {DAGGER} {TWO_SEEDS}" * few
    notes = [f"Runs (seeds) per row: {seeds}. {interval if counts[-1] > 1 else chance}{dagger}"]
    notes.append("Gains and changes are differences to the start model, in points.")
    if against:
        notes.append(f"Win rate: against {against} on the same prompts, size and seed; a tie counts half.")
    return notes + [f"The same for every row that has it: {', '.join(study.shared)}."] * bool(study.shared)
