"""The pages beside the report: one per run, one per comparison at equal data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clo.report import document
from clo.report.benchmarks import Marks
from clo.report.collect import Study
from clo.report.compare_pages import compare_page
from clo.report.comparisons import Comparison
from clo.report.figures import write
from clo.report.judged import Verdicts
from clo.report.run_pages import run_page


@dataclass(frozen=True)
class Links:
    """Addresses of the pages, from the report's folder."""

    runs: dict[str, str] = field(default_factory=dict)
    """Name of a run's folder -> address."""
    comparisons: dict[Comparison, str] = field(default_factory=dict)
    """Both sides of a comparison lead to one page."""


def write_pages(
    study: Study, folder: Path, compared: Sequence[Comparison], found: Marks, verdicts: Sequence[Verdicts]
) -> Links:
    """Write ``runs/*.html`` and ``compare/*.html`` into the report's folder; pages of runs that are gone go too."""
    names = {run.folder.name: f"{run.folder.name}.html" for run in study.runs}
    beside = {run: document.address(name) for run, name in names.items()}
    below = {run: f"../runs/{name}" for run, name in beside.items()}
    for run in study.runs:
        own = [one for one in verdicts if one.run == run.folder.name]
        write(folder / "runs" / names[run.folder.name], run_page(study, run, own, beside))
    cells: dict[tuple[str, ...], list[Comparison]] = {}
    for one in compared:
        if one.size == one.against_size:
            cells.setdefault((one.label, one.against, one.lang, str(one.size)), []).append(one)
    addresses: dict[Comparison, str] = {}
    files: set[str] = set()
    for (label, against, lang, size), cell in cells.items():
        stem = f"{document.file_name(label)}-vs-{document.file_name(against)}-{document.file_name(lang)}-{size}"
        name, number = f"{stem}.html", 1
        while name in files:  # labels that differ only in signs that names of files lack
            number += 1
            name = f"{stem}-{number}.html"
        files.add(name)
        write(folder / "compare" / name, compare_page(study, cell, found, verdicts, below))
        addresses |= {one: f"compare/{document.address(name)}" for one in cell}
    for kind, kept in (("runs", set(names.values())), ("compare", files)):
        for path in (folder / kind).glob("*.html"):
            if path.name not in kept:
                path.unlink()
    return Links({run: f"runs/{name}" for run, name in beside.items()}, addresses)
