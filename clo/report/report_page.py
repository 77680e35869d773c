"""The page of a study: one file with everything in it, no request to anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clo.report.answers import side_by_side
from clo.report.behind import Behind
from clo.report.benchmarks import left_out, scorer, table_of
from clo.report.claim_results import claim_lines
from clo.report.claims import RULE
from clo.report.comparisons import Comparison, summary
from clo.report.equal import NONE, TITLE, lines
from clo.report.findings import Findings
from clo.report.harness import harness_notes, harness_rows
from clo.report.measures import english_column, shown, target_column
from clo.report.paper import the_paper
from clo.report.paper_lines import (
    CELL_HEADS,
    CELLS_RULE,
    CELLS_TITLE,
    GAIN_HEADS,
    GAINS_RULE,
    GAINS_TITLE,
    NO_CELLS,
    cell_rows,
    counted,
    gain_lines,
    there,
)
from clo.report.render import render
from clo.report.tables import assumed, spans


def report_page(found: Findings, folder: Path, drawn: Mapping[str, Any], links: Mapping[str | Comparison, str]) -> str:
    """The whole report; ``drawn`` are the PNG files in ``folder``, ``links`` lead to pages of runs and comparisons."""
    study, target, english = found.study, target_column(found.study), english_column(found.study)
    return render(
        "report.html",
        found=found,
        study=study,
        table=found.table,
        spans=spans(found.table),
        equal=lines(found.equal),
        claims=claim_lines(found.claims),
        TITLE=TITLE,
        NONE=NONE,
        RULE=RULE,
        behind=Behind(study, links),
        **_beside_the_paper(found),
        measures=[(f"target {target.head}", target), (f"English {english.head}", english)],
        shown=shown,
        links=links,
        sentences=summary(found.comparisons),
        pictures=[(name, told, *picture(folder / f"{name}.png")) for name, told in drawn.items()],
        benchmarks=[table_of(study, found.benchmarks, asked) for asked in found.benchmarks.asked],
        scorer=" or ".join(sorted({scorer(run) for run in study.runs})),
        left_out=left_out(study),
        harness=harness_rows(study),
        harness_notes=harness_notes(study),
        answers=side_by_side(study),
        assumed=assumed(study),
        versions=sorted({(name, str(v)) for run in study.runs for name, v in run.part("versions").items()}),
    )


def _beside_the_paper(found: Findings) -> dict[str, Any]:
    cells = there(found.cells)
    words = {"CELLS_TITLE": CELLS_TITLE, "CELL_HEADS": CELL_HEADS, "CELLS_RULE": CELLS_RULE, "NO_CELLS": NO_CELLS}
    words |= {"GAINS_TITLE": GAINS_TITLE, "GAIN_HEADS": GAIN_HEADS, "GAINS_RULE": GAINS_RULE}
    told = {"cells": cells, "cell_rows": cell_rows(cells, the_paper()), "counted": counted(found.cells)}
    return {**words, **told, "gain_lines": gain_lines(found.gains)}


def picture(path: Path) -> tuple[str, int]:
    """A PNG file in base 64, and its width in pixels of the page."""
    content = path.read_bytes()
    # A PNG's width stands at bytes 16 to 20; drawn at 160 dots per inch, it is shown at 96.
    return base64.b64encode(content).decode("ascii"), round(int.from_bytes(content[16:20], "big") * 96 / 160)
