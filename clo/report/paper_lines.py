"""The papers' numbers beside ours as text: for pages, LaTeX, the terminal, and files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clo.report.collect import Run
from clo.report.formats import daggered, decimal, signed, with_interval
from clo.report.paper import MEASURES, UNKNOWN, Paper
from clo.report.paper_cells import Cell, measure_of
from clo.report.paper_gains import GainRow
from clo.storage.files import csv_text

CELLS_TITLE = "Beside the paper, cell by cell"
GAINS_TITLE = "Beside the paper, gains"
NO_CELLS = "No run has a model, a language and a method of the paper's, so no number of it stands beside one of ours."
CELLS_RULE = (
    "Agrees: the 95 % interval of ours holds the paper's number; higher, lower: it lies above, below. The interval is "
    "Student's t over seeds, of benchmarks the widest of it and the bootstrap over rows, for one seed the bootstrap "
    "over rows or pairs; one of two seeds (\u2020) decides nothing. "
    "Not comparable: what is named is known to differ; the number of items is the paper's unless it says nearest. "
    "Sure: verified, read in a primary text; secondary, told by a summary; doubtful, in no verdict. A setting that the "
    "paper does not give may differ unseen."
)
GAINS_RULE = (
    "The paper's gains are of its models, measures and rows, ours of this study's: only directions are compared, never "
    "sizes. Same direction: our 95 % interval lies on the side of 0 where all of the paper's gains lie; other "
    "direction: on the other side; undecided: anything else, and what rests on one seed or two (\u2020). Paper: mean, "
    "and lowest to highest where there are several; of a win rate against the rival itself, what is above 50. Ours: "
    "points of the right object in the right language, or of chrF where no object is known; in English right content, "
    "or chrF."
)
CELL_HEADS = ("model", "lang", "arm", "items", "measure", "paper", "sure", "ours (95 %)", "seeds", "verdict")
GAIN_HEADS = ("gain", "tier", "lang", "of", "measure", "models", "paper", "sure", "ours (95 %)", "seeds", "verdict")


def there(cells: Iterable[Cell]) -> list[Cell]:
    """Those that the study has, by model, language, arm and items."""
    found = (cell for cell in cells if cell.there)
    return sorted(found, key=lambda cell: (cell.paper.model, cell.paper.lang, cell.label, cell.size))


def counted(cells: Sequence[Cell]) -> str:
    """How many of the papers' numbers the study has a cell for, in a sentence."""
    numbers = {id(cell.paper) for cell in cells}
    beside = len({id(cell.paper) for cell in there(cells)})
    return f"Of {len(numbers)} numbers of the papers this study has a cell for {beside or 'none'}."


def cell_rows(cells: Sequence[Cell], paper: Paper) -> list[list[str]]:
    """Cells as text, under CELL_HEADS."""
    rows = []
    for c in cells:
        lead = [paper.models.get(c.paper.model, c.paper.model), c.paper.lang, c.label, f"{c.size or 0:,}"]
        theirs = (signed if c.paper.gain else decimal)(c.paper.value)
        told = [measure_of(c), theirs, sure_of(c.paper.confidence, c.paper.source.key), ours_of(c), str(c.seeds)]
        rows.append([*lead, *told, f"{c.verdict}: {c.why}" if c.verdict == "not comparable" else c.verdict])
    return rows


def sure_of(confidence: str, source: str) -> str:
    """How sure a number is, and of which text it is where that is not the CLO paper."""
    return confidence if source == "paper" else f"{confidence}, {source}"


def ours_of(cell: Cell) -> str:
    """Our number with its interval."""
    told = signed if cell.paper.gain else decimal
    interval = "" if cell.low is None or cell.high is None else f" ({told(cell.low)} to {told(cell.high)})"
    return told(cell.ours) + daggered(interval, cell.seeds)


def gain_lines(rows: Sequence[GainRow]) -> list[list[str]]:
    """Rows as text, under GAIN_HEADS."""
    several = len({row.arm for row in rows}) > 1
    lines = []
    for row in rows:
        words = row.question.words + (f" ({row.arm})" if several else "")
        first, ours = row.gains[0], row.ours
        theirs = [first.source.key, MEASURES[first.measure], models_of(row), paper_of(row), confidence_of(row)]
        told = [with_interval(ours.gap, ours.low, ours.high, ours.seeds), str(ours.seeds), row.verdict]
        lines.append([words, row.tier, " and ".join(row.langs), *theirs, *told])
    return lines


def models_of(row: GainRow) -> str:
    """Whose gains the paper's are, beside ours."""
    models = {gain.model for gain in row.gains}
    if row.same_model:
        return "the same"
    return "not named" if models == {UNKNOWN} else f"{len(models)} other" + ("s" if len(models) > 1 else "")


def paper_of(row: GainRow) -> str:
    """The paper's mean, and its range."""
    values = [gain.value for gain in row.gains]
    return signed(row.mean) + (f" ({signed(min(values))} to {signed(max(values))})" if len(values) > 1 else "")


def confidence_of(row: GainRow) -> str:
    """How sure the paper's gains are: the least of them."""
    found = {gain.confidence for gain in row.gains}
    return "secondary" if "secondary" in found else "verified"


def names_of(runs: Iterable[Run]) -> str:
    """Folders of runs, parted by spaces."""
    return " ".join(dict.fromkeys(run.folder.name for run in runs))


_CELL_FILE = (
    *("source", "arxiv", "place", "model", "language", "method", "against", "gain", "side", "measure", "data_size"),
    *("paper", "confidence", "note", "arm", "our_data_size", "ours", "low", "high", "seeds", "verdict", "why", "runs"),
)
_GAIN_FILE = (
    *("gain", "arm", "tier", "languages", "source", "measure", "models", "paper_mean", "paper_low", "paper_high"),
    *("confidence", "model", "ours", "low", "high", "seeds", "compared", "verdict", "runs"),
)


def cells_csv(cells: Sequence[Cell]) -> str:
    """One line per number of the papers and arm of ours, in full precision; also numbers that no cell stands beside."""
    rows = []
    for c in cells:
        p = c.paper
        lead = [p.source.key, p.source.arxiv, p.place, p.model, p.lang, p.method, p.against, int(p.gain), p.side]
        told = [p.measure, p.size, p.value, p.confidence, p.note]
        rows.append([*lead, *told, c.label, c.size, c.ours, c.low, c.high, c.seeds, c.verdict, c.why, names_of(c.runs)])
    return csv_text(_CELL_FILE, rows)


def gains_csv(rows: Sequence[GainRow]) -> str:
    """One line per row, in full precision."""
    told: list[list[object]] = []
    for row in rows:
        values, o = [gain.value for gain in row.gains], row.ours
        models = " ".join(dict.fromkeys(gain.model for gain in row.gains))
        lead = [row.question.words, row.arm, row.tier, " ".join(row.langs), row.gains[0].source.key]
        theirs = [row.gains[0].measure, models, row.mean, min(values), max(values), confidence_of(row)]
        told.append([*lead, *theirs, o.model, o.gap, o.low, o.high, o.seeds, o.what, row.verdict, names_of(o.runs)])
    return csv_text(_GAIN_FILE, told)
