"""Tables of Markdown pages, written between markers from files of results that lie beside the pages.

A table stands between ``<!-- table: <study> <kind> -->`` and ``<!-- end of table -->``; the kinds are

* ``at <items>``: a row per arm, every language side by side; ``chrf <items>`` with chrF in place of right objects,
  ``open <items>`` for rows that name no objects, with chrF and NLL;
* ``by size``: a row per language and arm, every size side by side;
* ``equal``: CLO against SFT on the same weights, items and steps;
* ``claims``: the paper's claims and their verdicts; ``verdicts``: those alone, of several studies (``one,two``) side by
  side;
* ``gains``: the gains that the papers report, beside ours;
* ``benchmarks <items>``: a row per arm, every benchmark side by side, in the target language and in English;
* ``sentences``, ``curves``, ``shares``: of the guide's study, see :mod:`clo.report.guide.docs_tables`.

``data/<study>.csv`` and, with ``_equal``, ``_claims``, ``_gains`` and so on after the study, are a report's table.csv,
equal.csv, claims.csv, paper_gains.csv, benchmarks.csv and the guide's. `clo report … docs=docs` copies them and fills
the tables in; ``python -m clo.report.docs docs`` only fills.
"""

from __future__ import annotations

import csv
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from clo.errors import UserError
from clo.report.collect import grouped
from clo.report.docs_claims import claims, gains, verdicts
from clo.report.formats import DASH, daggered, decimal, few_seeds, with_interval
from clo.report.guide.docs_tables import Line, Table, curves, sentences, shares
from clo.report.labels import short
from clo.storage.files import write_text

MARKED = re.compile(r"(<!-- table: (\S+) ([a-z]+(?: \w+)?) -->\n).*?(<!-- end of table -->)", re.DOTALL)
FILES = {
    "table.csv": "", "equal.csv": "_equal", "claims.csv": "_claims", "paper_gains.csv": "_gains",
    "benchmarks.csv": "_benchmarks",
    "guide_claims.csv": "_sentences", "guide_curves.csv": "_curves", "guide_variance.csv": "_shares",
    "guide_peaks.csv": "_peaks", "guide_gaps.csv": "_gaps", "guide_joint.csv": "_joint",
}  # fmt: skip
"""File of a report -> what follows the study in its name in ``data``."""
ENDINGS = {ending.removeprefix("_"): ending for ending in FILES.values()} | {"verdicts": "_claims"}
"""Kind of table -> the file it is made of, where that is not table.csv."""
Measures = dict[str, tuple[str, float]]
"""Column of table.csv -> (heading, factor)."""
TARGET: Measures = {"target_right": ("right object and language, %", 100.0), "target_chrf": ("chrF", 1.0)}
"""The first that the study has."""
LANGUAGE: Measures = {"target_language_ok": ("right language, %", 100.0)}
ENGLISH: Measures = {"english_content": ("English content, %", 100.0), "english_chrf": ("English chrF", 1.0)}
"""As ``TARGET``."""
ENGLISH_LANGUAGE: Measures = {"english_language_ok": ("English in English, %", 100.0)}
TOLD = 0.9
"""Share of English answers to English prompts below which an arm has them told."""
OPEN: Measures = {
    "target_chrf": TARGET["target_chrf"], "target_nll": ("NLL", 100.0), **LANGUAGE,
    "english_chrf": ENGLISH["english_chrf"], "english_nll": ("English NLL", 100.0),
}  # fmt: skip
"""Of rows that name no objects; NLL is of the reference answers, in nats per 100 tokens."""


def keep_data(report: Path, study: str, docs: Path) -> None:
    """Copy a report's files of results to ``docs/data``; what the report lacks goes there too."""
    (docs / "data").mkdir(parents=True, exist_ok=True)
    for name, ending in FILES.items():
        kept = docs / "data" / f"{study}{ending}.csv"
        if (report / name).is_file():
            shutil.copyfile(report / name, kept)
        else:
            kept.unlink(missing_ok=True)


