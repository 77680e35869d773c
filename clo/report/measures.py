"""The measures of a report: what is read from a run, in which unit, and the mean over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clo.report.collect import Run, Study
from clo.report.formats import DASH, daggered, decimal, signed


@dataclass(frozen=True)
class Column:
    """One measure of the table; its side is the language of the prompts, ``target`` or ``en``."""

    key: str
    """Name in table.csv."""
    side: str
    head: str
    """Heading, with the unit."""
    score: str = ""
    """Key in a score block of results.json; empty for the win rate."""
    group: str = "all"
    change: bool = False
    """Difference to the start model instead of the value itself."""
    factor: float = 100.0
    """From the stored unit to the shown one."""
    instead_of: str = ""
    """Key of the column that hides this one wherever it has a value."""
    lower: bool = False
    """Whether less of it is better."""


KL = "KL to the start (nats per 100 tokens)"
NLL = "NLL of the reference (nats per 100 tokens)"
COLUMNS = (
    Column("target_right", "target", "right (%)", "right"),
    Column("target_right_seen", "target", "right, seen (%)", "right", "seen"),
    Column("target_right_unseen", "target", "right, unseen (%)", "right", "unseen"),
    Column("target_exact_seen", "target", "exact, seen (%)", "exact", "seen"),
    Column("target_exact_unseen", "target", "exact, unseen (%)", "exact", "unseen"),
    Column("target_exact", "target", "exact (%)", "exact", instead_of="target_exact_seen"),
    Column("target_chrf", "target", "chrF", "chrf", factor=1.0),
    Column("target_gain_chrf", "target", "chrF gain", "chrf", change=True, factor=1.0),
    Column("target_nll", "target", NLL, "nll", instead_of="english_content", lower=True),
    Column("target_language_ok", "target", "right language (%)", "language_ok"),
    Column("target_lines_ok", "target", "all lines right (%)", "lines_ok"),
    Column("target_win_rate", "target", "win rate (%)"),
    Column("english_content", "en", "content (%)", "content"),
    Column("english_change_content", "en", "content change", "content", change=True),
    Column("english_chrf", "en", "chrF", "chrf", factor=1.0, instead_of="english_content"),
    Column("english_change_chrf", "en", "chrF change", "chrf", "all", True, 1.0, "english_change_content"),
    Column("english_nll", "en", NLL, "nll", instead_of="english_content", lower=True),
    Column("english_kl_unseen", "en", "KL to the start, unseen (nats per 100 tokens)", "kl", "unseen", lower=True),
    Column("english_kl", "en", KL, "kl", instead_of="english_kl_unseen", lower=True),
    Column("english_exact", "en", "exact (%)", "exact"),
    Column("english_language_ok", "en", "right language (%)", "language_ok"),
)
BY_KEY = {column.key: column for column in COLUMNS}


@dataclass(frozen=True)
class Mean:
    """Mean over seeds in the stored unit."""

    mean: float
    half: float | None
    """Half-width of the 95 % t-interval over seeds; None for one seed."""
    n: int


def mean_of(values: Sequence[float]) -> Mean:
    """Mean and half-width of the 95 % t-interval; at least one value."""
    from clo.evaluation.statistics import seed_interval

    found = seed_interval(values)
    return Mean(found.value, None if found.high is None else found.high - found.value, len(values))


def measure(run: Run, column: Column, when: str = "scores") -> float | None:
    """The column's number for one run, or None; the win rate is not of one run."""
    value = run.score(column.side, column.score, column.group, when)
    if not column.change or value is None:
        return value
    start = run.score(column.side, column.score, column.group, "start")
    return None if start is None else value - start


def target_column(study: Study) -> Column:
    """What stands for skill in the target language: the right object in it where the data have it, else chrF."""
    right = BY_KEY["target_right"]
    return right if any(measure(run, right) is not None for run in study.runs) else BY_KEY["target_chrf"]


def english_column(study: Study, change: bool = False) -> Column:
    """What stands for English skill: content where the data have it, else chrF."""
    middle = "change_" if change else ""
    content = BY_KEY[f"english_{middle}content"]
    known = any(measure(run, content) is not None for run in study.runs)
    return content if known else BY_KEY[f"english_{middle}chrf"]


def shown(cell: Mean | None, column: Column) -> tuple[str, str]:
    """Mean and half-width as text in the shown unit; the second is empty for one seed, and marked for two."""
    if cell is None:
        return DASH, ""
    text = (signed if column.change else decimal)(cell.mean * column.factor)
    return text, "" if cell.half is None else daggered(f"{cell.half * column.factor:.1f}", cell.n)
