"""LaTeX: text as it shows it, tables in booktabs style, and a document of all of them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

_SIGNS = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "\u2013": "--", "\u2014": "---",
    "\u2212": r"$-$", "\u2020": r"$^\dagger$", "\u2018": "`", "\u2019": "'", "\u201c": "``", "\u201d": "''",
    "\u2026": r"\dots{}", "\u00a0": "~", "±": r"$\pm$", "×": r"$\times$", "λ": r"$\lambda$", "β": r"$\beta$",
    "α": r"$\alpha$", "≥": r"$\geq$", "≤": r"$\leq$", "→": r"$\rightarrow$", "·": r"$\cdot$", "\u2717": r"$\times$",
    "đ": r"\dj{}", "ı": r"\i{}", "ø": r"\o{}", "Ø": r"\O{}", "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}  # fmt: skip
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0323": "d", "\u0327": "c", "\u0328": "k",
    "\u0331": "b",
}  # fmt: skip
"""Combining mark -> the command that sets it on a letter: Yoruba's dots below and tones, and their like."""


def tex_escape(text: str) -> str:
    """Text as LaTeX shows it, in any engine if it is Latin; other scripts stay, and need XeLaTeX or LuaLaTeX."""
    out: list[str] = []
    for char in unicodedata.normalize("NFC", text):
        if char in _SIGNS:
            out.append(_SIGNS[char])
        elif unicodedata.combining(char):
            out.append(_marked(out.pop() if out else "{}", char))
        elif ord(char) < 128:
            out.append(char)
        else:
            base, *marks = list(unicodedata.normalize("NFD", char))
            latin = ord(base) < 128 and all(mark in _ACCENTS for mark in marks)
            for mark in marks if latin else ():
                base = _marked(base, mark)
            out.append(base if latin else char)
    return "".join(out)


def _marked(letter: str, mark: str) -> str:
    """A letter under a mark; dotless where the mark takes the dot's place."""
    if mark not in _ACCENTS:
        return letter + mark
    above = mark not in ("\u0323", "\u0327", "\u0328", "\u0331")
    return f"\\{_ACCENTS[mark]}{{{chr(92) + letter + ' ' if letter in ('i', 'j') and above else letter}}}"


@dataclass(frozen=True)
class TexTable:
    """A plain table: what stands in it is text, not LaTeX."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    """Under the table."""
    right: Sequence[int] = ()
    """Places of columns of numbers."""
    wide: Mapping[int, float] | None = None
    """Place of a column of sentences -> its width in cm, in which they break."""

    @property
    def spec(self) -> str:
        """Of its columns."""
        wide = self.wide or {}
        return "".join(
            f"p{{{wide[i]:g}cm}}" if i in wide else "r" if i in self.right else "l" for i in range(len(self.heads))
        )


def parted(rows: Sequence[Sequence[str]]) -> list[Sequence[Sequence[str]]]:
    """Rows in runs of the same first cell, between which a rule stands; all together where no two are alike."""
    found = [list(own) for _, own in groupby(rows, lambda row: row[0])]
    return [rows] if len(found) == len(rows) else list(found)
