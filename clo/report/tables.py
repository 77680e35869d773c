"""The table as CSV, Markdown, LaTeX, and on the terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import astuple
from itertools import chain, groupby
from textwrap import wrap
from typing import TYPE_CHECKING

from clo.report.collect import Study
from clo.report.equal import NONE, TITLE
from clo.report.formats import SHORT_SIDES, SIDES
from clo.report.measures import COLUMNS, Column, shown
from clo.report.render import render
from clo.report.summary import Table, TableRow
from clo.storage.files import csv_text

if TYPE_CHECKING:
    from rich.table import Table as RichTable


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
    values: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
    for run in study.runs:
        for key, value in run.part("assumed").items():
            values[key][str(value)][run.method] = None
    lines = []
    for key, methods in sorted(values.items()):
        told = [v if len(methods) == 1 else f"{v} ({', '.join(by)})" for v, by in methods.items()]
        lines.append(f"{key} = {'; '.join(told)}")
    return lines


def to_csv(table: Table) -> str:
    """Every column in its stored unit (shares 0 to 1) and full precision, one line per group."""
    heads = [name for c in COLUMNS for name in (c.key, f"{c.key}_half_width", f"{c.key}_n")]
    rows = []
    for row in table.rows:
        cells = [astuple(row.cells[c.key]) if c.key in row.cells else (None, None, 0) for c in COLUMNS]
        rows.append([row.lang, row.lang_name, row.size, row.label, row.n, *chain.from_iterable(cells)])
    return csv_text(["language", "language_name", "data_size", "method", "runs", *heads], rows)


Lines = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Headings and cells of a further table."""


def to_markdown(
    table: Table, study: Study, equal: Lines = ((), ()), sections: Sequence[tuple[str, Lines, str]] = ()
) -> str:
    """GitHub tables; the side of a measure stands in its heading, since Markdown has no spanning cells.

    ``equal`` are CLO's differences to SFT at equal terms, which come first; ``sections`` come last: title, lines, and
    what is to be said under them.
    """
    further = {"equal": equal, "sections": sections, "TITLE": TITLE, "NONE": NONE}
    told = {"table": table, "study": study, "lead": lead, "lead_heads": LEAD_HEADS, "assumed": assumed(study)}
    return render("table.md", **told, **further)


def to_latex(table: Table) -> str:
    """A ``tabular`` in booktabs style, to be read into a document."""
    return render("table.tex", table=table, lead=lead, lead_heads=LEAD_HEADS, spans=spans(table))


# The order in which columns are given up on a narrow terminal, last first.
_PRIORITY = (
    "target_right", "english_change_content", "target_gain_chrf", "english_change_chrf", "target_exact_unseen",
    "target_win_rate", "english_content", "english_chrf", "target_chrf", "target_exact_seen", "target_exact",
)  # fmt: skip


def label_width(table: Table, width: int) -> int:
    """Characters for a label on a terminal of ``width``: longer ones go on in a second line, between words."""
    words = max(len(word) for row in table.rows for word in row.label.split())
    return max(words, min(max(len(row.label) for row in table.rows), width // 4))


def fitting(table: Table, width: int) -> list[Column]:
    """The columns that fit a terminal of ``width`` characters, the most telling ones first to stay."""
    rank = {key: number for number, key in enumerate(_PRIORITY)}
    left = _room(table, width)
    kept = set()
    for column in sorted(table.columns, key=lambda c: rank.get(c.key, len(rank))):
        left -= 3 + _narrowest(table, column)
        if left < 0:
            break
        kept.add(column.key)
    return [column for column in table.columns if column.key in kept]


def _room(table: Table, width: int) -> int:
    """Characters that a terminal of ``width`` leaves for measures."""
    texts = zip(LEAD_HEADS, *map(lead, table.rows), strict=True)
    return width - sum(3 + min(label_width(table, width), max(map(len, own))) for own in texts)


def _narrowest(table: Table, column: Column) -> int:
    """Characters that a column's cells take, and room for a word of its heading."""
    cells = (shown(row.cells.get(column.key), column) for row in table.rows)
    return max(8, *(len(mean) + (len(half) + 2 if half else 0) for mean, half in cells))


def head_of(column: Column) -> str:
    """A column's heading on the terminal."""
    return f"{SHORT_SIDES[column.side]} {column.head}"


def widths(table: Table, columns: Sequence[Column], width: int) -> list[int]:
    """Characters of each column: what cells need, and what is left over where it makes the tallest heading lower."""
    found = [_narrowest(table, column) for column in columns]
    left = _room(table, width) - sum(3 + one for one in found)
    heads = [head_of(column) for column in columns]
    while tall := max((len(wrap(head, wide)) for head, wide in zip(heads, found, strict=True)), default=1) - 1:
        at = next(i for i, head in enumerate(heads) if len(wrap(head, found[i])) == tall + 1)
        more = next(n for n in range(1, len(heads[at]) + 1) if len(wrap(heads[at], found[at] + n)) <= tall)
        if more > left:
            break
        found[at], left = found[at] + more, left - more
    return found


def to_rich(table: Table, title: str, width: int) -> RichTable:
    """The table for a terminal of ``width`` characters."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    columns = fitting(table, width)
    hidden = len(table.columns) - len(columns)
    caption = f"{hidden} more columns in table.md" if hidden else None
    rich = RichTable(title=title, caption=caption, title_justify="left", caption_justify="left", pad_edge=False)
    rich.box, rich.padding = box.SIMPLE_HEAD, (0, 1)
    for head in LEAD_HEADS:
        limit = label_width(table, width) if head == "method" else None
        rich.add_column(
            head, justify="right" if head in ("items", "runs") else "left", min_width=limit, max_width=limit
        )
    for column, wide in zip(columns, widths(table, columns, width), strict=True):
        rich.add_column(head_of(column), justify="right", max_width=wide)
    ends = {indices[-1] for indices in table.groups}
    for index, row in enumerate(table.rows):
        texts = [
            [(mean, "bold" * best), (f" ±{half}" if half else "", "dim")]
            for mean, half, best in table.cells(index, columns)
        ]
        rich.add_row(*map(Text, lead(row)), *(Text.assemble(*text) for text in texts), end_section=index in ends)
    return rich
