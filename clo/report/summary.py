"""From runs to the rows of the table: one group of seeds per row, start models, win rates, best values."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clo.errors import UserError
from clo.report.collect import Run, Study
from clo.report.measures import COLUMNS, Column, Mean, mean_of, measure


@dataclass(frozen=True)
class TableRow:
    """One (language, data size, method) group, or a language's start model (size None)."""

    lang: str
    lang_name: str
    size: int | None
    label: str
    n: int
    """Runs."""
    cells: dict[str, Mean]
    """Column key -> value; a key without a value is absent."""


@dataclass(frozen=True)
class Table:
    """Rows, the columns worth showing, and what the reader must know about them."""

    rows: list[TableRow]
    columns: list[Column]
    compare: str | None
    """Label or method that win rates are against; None where there are none."""
    notes: list[str] = field(default_factory=list)
    best: set[tuple[int, str]] = field(default_factory=set)
    """(row index, column key) of the highest mean within a language and size."""


def groups_of(runs: Sequence[Run]) -> dict[tuple[str, int, str], list[Run]]:
    """Runs by (language, data size, label), in table order."""
    groups: dict[tuple[str, int, str], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.lang, run.size, run.label].append(run)
    return dict(groups)


def build(study: Study, compare: str | None = None) -> Table:
    """Compute the table.

    Args:
        study: what ``collect`` found.
        compare: method or label that win rates are against; None is ``sft`` where the study has it.

    Raises:
        UserError: ``compare`` names no method of the study.
    """
    against = compare or "sft"
    if not any(against in (run.method, run.label) for run in study.runs):
        if compare:
            there = ", ".join(study.labels)
            raise UserError(f"compare={compare} is no method of study {study.name}; set one of {there}")
        against = ""
    wins = _win_rates(study, against) if against else {}
    rows: list[TableRow] = []
    for lang in study.langs:
        runs = [run for run in study.runs if run.lang == lang]
        rows += _start_rows(runs)
        rows += [
            TableRow(lang, _name(group), size, label, len(group), _cells(group, wins))
            for (_, size, label), group in groups_of(runs).items()
        ]
    filled = {key for row in rows for key in row.cells}
    columns = [c for c in COLUMNS if c.key in filled and c.instead_of not in filled]
    return Table(rows, columns, against if wins else None, _notes(rows, against, bool(wins)), _best(rows))


def _name(group: Sequence[Run]) -> str:
    return str(group[0].results.get("lang_name") or group[0].lang)


def _start_rows(runs: Sequence[Run]) -> list[TableRow]:
    """One row per model and data; the start model depends on no seed, so it has no interval."""
    by_base: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        by_base[run.base].append(run)
    rows = []
    for (model, data), group in by_base.items():
        cells = {}
        for column in COLUMNS:
            values = [v for run in group if (v := measure(run, column, "start")) is not None]
            if values and not column.change:
                cells[column.key] = Mean(statistics.fmean(values), None, 1)
        label = "start" if len(by_base) == 1 else f"start model={model} data={data}"
        rows.append(TableRow(group[0].lang, _name(group), None, label, 0, cells))
    return rows


def _cells(group: Sequence[Run], wins: Mapping[Path, float]) -> dict[str, Mean]:
    cells = {}
    for column in COLUMNS:
        read = (measure(run, column) if column.score else wins.get(run.folder) for run in group)
        mean = mean_of([value for value in read if value is not None])
        if mean is not None:
            cells[column.key] = mean
    return cells


def _win_rates(study: Study, against: str) -> dict[Path, float]:
    """Folder -> win rate in the target language against the baseline run of equal language, size and seed."""
    from clo.evaluation.win_rate import compare, read_samples

    rates = {}
    for run in study.runs:
        rival = None if against in (run.method, run.label) else _rival(study, run, against)
        if rival is None:
            continue
        try:
            found = compare(read_samples(run.folder), read_samples(rival.folder), "target")
        except UserError:  # one of the two has no samples, or they share no prompt: no win rate for this pair
            continue
        rates[run.folder] = float(found["win_rate"])
    return rates


def _rival(study: Study, run: Run, against: str) -> Run | None:
    """The one baseline run to compare with; None where there is none, or where several are equally near."""
    cell = (run.lang, run.size, run.seed, run.base)
    rivals = [
        other
        for other in study.runs
        if against in (other.method, other.label) and (other.lang, other.size, other.seed, other.base) == cell
    ]
    same = [other for other in rivals if other.parts == run.parts]
    return rivals[0] if len(rivals) == 1 else same[0] if len(same) == 1 else None


def _best(rows: Sequence[TableRow]) -> set[tuple[int, str]]:
    cells: dict[tuple[str, int], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if row.size is not None:
            cells[row.lang, row.size].append(index)
    best = set()
    for members in cells.values():
        for column in (column for column in COLUMNS if column.score):  # a win rate has no row to beat at 50 %
            means = {i: rows[i].cells[column.key].mean for i in members if column.key in rows[i].cells}
            if len(set(means.values())) > 1:
                best |= {(i, column.key) for i, mean in means.items() if mean == max(means.values())}
    return best


def _notes(rows: Sequence[TableRow], against: str, wins: bool) -> list[str]:
    counts = sorted({row.n for row in rows if row.size is not None})
    seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    notes = [f"Runs (seeds) per row: {seeds}."]
    if counts[-1] > 1:
        notes[0] += " Mean ± half-width of the 95 % t-interval over seeds, where there are at least two."
    else:
        notes[0] += " One seed gives no interval: differences between rows may be chance."
    notes.append("Gains and changes are differences to the start model, in points.")
    if wins:
        notes.append(f"Win rate: against {against} on the same prompts, size and seed; a tie counts half.")
    return notes
