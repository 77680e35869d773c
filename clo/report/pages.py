"""All pages of a report: the report itself, one per run, one per comparison at equal data."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any
from urllib.parse import quote

from clo.report.collect import grouped
from clo.report.compare_pages import compare_page
from clo.report.comparisons import Comparison
from clo.report.findings import Findings
from clo.report.formats import file_name
from clo.report.report_page import report_page
from clo.report.run_pages import run_page
from clo.storage.files import write_text


def write_pages(found: Findings, folder: Path, drawn: Mapping[str, Any]) -> Path:
    """Write ``report.html`` with the figures that were drawn, ``runs/*.html`` and ``compare/*.html``; old ones go."""
    names = {run.folder.name: quote(f"{run.folder.name}.html") for run in found.study.runs}
    for run in found.study.runs:
        write_text(folder / "runs" / f"{run.folder.name}.html", run_page(found, run, names))
    below = {run: f"../runs/{name}" for run, name in names.items()}
    links: dict[str | Comparison, str] = {run: f"runs/{name}" for run, name in names.items()}
    stems: set[str] = set()
    for both in grouped((one for one in found.comparisons if not one.halved), lambda one: one.cell).values():
        label, against, lang, size = both[0].cell
        first = f"{file_name(label)}-vs-{file_name(against)}-{file_name(lang)}-{size}"
        # A number where labels differ only in signs that names of files lack.
        stem = next(s for s in chain([first], (f"{first}-{n}" for n in count(2))) if s not in stems)
        stems.add(stem)
        write_text(folder / "compare" / f"{stem}.html", compare_page(found, both[0], below))
        links |= dict.fromkeys(both, f"compare/{quote(stem)}.html")
    for kind, kept in (("runs", {run.folder.name for run in found.study.runs}), ("compare", stems)):
        for path in (folder / kind).glob("*.html"):
            if path.stem not in kept:
                path.unlink()
    write_text(folder / "report.html", report_page(found, folder, drawn, links))
    return folder / "report.html"
