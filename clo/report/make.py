"""Make the report of a study."""

from __future__ import annotations

from pathlib import Path

from clo.errors import UserError


def make_report(name: str, output_dir: str | Path = "outputs", compare: str | None = None) -> Path:
    """Write the report of a study, print its table, and return the page's path.

    Raises:
        UserError: there is no such study, it has no finished run, or ``compare`` is none of its methods.
    """
    from rich.console import Console

    from clo.report import benchmarks as marks
    from clo.report import judged
    from clo.report.collect import collect
    from clo.report.comparisons import compare_study, summary
    from clo.report.comparisons import to_csv as comparisons_csv
    from clo.report.figures import draw_all, write
    from clo.report.html import Extra, page
    from clo.report.pages import write_pages
    from clo.report.summary import build
    from clo.report.tables import to_csv, to_latex, to_markdown, to_rich

    study = collect(name, output_dir)
    table = build(study, compare)
    folder = study.folder / "report"
    write(folder / "table.csv", to_csv(table))
    write(folder / "table.md", to_markdown(table, study))
    write(folder / "table.tex", to_latex(table))
    comparisons = compare_study(study, compare or "sft")
    write(folder / "comparisons.csv", comparisons_csv(comparisons))
    found = marks.collect_marks(study, compare or "sft")
    verdicts, broken = judged.collect_verdicts(study)
    files = {
        "benchmarks.csv": marks.to_csv(found.marks) if found.marks else "",
        "benchmark_tests.csv": marks.tests_csv(found.tests) if found.tests else "",
        "judged.csv": judged.to_csv(verdicts) if verdicts else "",
    }
    for name_of, content in files.items():
        if content:
            write(folder / name_of, content)
        else:  # a file of an earlier report would tell of other runs
            (folder / name_of).unlink(missing_ok=True)
    captions = draw_all(study, folder, found)
    links = write_pages(study, folder, comparisons, found, verdicts)
    extra = Extra(found, verdicts, broken, links)
    write(folder / "report.html", page(study, table, folder, captions, comparisons, extra))
    console = Console(highlight=False)
    console.print(to_rich(table, f"Study {study.name}", console.width))
    for note in table.notes:
        console.print(note, markup=False)
    for line in summary(comparisons):
        console.print(line, markup=False)
    for unfinished in study.unfinished:
        text = f"Not in the table: {unfinished.folder.name}, {unfinished.state}: {unfinished.reason}"
        console.print(text, markup=False)
    return folder / "report.html"


def upload(project: str, study: str, folder: Path) -> None:
    """Add the report to a W&B project."""
    from importlib.util import find_spec

    if find_spec("wandb") is None:
        raise UserError("wandb=PROJECT needs wandb; `pip install wandb`")
    from clo.training.tracking import log_report

    log_report(project, study, folder)
