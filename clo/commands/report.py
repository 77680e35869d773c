"""Make the report of a study: ``python -m clo.report study=NAME``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from clo.errors import UserError

HELP = """\
Make the report of a study from its run folders: one page, a table in three formats, figures.

  python -m clo.report study=NAME [output_dir=outputs] [compare=sft] [wandb=PROJECT]

  study       folder under output_dir, such as the study_name of the runs
  output_dir  where the studies are (default: outputs)
  compare     method that win rates are against (default: sft, where the study has it)
  wandb       W&B project that the tables, figures and page are added to as an artifact

Writes OUTPUT_DIR/NAME/report/: report.html, a page per run (runs/) and per comparison at equal data (compare/),
table.csv, table.md, table.tex, comparisons.csv (paired tests against `compare`), benchmarks.csv, benchmark_tests.csv
and judged.csv where there are such, and each figure as PNG and SVG.
"""


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` where nothing is given); returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or {"--help", "-h"} & set(arguments):
        print(HELP, end="")
        return 0 if arguments else 1
    try:
        given = dict(_split(argument) for argument in arguments)
        if "study" not in given:
            raise UserError("which study? set study=NAME, a folder under output_dir")
        path = make_report(given["study"], given.get("output_dir", "outputs"), given.get("compare"))
        if "wandb" in given:
            _upload(given["wandb"], given["study"], path.parent)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Report: {path}")
    return 0


def _upload(project: str, study: str, folder: Path) -> None:
    from importlib.util import find_spec

    if find_spec("wandb") is None:
        raise UserError("wandb=PROJECT needs wandb; `pip install wandb`")
    from clo.training.tracking import log_report

    log_report(project, study, folder)


def _split(argument: str) -> tuple[str, str]:
    keys = ("study", "output_dir", "compare", "wandb")
    key, equals, value = argument.partition("=")
    if not equals or key not in keys:
        known = ", ".join(f"{name}=..." for name in keys)
        raise UserError(f"unknown argument {argument!r}; set {known} or see --help")
    return key, value


if __name__ == "__main__":
    sys.exit(main())
