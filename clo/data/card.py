"""Pieces of a data card, Markdown: a table of counts by reason, and one of lengths by language."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

SAMPLE = 400
"""Texts of a language that are encoded to measure its tokens per character."""


def count_table(what: str, counts: Iterable[tuple[str, int]]) -> list[str]:
    """Lines of a table: a reason, and how many there are of it."""
    return [f"| | {what} |", "|---|---:|", *(f"| {_cell(reason)} | {count:,} |" for reason, count in counts)]


def length_table(texts: Mapping[str, Sequence[str]], tokens: Callable[[str], int] | None) -> list[str]:
    """Lines of a table of lengths.

    Args:
        texts: code of a language -> its texts.
        tokens: length of a text in tokens of the model that will train; none leaves fertility out.
    """
    lines = [
        f"| | characters, median | longest |{' tokens per character |' if tokens else ''}",
        f"|---|---:|---:|{'---:|' if tokens else ''}",
    ]
    for code, found in texts.items():
        sizes = [len(text) for text in found] or [0]
        line = f"| {code} | {median(sizes):.0f} | {max(sizes):,} |"
        if tokens is not None:
            sample = found[:SAMPLE]
            line += f" {sum(map(tokens, sample)) / max(1, sum(map(len, sample))):.3f} |"
        lines.append(line)
    return lines


def short(text: str) -> str:
    """A text on one line of at most 160 characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= 160 else f"{flat[:159]}…"


def _cell(text: str) -> str:
    return short(text).replace("|", "\\|")