def write_docs(docs: Path) -> list[Path]:
    """Fill in every marked table of ``docs/*.md`` and of the README.md beside ``docs``; returns the pages with one.

    Raises:
        UserError: a marker names no study in ``docs/data``, or no kind of table.
    """
    found = []
    for page in (docs.resolve().parent / "README.md", *sorted(docs.glob("*.md"))):
        text = page.read_text(encoding="utf-8") if page.is_file() else ""
        if MARKED.search(text):
            write_text(page, filled(text, docs / "data", page))
            found.append(page)
    return found


def filled(text: str, data: Path, page: Path) -> str:
    """A page's text with its tables as ``data`` has them; ``page`` is for messages."""

    def fill(found: re.Match[str]) -> str:
        begin, study, kind, end = found.groups()
        first, _, more = kind.partition(" ")
        files = {one: data / f"{one}{ENDINGS.get(first, '')}.csv" for one in study.split(",")}
        make, missing = KINDS.get(kind) or KINDS.get(first), [file for file in files.values() if not file.is_file()]
        if make is None or missing:
            needed = ", ".join(map(str, missing or files.values()))
            raise UserError(f"{page}: `table: {study} {kind}` needs {needed} and a kind of {', '.join(KINDS)}")
        heads, rows = make(study, [line for one, file in files.items() for line in _lines(one, file)], more)
        lines = [heads, ["---"] * len(heads), *rows]
        body = "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)
        return f"{begin}\n{body}\n{end}"

    return MARKED.sub(fill, text)


def _lines(study: str, path: Path) -> list[Line]:
    with path.open(encoding="utf-8", newline="") as file:
        return [{**line, "study": study} for line in csv.DictReader(file)]


def _measures(lines: Sequence[Line]) -> Measures:
    return _first(TARGET, lines) | LANGUAGE | _first(ENGLISH, lines)


def _first(measures: Measures, lines: Sequence[Line]) -> Measures:
    known = [key for key in measures if any(line.get(key) for line in lines)]
    return {key: measures[key] for key in known[:1]}


def _cell(line: Line | None, key: str, factor: float) -> str:
    """Mean and half-width, rounded; of two seeds both values, for they make no interval; a dash where there is none."""
    from clo.evaluation.statistics import t_quantile

    if line is None or not line.get(key):
        return DASH
    mean, half = factor * float(line[key]), factor * float(line[f"{key}_half_width"] or 0)
    if few_seeds(int(line[f"{key}_n"])):
        apart = half / t_quantile(0.95, 1)
        return f"{decimal(mean - apart, 0)}, {decimal(mean + apart, 0)}"
    return decimal(mean, 0) + (f" ± {decimal(half, 0)}" if line[f"{key}_half_width"] else "")


def _name(line: Line) -> str:
    return line.get("language_name") or line["language"]


def _chrf(study: str, lines: Sequence[Line], size: str) -> Table:
    there = [float(line["english_language_ok"]) for line in lines if line.get("english_language_ok")]
    tells = ENGLISH_LANGUAGE if there and min(there) < TOLD else {}
    measures = {"target_chrf": TARGET["target_chrf"]} | LANGUAGE | _first(ENGLISH, lines) | tells
    return _at(study, lines, size, measures)


def _open(study: str, lines: Sequence[Line], size: str) -> Table:
    return _at(study, lines, size, OPEN)


def _at(study: str, lines: Sequence[Line], size: str, measures: Measures | None = None) -> Table:
    measures, langs = measures or _measures(lines), grouped(lines, _name)
    cells = {(_name(line), line["method"]): line for line in lines if line["data_size"] in ("", size)}
    arms = list(dict.fromkeys(arm for _, arm in cells))
    runs = sorted({line["runs"] for line in cells.values() if line["data_size"]})
    heads = [f"`{study}`, {int(size):,} items, {' to '.join(runs)} seeds"]
    heads += [f"{lang}: {head}" for lang in langs for head, _ in measures.values()]
    told = [
        [_start(arm), *(_cell(cells.get((lang, arm)), key, by) for lang in langs for key, (_, by) in measures.items())]
        for arm in arms
    ]
    return heads, told


