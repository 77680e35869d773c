"""``clo report``: the report of a study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clo.commands.command import Command
from clo.commands.options import option


@dataclass(frozen=True)
class Options:
    """Keys."""

    study: str = option("folder under output_dir, such as the study_name of the runs", shape="<name>")
    output_dir: Path = option("where the studies are", Path("outputs"), "<folder>")
    compare: str | None = option("method that the others are compared with (default: sft)", None, "<method>")
    docs: Path | None = option("folder of Markdown pages whose marked tables are filled in", None, "<folder>")
    wandb: str | None = option("W&B project that the report is added to as an artifact", None, "<project>")


def report(asked: Options) -> None:
    """Write the report, and upload it where asked to.

    Raises:
        UserError: no such study, nothing finished in it, or a method that it does not have.
    """
    from clo.report.docs import keep_data, write_docs
    from clo.report.make import make_report, upload

    path = make_report(asked.study, asked.output_dir, asked.compare)
    if asked.docs is not None:
        keep_data(path.parent, asked.study, asked.docs)
        for page in write_docs(asked.docs):
            print(f"Tables: {page}")
    if asked.wandb is not None:
        upload(asked.wandb, asked.study, path.parent)
    print(f"Report: {path}")


COMMAND = Command(
    name="report",
    summary="tables, figures and pages of a study, from its run folders",
    reads="outputs/<study>/*/: results.json, samples, metrics of every finished run",
    writes=(
        "outputs/<study>/report/: report.html with a page per run (runs/) and per comparison at equal data (compare/); "
        "table.csv, table.md, table.tex; equal.csv (CLO against SFT on the same weights, items and steps), claims.csv, "
        "paper.csv and paper_gains.csv (the paper's claims, its numbers and its gains beside ours); report.tex with "
        "every table; comparisons.csv (paired tests), benchmarks.csv, benchmark_tests.csv and "
        "judged.csv where there are such; guide.html and guide_*.csv of runs of mixtures; every figure as PNG and SVG; "
        "with docs= the study's numbers in <folder>/data, and every table between "
        "`<!-- table: <study> <kind> -->` and `<!-- end of table -->` in its pages and the README.md beside it"
    ),
    example="report study=paper_nano compare=sft",
    run=report,
    options=Options,
)
