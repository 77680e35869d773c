"""The shell of every page, and pieces that several pages share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

from clo.report.style import CSS

# A page may show inline images and its own style and nothing else, even if an answer smuggles something in.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, body: str) -> str:
    """A whole page: one file with everything in it, no request to anywhere.

    Args:
        title: of the window, as text.
        body: HTML.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def sections(parts: Sequence[tuple[str, str, str]]) -> str:
    """Links to the parts that have a body, then the parts: (id, title, HTML)."""
    parts = [part for part in parts if part[2]]
    links = " ".join(f'<a href="#{key}">{title}</a>' for key, title, _ in parts)
    body = "".join(f'<section id="{key}"><h2>{title}</h2>{body}</section>' for key, title, body in parts)
    return f"<nav>{links}</nav>\n{body}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,), kind: str = "") -> str:
    """A table in a box that scrolls by itself; headings and cells are HTML.

    Args:
        heads: headings.
        rows: cells.
        left: columns set flush left.
        kind: class of the table.
    """
    marks = [' class="left"' if k in left else "" for k in range(len(heads))]
    top = "".join(f"<th{mark}>{head}</th>" for mark, head in zip(marks, heads, strict=True))
    lines = (
        "<tr>" + "".join(f"<td{mark}>{cell}</td>" for mark, cell in zip(marks, row, strict=True)) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def file_name(text: str) -> str:
    """Text as the name of a file: other signs than letters, digits and ``. = _ -`` become a hyphen."""
    return re.sub(r"[^\w.=-]+", "-", text).strip("-.") or "page"


def address(path: str) -> str:
    """A relative path as the value of an ``href``."""
    return escape(quote(path))