def _by_size(study: str, lines: Sequence[Line], _: str) -> Table:
    measures, sizes = _measures(lines), sorted({int(line["data_size"]) for line in lines if line["data_size"]})
    cells = {(_name(line), line["method"], line["data_size"]): line for line in lines}
    heads = [f"`{study}`", "arm", *(f"{head}: {size:,} items" for head, _ in measures.values() for size in sizes)]
    places = dict.fromkeys((lang, arm) for lang, arm, _ in cells)
    told = []
    for lang, arm in places:
        start = cells.get((lang, arm, ""))
        own = [start or cells.get((lang, arm, str(size))) for size in sizes]
        told.append([lang, _start(arm), *(_cell(one, key, by) for key, (_, by) in measures.items() for one in own)])
    return heads, told


def _start(arm: str) -> str:
    return "start model" if arm == "start" else arm


def _equal(study: str, lines: Sequence[Line], _: str) -> Table:
    names = list(dict.fromkeys(line["measure"] for line in lines))
    rows = grouped(lines, lambda one: (one["language"], one["data_size"], one["method"], one["against"]))
    heads = [f"`{study}`", "items", "CLO", "against", "steps", "seeds", *names]
    told = []
    for (lang, size, arm, against), own in rows.items():
        by = {line["measure"]: line for line in own}
        cells = [_difference(by.get(name)) for name in names]
        told.append([lang, f"{int(size):,}", arm, against, short(own[0]["steps"]), own[0]["seeds"], *cells])
    return heads, told


def _difference(line: Line | None) -> str:
    if line is None:
        return DASH
    gap, low, high, p = (float(line[key]) for key in ("difference", "low", "high", "p"))
    return with_interval(gap, low, high, int(line["seeds"]), f"; p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}")


def _benchmarks(study: str, lines: Sequence[Line], size: str) -> Table:
    lines = [line for line in lines if line["data_size"] in ("", size)]
    asked = grouped(lines, lambda one: (one["benchmark"], one["scoring"], one["language"], one["side"]))
    by = {(line["method"], place): line for place, own in asked.items() for line in own}
    heads = [f"`{study}`, {int(size):,} items: accuracy, %"]
    for (name, scoring, lang, side), (first, *_) in asked.items():
        chance = f", chance {decimal(100 * float(first['chance']), 0)}" if first["chance"] else ""
        language = lang if side == "target" else f"English, {lang} trained"
        heads.append(f"{name} by {scoring}, {language} ({first['n']} rows{chance})")
    arms = dict.fromkeys(arm for arm, _ in by)
    return heads, [[_start(arm), *(_accuracy(by.get((arm, place))) for place in asked)] for arm in arms]


def _accuracy(line: Line | None) -> str:
    """Mean and interval, see `BenchmarkScore`."""
    if line is None:
        return DASH
    mean, low, high = (line[key] and decimal(100 * float(line[key]), 0) for key in ("mean", "low", "high"))
    spread = f" ({low} to {high})" if low and high else ""
    return mean + daggered(spread, int(line["runs"]))


KINDS: dict[str, Callable[[str, Sequence[Line], str], Table]] = {
    "at": _at, "chrf": _chrf, "open": _open, "by size": _by_size, "equal": _equal,
    "claims": claims, "verdicts": verdicts, "gains": gains, "benchmarks": _benchmarks,
    "sentences": sentences, "curves": curves, "shares": shares,
}  # fmt: skip

if __name__ == "__main__":
    try:
        print(*write_docs(Path(sys.argv[1] if len(sys.argv) > 1 else "docs")), sep="\n")
    except UserError as error:
        sys.exit(f"error: {error}")
