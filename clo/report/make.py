"""Make the report of a study: its tables, figures and pages, and an artifact of them at W&B."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clo.errors import UserError
from clo.report import benchmarks, claim_results, comparisons, equal, judged, paper_lines, tables
from clo.report.claim_results import claim_lines
from clo.report.claims import RULE
from clo.report.collect import collect
from clo.report.figures import draw_all
from clo.report.findings import Findings, find
from clo.report.guide.figures import draw_guide
from clo.report.guide.find import FILES
from clo.report.guide.page import print_guide, write_guide_page
from clo.report.pages import write_pages
from clo.report.paper import the_paper
from clo.report.terminal import print_beside, print_claims, print_equal
from clo.report.tex_tables import tex_files
from clo.storage.files import write_text

if TYPE_CHECKING:
    from rich.console import Console


def make_report(study: str, output_dir: str | Path = "outputs", compare: str | None = None) -> Path:
    """Write the report of ``output_dir/study``, print its table, and return the page's path.

    Raises:
        UserError: there is no such study, it has no finished run, or ``compare`` is none of its methods.
    """
    from rich.console import Console

    found = find(collect(study, output_dir), compare)
    folder = found.study.folder / "report"
    files = {
        "table.csv": tables.to_csv(found.table),
        "table.md": tables.to_markdown(found.table, found.study, equal.lines(found.equal), _further(found)),
        "equal.csv": equal.to_csv(found.equal) if found.equal else "",
        "claims.csv": claim_results.to_csv(found.claims),
        "comparisons.csv": comparisons.to_csv(found.comparisons),
        "benchmarks.csv": benchmarks.to_csv(found.benchmarks.scores) if found.benchmarks.scores else "",
        "benchmark_tests.csv": benchmarks.tests_csv(found.benchmarks.tests) if found.benchmarks.tests else "",
        "judged.csv": judged.to_csv(found.verdicts) if found.verdicts else "",
        "paper.csv": paper_lines.cells_csv(found.cells),
        "paper_gains.csv": paper_lines.gains_csv(found.gains) if found.gains else "",
        **tex_files(found),
        **dict.fromkeys(FILES, ""),
        **(found.guide.files() if found.guide else {}),
    }
    for name, content in files.items():
        if content:
            write_text(folder / name, content)
        else:  # a file of an earlier report would tell of other runs
            (folder / name).unlink(missing_ok=True)
    page = write_pages(found, folder, draw_all(found, folder))
    write_guide_page(found.study, found.guide, folder, draw_guide(found.guide, folder))
    console = Console(highlight=False)
    if found.guide is not None:
        print_guide(console, found.guide)
    if found.guide is None or not found.guide.whole:
        _print_tables(console, found)
    return page


def _print_tables(console: Console, found: Findings) -> None:
    """What the runs score by target, and what that says of CLO."""
    print_equal(console, found.equal)
    console.print(tables.to_rich(found.table, f"Study {found.study.name}", console.width))
    missing = [f"Not in the table: {unfinished}" for unfinished in found.study.unfinished]
    for line in (*found.table.notes, *comparisons.summary(found.comparisons), *missing):
        console.print(line, markup=False)
    print_claims(console, found.claims)
    print_beside(console, found)


def _further(found: Findings) -> Sequence[tuple[str, tables.Lines, str]]:
    """(Title, lines, rule) of what stands below the table of all runs."""
    cells = paper_lines.there(found.cells)
    said = f"{paper_lines.counted(found.cells)} {paper_lines.CELLS_RULE if cells else ''}".strip()
    beside = paper_lines.CELL_HEADS, paper_lines.cell_rows(cells, the_paper())
    gains = paper_lines.GAIN_HEADS, paper_lines.gain_lines(found.gains)
    claims = ("The paper's claims", claim_lines(found.claims), RULE)
    last = [(paper_lines.GAINS_TITLE, gains, paper_lines.GAINS_RULE)] if found.gains else []
    return [claims, (paper_lines.CELLS_TITLE, beside, said), *last]


def upload(project: str, study: str, folder: Path) -> None:
    """Add the tables, figures and pages of a study's report to a W&B project, in a run of their own.

    Raises:
        UserError: wandb is not installed.
    """
    from importlib.util import find_spec

    from clo.storage.artifacts import log_files

    if find_spec("wandb") is None:
        raise UserError("wandb=PROJECT needs wandb; `pip install wandb`")
    import wandb

    with wandb.init(project=project, name=f"report-{study}", group=study, job_type="report", dir=str(folder)):
        files = [path for path in sorted(folder.rglob("*")) if path.suffix in (".html", ".csv", ".md", ".tex", ".png")]
        log_files(f"report-{study}", "report", files, folder)
