"""What a report prints beside its table: CLO against SFT at equal terms, the paper's claims and its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from clo.report.claim_results import ClaimResult, claim_lines
from clo.report.claims import RULE
from clo.report.collect import grouped
from clo.report.equal import NONE, TITLE, EqualRow, lines
from clo.report.findings import Findings
from clo.report.paper import the_paper
from clo.report.paper_lines import (
    CELLS_RULE,
    CELLS_TITLE,
    GAINS_RULE,
    GAINS_TITLE,
    cell_rows,
    counted,
    gain_lines,
    there,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

NARROW = 120
"""Characters of a terminal below which a table of sentences becomes a list."""


def print_equal(console: Console, rows: Sequence[EqualRow]) -> None:
    """The differences at equal weights, items and steps, or the sentence that there are none."""
    if not rows:
        console.print(NONE, markup=False)
        return
    heads, cells = lines(rows)
    if console.width >= NARROW:
        console.print(table_of(TITLE, heads, cells, ("items", "steps", "seeds")))
        return
    console.print(TITLE, markup=False)
    names = heads[6:]
    for lang, items, ours, against, steps, seeds, *told in cells:
        console.print(f"\n{lang}, {items} items: {ours} less {against} ({steps} steps, {seeds} seeds)", markup=False)
        wide = max(map(len, names))
        for name, value in zip(names, told, strict=True):
            console.print(f"  {name:{wide}}  {value}", markup=False)
    console.print()


def print_claims(console: Console, found: Sequence[ClaimResult]) -> None:
    """Every claim of the paper with its verdict, and the rule."""
    heads, rows = claim_lines(found)
    if console.width >= NARROW:
        console.print(table_of("The paper's claims", heads, rows, ()))
    else:
        console.print("The paper's claims\n", markup=False)
        for cells in rows:
            told = dict(zip(heads, cells, strict=True))
            claim, verdict = told.pop("claim"), told.pop("verdict")
            entry(console, claim, {"": verdict} | told)
    console.print(RULE, markup=False)


def print_beside(console: Console, found: Findings) -> None:
    """The papers' numbers beside ours: cell by cell where there are such, and gains."""
    cells = there(found.cells)
    console.print(f"\n{CELLS_TITLE}: {counted(found.cells)}\n", markup=False)
    rows = grouped(cell_rows(cells, the_paper()), lambda row: tuple(row[:4]))
    for (model, lang, arm, items), own in rows.items():
        console.print(f"{model}, {lang}, {items} items: {arm}", style="bold", markup=False)
        for _, _, _, _, measure, theirs, sure, ours, seeds, verdict in own:
            _under(console, f"{measure}: paper {theirs}, {sure}; ours {ours}, {seeds} seeds: {verdict}")
        console.print()
    if cells:
        console.print(CELLS_RULE, markup=False)
        console.print()
    if found.gains:
        console.print(f"{GAINS_TITLE}: directions alone\n", markup=False)
        for words, own in grouped(gain_lines(found.gains), lambda line: line[0]).items():
            console.print(words, style="bold", markup=False)
            for (tier, lang, ours), lines in grouped(own, lambda line: (line[1], line[2], line[8])).items():
                console.print(f"  {lang}{f' ({tier})' if tier else ''}: ours {ours}", markup=False)
                console.print(_gains(lines))
            console.print()
        console.print(GAINS_RULE, markup=False)


def _gains(rows: Iterable[Sequence[str]]) -> RenderableType:
    """Lines of one question and place: what the papers say, and the verdict."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2), pad_edge=True)
    for _, _, _, of, measure, models, theirs, sure, _, _, verdict in rows:
        source = "" if of == "paper" else f", {of}"
        table.add_row("", theirs, f"{measure}, {models}, {sure}{source}", verdict)
    return table


def entry(console: Console, title: str, told: dict[str, str]) -> None:
    """A title, and named values under it."""
    from rich.text import Text

    console.print(Text(title, style="bold"))
    for name, value in told.items():
        if value:
            _under(console, f"{name}: {value}" if name else value)
    console.print()


def _under(console: Console, text: str) -> None:
    """A paragraph set in by two characters."""
    from rich.padding import Padding
    from rich.text import Text

    console.print(Padding(Text(text), (0, 0, 0, 2)))


def table_of(title: str, heads: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[str]) -> RenderableType:
    """A table for the terminal; columns of the headings in ``right`` stand flush right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for head in heads:
        table.add_column(head, justify="right" if head in right else "left")
    for row in cells:
        table.add_row(*map(Text, row))
    return table
