"""Text as pieces: sentences to translate, and everything between them that must stay as it is.

Joining the pieces of a text gives the text back, character by character.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a text."""

    text: str
    translate: bool
    """Whether it is a sentence; the rest is code, markup, white space or has no letters."""


_FENCE = re.compile(r"(^[ \t]*(```|~~~).*?(?:^[ \t]*\2[ \t]*$|\Z)|\$\$.*?\$\$|\\\[.*?\\\])", re.DOTALL | re.MULTILINE)
_MARKER = re.compile(r"\s*(?:(?:[-*+•>]|#{1,6}|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s+)*")
_END = re.compile(r"""[.!?…]+["'”’)\]]*\s+(?=["'“‘(\[]?[A-Z0-9])|[。！？]+["”’」』）]*""")
_NO_END = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|etc|e\.g|i\.e|cf|approx|No|Fig|Eq|Vol|pp?|U\.S|a\.m|p\.m)|\b[A-Z]|^\d{1,3})\.\s+$"
)
_PROTECTED = re.compile(
    r"`[^`\n]+`"
    r"|\$[^$\n]+\$|\\\(.+?\\\)"
    r"|(?:https?|ftp)://[^\s)>\]]*[^\s)>\].,;:!?]|www\.[^\s)>\]]*[^\s)>\].,;:!?]"
    r"|[\w.+-]+@[\w-]+\.[\w.]*\w"
    r"|</?[a-zA-Z][^<>\n]*>|\{\{?[\w .]+\}?\}|%\(\w+\)[sd]|%[sd]"
)


def pieces(text: str) -> list[Piece]:
    """Split a text at code blocks, lines, list markers and the ends of sentences."""
    found: list[Piece] = []
    place = 0
    for block in _FENCE.finditer(text):
        found += _lines(text[place : block.start()])
        found.append(Piece(block[0], False))
        place = block.end()
    return found + _lines(text[place:])


def _lines(text: str) -> list[Piece]:
    found: list[Piece] = []
    for line in text.splitlines(keepends=True):
        body = line.rstrip()
        marker = _MARKER.match(body)
        start = marker.end() if marker else 0
        found += [Piece(body[:start], False), *_sentences(body[start:]), Piece(line[len(body) :], False)]
    return [piece for piece in found if piece.text]


def _sentences(text: str) -> list[Piece]:
    found: list[Piece] = []
    start = 0
    for end in _END.finditer(text):
        if _NO_END.search(text[start : end.end()]):
            continue
        found += _sentence(text[start : end.end()])
        start = end.end()
    return found + (_sentence(text[start:]) if start < len(text) else [])


def _sentence(text: str) -> list[Piece]:
    """A sentence and the white space after it; without a letter outside of protected parts it stays as it is."""
    body = text.rstrip()
    worth = any(map(str.isalpha, _PROTECTED.sub("", body)))
    return [piece for piece in (Piece(body, worth), Piece(text[len(body) :], False)) if piece.text]


def protected(text: str) -> list[str]:
    """Parts that a translation must hold unchanged: inline code, formulas, addresses, tags, placeholders."""
    return [match[0] for match in _PROTECTED.finditer(text)]


def around_protected(text: str) -> list[Piece]:
    """The sentence cut at its protected parts, so that no engine sees them."""
    found: list[Piece] = []
    place = 0
    for match in _PROTECTED.finditer(text):
        found += [_fragment(text[place : match.start()]), Piece(match[0], False)]
        place = match.end()
    return [piece for piece in [*found, _fragment(text[place:])] if piece.text]


def _fragment(text: str) -> Piece:
    return Piece(text, any(map(str.isalpha, text)))


_SEPARATORS = ".,\u066b\u066c\u00a0\u202f' "
"""Between digits of one number, or of a list: decimals and thousands, Arabic ones among them."""
_RUN = re.compile(rf"\d+(?:[{_SEPARATORS}]\d+)*")
_ONE = re.compile(
    rf"\d{{1,3}}(?:[{_SEPARATORS}]\d{{3}})+(?:[{_SEPARATORS}]\d+)?"  # thousands, and a fraction
    rf"|\d{{1,2}}(?:[{_SEPARATORS}]\d\d)+[{_SEPARATORS}]\d{{3}}"  # lakhs
    rf"|\d+[{_SEPARATORS}]\d+"  # a fraction
)


def numbers(text: str) -> list[str]:
    """All numbers as ASCII digits, sorted: digits of any script, separators left out; a list is its elements."""
    found: list[str] = []
    for match in _RUN.finditer(text):
        parts = re.findall(r"\d+", match[0])
        found += ["".join(parts)] if _ONE.fullmatch(match[0]) else parts
    return sorted(map(_ascii, found))


def same_numbers(source: str, translation: str) -> bool:
    """Whether two texts hold the same numbers by value, however they are grouped, separated or written."""
    if numbers(source) == numbers(translation):
        return True
    # "1, 2" may become "1,2", which could be a fraction as well
    return sorted(map(_ascii, re.findall(r"\d+", source))) == sorted(map(_ascii, re.findall(r"\d+", translation)))


def _ascii(digits: str) -> str:
    return "".join(str(unicodedata.decimal(digit)) for digit in digits)
