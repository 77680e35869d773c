"""Every table of a report as a file of LaTeX, and one document that holds them all."""

from __future__ import annotations

from collections.abc import Sequence

from clo.report.benchmarks import table_of
from clo.report.claim_results import claim_lines
from clo.report.claims import RULE
from clo.report.comparisons import Comparison
from clo.report.equal import TITLE, lines
from clo.report.findings import Findings
from clo.report.formats import DASH, SHORT_SIDES, percent, signed
from clo.report.paper import the_paper
from clo.report.paper_lines import (
    CELL_HEADS,
    CELLS_RULE,
    CELLS_TITLE,
    GAIN_HEADS,
    GAINS_RULE,
    GAINS_TITLE,
    cell_rows,
    gain_lines,
    there,
)
from clo.report.render import render
from clo.report.tables import to_latex
from clo.report.tex import TexTable, parted

NAMES = ("table", "equal", "claims", "paper", "paper_gains", "comparisons", "benchmarks", "judged")
"""Of the files, in the order of the document."""


def tex_files(found: Findings) -> dict[str, str]:
    """Name of a file -> its content; empty for a table that the study has nothing for."""
    tables = {name: table for name, table in _tables(found).items() if table.rows}
    files = {f"{name}.tex": "" for name in NAMES}
    files["table.tex"] = to_latex(found.table)
    for name, table in tables.items():
        files[f"{name}.tex"] = render("plain.tex", table=table, groups=parted(table.rows))
    told = [("table", "All runs", " ".join(found.table.notes))]
    told += [(name, tables[name].title, tables[name].note) for name in NAMES if name in tables]
    return files | {"report.tex": render("report.tex", study=found.study, tables=told)}


def _tables(found: Findings) -> dict[str, TexTable]:
    heads, claims = claim_lines(found.claims)
    wide = {0: 4.5, heads.index("difference (95 %)"): 5, heads.index("on"): 4, heads.index("paper"): 5.5}
    cells = cell_rows(there(found.cells), the_paper())
    return {
        "equal": TexTable(TITLE, *lines(found.equal), right=(1, 4, 5)),
        "claims": TexTable("The paper's claims", heads, claims, RULE, wide=wide | {heads.index("verdict"): 2.5}),
        "paper": TexTable(CELLS_TITLE, CELL_HEADS, cells, CELLS_RULE, (3, 5, 8), {4: 4, 9: 6}),
        "paper_gains": TexTable(GAINS_TITLE, GAIN_HEADS, gain_lines(found.gains), GAINS_RULE, (9,), {0: 4.5, 10: 3}),
        "comparisons": _comparisons(found.comparisons),
        "benchmarks": _benchmarks(found),
        "judged": _judged(found),
    }


def _comparisons(found: Sequence[Comparison]) -> TexTable:
    heads = ["side", "lang", "method", "items", "against", "items", "prompts", "seeds", "chrF difference", "95 %", "p"]
    rows = []
    for c in found:
        place = [SHORT_SIDES[c.side], c.lang, c.label, f"{c.size:,}", c.against, f"{c.against_size:,}"]
        rows.append([*place, str(c.items), str(c.seeds), *c.numbers(), c.verdict])
    return TexTable("More than chance?", [*heads, "detectable", "verdict"], rows, right=(3, 5, 6, 7, 8, 9, 10, 11))


def _benchmarks(found: Findings) -> TexTable:
    heads = ["benchmark", "lang", "items", "method", "runs", "side", "right (%)", "95 %", "change"]
    rows = []
    for asked in found.benchmarks.asked:
        for name, size, labels in table_of(found.study, found.benchmarks, asked)["groups"]:
            for label, by_side in labels:
                for side, score in by_side.items():
                    ends = [DASH if end is None else percent(end) for end in (score.low, score.high)]
                    place = [asked.title, name, "" if size is None else f"{size:,}", label, str(score.runs or "")]
                    change = "" if score.change is None else signed(100 * score.change)
                    rows.append([*place, SHORT_SIDES[side], percent(score.mean), " to ".join(ends), change])
    return TexTable("Benchmarks", heads, rows, right=(2, 4, 6, 7, 8))


def _judged(found: Findings) -> TexTable:
    heads = [
        "run",
        "against",
        "lang",
        "items",
        "side",
        "pairs",
        "win rate (%)",
        "95 %",
        "controlled (%)",
        "judge",
    ]
    rows = []
    for v in found.verdicts:
        ends = [DASH if end is None else percent(end) for end in (v.low, v.high)]
        place = [f"{v.label}, seed {v.seed}", v.against_label or v.against, v.lang, f"{v.size:,}"]
        told = [SHORT_SIDES.get(v.side, v.side), str(v.n), percent(v.win_rate), " to ".join(ends)]
        rows.append([*place, *told, percent(v.length_controlled), v.model])
    return TexTable("Judged win rates", heads, rows, right=(3, 5, 6, 7, 8))
