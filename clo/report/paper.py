"""The numbers of the CLO paper and of its later re-run, with their places and how sure they are: ``paper.yaml``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from clo.errors import UserError
from clo.report.arms import FAMILIES

UNKNOWN = "unknown"
"""For a model or a language that the source does not name."""
CONFIDENCE = ("verified", "secondary", "doubtful")
"""Read in a primary text; told by a summary; contradicted, derived or of an unclear cell."""
MEASURES = {
    "win_rate": "win rate", "lc_win_rate": "length-controlled win rate", "arena_win_rate": "win rate, m-ArenaHard",
    "mmmlu": "MMMLU", "belebele": "BELEBELE", "memory": "peak memory",
}  # fmt: skip
METHODS = {
    **{key: FAMILIES[key] for key in ("sft", "sft_dpo", "clo", "clo_en_nll")},
    "sft_dpo_pairs": "SFT+DPO on quality pairs", "crpo": "CRPO", "clo_full": "CLO on all weights",
}  # fmt: skip
"""As the file names them -> in words."""
SIDES = ("target", "en", "none")
_TABLE = {"place", "source", "measure", "method", "side", "size", "confidence", "values"}
_OPTIONAL = {"against", "gain", "note"}


@dataclass(frozen=True)
class Source:
    """A text that reports numbers."""

    key: str
    title: str
    arxiv: str
    data: str
    """Name of the data file of ours that holds its rows."""
    rows: str
    """What the name of their dataset holds."""
    translator: str
    judge: str | None
    """The model that decides its win rates; None where that is not known."""
    shots: Mapping[str, int]
    """Benchmark -> examples before a question, where known."""


@dataclass(frozen=True)
class PaperValue:
    """One number of a source."""

    source: Source
    place: str
    """Table or figure."""
    model: str
    """Name of a model's file, or ``unknown``."""
    lang: str
    """Code of the target language that was trained for, or ``unknown``."""
    method: str
    """A key of METHODS, as ``against``."""
    against: str
    """Whose answers the judge saw beside, or, of a gain, what is taken off; empty for a score of its own."""
    gain: bool
    """Whether it is a difference, in points, or of memory in percent."""
    side: str
    """Language of the prompts: ``target``, ``en``, or ``none`` where there are none."""
    size: int
    """Training items."""
    measure: str
    """A key of MEASURES."""
    value: float
    """In points or percent."""
    confidence: str
    note: str

    @property
    def sure(self) -> bool:
        """Whether it may stand in a verdict."""
        return self.confidence != "doubtful"


@dataclass(frozen=True)
class Paper:
    """Everything that is known of the two papers' numbers."""

    values: Sequence[PaperValue]
    models: Mapping[str, str]
    """Name of a model's file -> as the papers call it."""
    sources: Mapping[str, Source] = field(default_factory=dict)


@cache
def the_paper() -> Paper:
    """The numbers that come with the package."""
    import yaml

    path = Path(__file__).with_name("paper.yaml")
    return read_paper(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))


def read_paper(tree: Mapping[str, Any], where: str) -> Paper:
    """Check a file's content and flatten it.

    Args:
        tree: what the YAML file holds.
        where: its path, for messages.

    Raises:
        UserError: a key or a word that is not known, a number that is none, or a cell that comes twice.
    """
    if set(tree) != {"sources", "models", "tables"}:
        raise UserError(f"{where}: expected the keys sources, models and tables, got {', '.join(map(str, tree))}")
    sources = {key: Source(key=key, **told) for key, told in tree["sources"].items()}
    models = dict(tree["models"])
    values = [value for table in tree["tables"] for value in _values(table, sources, models, where)]
    cells: dict[tuple[Any, ...], PaperValue] = {}
    for one in values:
        cell = (one.source.key, one.model, one.lang, one.method, one.against, one.gain, one.side, one.measure)
        if cells.setdefault(cell, one) is not one:
            raise UserError(f"{where}: {one.place} has a cell that {cells[cell].place} has too: {cell}")
    return Paper(values, models, sources)


def _values(
    table: Mapping[str, Any], sources: Mapping[str, Source], models: Mapping[str, str], where: str
) -> Iterator[PaperValue]:
    place = f"{where}: {table.get('place', 'a table without a place')}"
    if missing := _TABLE - set(table):
        raise UserError(f"{place} lacks {', '.join(sorted(missing))}")
    if further := set(table) - _TABLE - _OPTIONAL:
        raise UserError(f"{place} has {', '.join(sorted(further))}, which nothing reads")
    words = {
        "source": sources, "measure": MEASURES, "method": METHODS, "side": SIDES, "confidence": CONFIDENCE,
    }  # fmt: skip
    for key, known in words.items():
        if table[key] not in known:
            raise UserError(f"{place}: {key} is {table[key]!r}, expected one of {', '.join(known)}")
    against = table.get("against", "")
    if against and against not in METHODS:
        raise UserError(f"{place}: against is {against!r}, expected one of {', '.join(METHODS)}")
    if (table["measure"].endswith("win_rate") or table.get("gain", False)) and not against:
        raise UserError(f"{place}: a win rate or a gain is against something; say what")
    for model, row in table["values"].items():
        if model != UNKNOWN and model not in models:
            raise UserError(f"{place}: model {model!r} is not among {', '.join(models)}")
        for lang, value in row.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not -100 <= value <= 100:
                raise UserError(f"{place}: {model}, {lang} is {value!r}, expected a number of -100 to 100")
            yield PaperValue(
                sources[table["source"]], table["place"], model, str(lang), table["method"], against,
                bool(table.get("gain", False)), table["side"], int(table["size"]), table["measure"], float(value),
                table["confidence"], str(table.get("note", "")),
            )  # fmt: skip
