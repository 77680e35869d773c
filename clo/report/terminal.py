"""What a report prints beside its table: CLO against SFT at equal terms, and the paper's claims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clo.report.claim_results import ClaimResult, claim_lines
from clo.report.claims import RULE
from clo.report.equal import NONE, TITLE, EqualRow, lines

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def print_equal(console: Console, rows: Sequence[EqualRow]) -> None:
    """The differences at equal weights, items and steps, or the sentence that there are none."""
    if not rows:
        console.print(NONE, markup=False)
        return
    heads, cells = lines(rows)
    console.print(table_of(TITLE, heads, cells, ("items", "steps", "seeds")))


def print_claims(console: Console, found: Sequence[ClaimResult]) -> None:
    """Every claim of the paper with its verdict, and the rule."""
    console.print(table_of("The paper's claims", *claim_lines(found), ()))
    console.print(RULE, markup=False)


def table_of(title: str, heads: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[str]) -> RenderableType:
    """A table for the terminal; columns of the headings in ``right`` stand flush right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for head in heads:
        table.add_column(head, justify="right" if head in right else "left")
    for row in cells:
        table.add_row(*map(Text, row))
    return table
