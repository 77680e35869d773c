"""Make the report of a study: ``python -m clo.report study=NAME``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from clo.errors import UserError
from clo.report.make import make_report, upload

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
            upload(given["wandb"], given["study"], path.parent)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Report: {path}")
    return 0


def _split(argument: str) -> tuple[str, str]:
    keys = ("study", "output_dir", "compare", "wandb")
    key, equals, value = argument.partition("=")
    if not equals or key not in keys:
        known = ", ".join(f"{name}=..." for name in keys)
        raise UserError(f"unknown argument {argument!r}; set {known} or see --help")
    return key, value


if __name__ == "__main__":
    sys.exit(main())
