"""The table as CSV, Markdown, LaTeX, and on the terminal."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING

from clo.report.collect import Study
from clo.report.measures import COLUMNS, Column, Mean
from clo.report.summary import Table, TableRow

if TYPE_CHECKING:
    from rich.table import Table as RichTable

SIDES = {"target": "Target language", "en": "English"}
SHORT_SIDES = {"target": "target", "en": "English"}
DASH, MINUS = "\u2013", "\u2212"
_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#",
    "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}  # fmt: skip


def shown(cell: Mean | None, column: Column) -> tuple[str, str]:
    """Mean and half-width as text in the shown unit; the second is empty for one seed."""
    if cell is None:
        return DASH, ""
    value = cell.mean * column.factor
    text = f"{value:+.1f}" if column.change else f"{value:.1f}"
    # A rounded zero has no sign, and a minus is a minus, not a hyphen.
    text = (text.lstrip("+-") if float(text) == 0 else text).replace("-", MINUS)
    return text, "" if cell.half is None else f"{cell.half * column.factor:.1f}"


def lead(row: TableRow) -> list[str]:
    """The cells that say which group a row is: language, data size, method, runs."""
    size, runs = ("", "") if row.size is None else (str(row.size), str(row.n))
    return [row.lang, size, row.label, runs]


LEAD_HEADS = ["lang", "items", "method", "runs"]


def spans(table: Table) -> list[tuple[str, int]]:
    """(Heading, number of columns) of the groups of columns."""
    return [(SIDES[side], len(list(columns))) for side, columns in groupby(table.columns, lambda c: c.side)]


def assumed(study: Study) -> list[str]:
    """``key = values`` of what the paper does not give, values sorted, methods named where they differ."""
    values: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for run in study.runs:
        found = run.results.get("assumed")
        for key, value in found.items() if isinstance(found, dict) else ():
            if run.method not in values[key][str(value)]:
                values[key][str(value)].append(run.method)
    lines = []
    for key, by_value in sorted(values.items()):
        if len(by_value) == 1:
            lines.append(f"{key} = {next(iter(by_value))}")
        else:
            lines.append(f"{key} = " + "; ".join(f"{v} ({', '.join(m)})" for v, m in by_value.items()))
    return lines


def to_csv(table: Table) -> str:
    """Every column in its stored unit (shares 0 to 1) and full precision, one line per group."""
    out = io.StringIO()
    heads = [name for c in COLUMNS for name in (c.key, f"{c.key}_half_width", f"{c.key}_n")]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["language", "data_size", "method", "runs", *heads])
    for row in table.rows:
        line: list[object] = [row.lang, "" if row.size is None else row.size, row.label, row.n]
        for column in COLUMNS:
            cell = row.cells.get(column.key)
            half = "" if cell is None or cell.half is None else repr(cell.half)
            line += ["", "", 0] if cell is None else [repr(cell.mean), half, cell.n]
        writer.writerow(line)
    return out.getvalue()


def to_markdown(table: Table, study: Study) -> str:
    """A GitHub table; the side of a measure stands in its heading, since Markdown has no spanning cells."""
    heads = [*LEAD_HEADS, *(f"{SHORT_SIDES[c.side]} {c.head}" for c in table.columns)]
    lines = [f"# {study.name}", "", _md_line(heads), _md_line(["---"] * 3 + ["---:"] * (len(heads) - 3))]
    for index, row in enumerate(table.rows):
        cells = []
        for column in table.columns:
            mean, half = shown(row.cells.get(column.key), column)
            mean = f"**{mean}**" if (index, column.key) in table.best else mean
            cells.append(f"{mean} ± {half}" if half else mean)
        lines.append(_md_line([*lead(row), *cells]))
    lines += ["", *(f"- {note}" for note in table.notes)]
    if table.best:
        lines.append("- Bold: the highest mean of its language and size, whether or not intervals overlap.")
    lines += [f"- Assumed (not given by the paper): {line}" for line in assumed(study)]
    lines += [f"- Not in the table: {u.folder.name}, {u.state}: {u.reason}" for u in study.unfinished]
    return "\n".join(lines) + "\n"


def _md_line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def tex_escape(text: str) -> str:
    """Text as LaTeX shows it."""
    return "".join(_TEX.get(char, char) for char in text).replace(DASH, "--")


def to_latex(table: Table) -> str:
    """A ``tabular`` in booktabs style, to be read into a document."""
    groups = spans(table)
    first = len(LEAD_HEADS)
    titles = [rf"\multicolumn{{{n}}}{{c}}{{{title}}}" for title, n in groups]
    rules, start = [], first + 1
    for _, n in groups:
        rules.append(rf"\cmidrule(lr){{{start}-{start + n - 1}}}")
        start += n
    lines = [
        "% needs \\usepackage{booktabs}",
        rf"\begin{{tabular}}{{lrlr{'r' * len(table.columns)}}}",
        r"\toprule",
        " & ".join([""] * first + titles) + r" \\",
        " ".join(rules),
        " & ".join(map(tex_escape, [*LEAD_HEADS, *(c.head for c in table.columns)])) + r" \\",
    ]
    last: tuple[str, int | None] | None = None
    for index, row in enumerate(table.rows):
        if (row.lang, row.size) != last:
            lines.append(r"\midrule" if last is None or row.lang != last[0] else r"\addlinespace")
            last = (row.lang, row.size)
        cells = [_tex_cell(row.cells.get(c.key), c, (index, c.key) in table.best) for c in table.columns]
        lines.append(" & ".join([*map(tex_escape, lead(row)), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _tex_cell(cell: Mean | None, column: Column, best: bool) -> str:
    mean, half = shown(cell, column)
    if cell is None:
        return "--"
    mean = mean.replace(MINUS, "-")
    mean = rf"\mathbf{{{mean}}}" if best else mean
    return rf"${mean} \pm {half}$" if half else f"${mean}$"


# The order in which columns are given up on a narrow terminal, last first.
_PRIORITY = (
    "target_gain_chrf", "english_change_content", "english_change_chrf", "target_exact_unseen",
    "target_win_rate", "english_content", "english_chrf", "target_chrf", "target_exact_seen", "target_exact",
)  # fmt: skip


def fitting(table: Table, width: int) -> list[Column]:
    """The columns that fit a terminal of ``width`` characters, the most telling ones first to stay."""
    rank = {key: number for number, key in enumerate(_PRIORITY)}
    leads = zip(LEAD_HEADS, *map(lead, table.rows), strict=True)
    left = width - sum(3 + max(map(len, texts)) for texts in leads)
    kept = set()
    for column in sorted(table.columns, key=lambda c: rank.get(c.key, len(rank))):
        cells = (shown(row.cells.get(column.key), column) for row in table.rows)
        left -= 3 + max(8, *(len(mean) + (len(half) + 2 if half else 0) for mean, half in cells))
        if left < 0:
            break
        kept.add(column.key)
    return [column for column in table.columns if column.key in kept]


def to_rich(table: Table, title: str, width: int) -> RichTable:
    """The table for a terminal of ``width`` characters."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    columns = fitting(table, width)
    hidden = len(table.columns) - len(columns)
    caption = f"{hidden} more columns in table.md" if hidden else None
    rich = RichTable(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    rich.title_justify = rich.caption_justify = "left"
    for head in LEAD_HEADS:
        rich.add_column(head, justify="right" if head in ("items", "runs") else "left", no_wrap=True)
    for column in columns:
        rich.add_column(f"{SHORT_SIDES[column.side]} {column.head}", justify="right")
    last: tuple[str, int | None] | None = None
    for index, row in enumerate(table.rows):
        if last is not None and (row.lang, row.size) != last:
            rich.add_section()
        last = (row.lang, row.size)
        cells = []
        for column in columns:
            mean, half = shown(row.cells.get(column.key), column)
            text = Text(mean, style="bold" if (index, column.key) in table.best else "")
            cells.append(text.append(f" ±{half}", style="dim") if half else text)
        rich.add_row(*map(Text, lead(row)), *cells)
    return rich
