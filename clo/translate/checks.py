"""Is this a translation? What can be told of a sentence without a second translator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from clo.translate.segments import protected, same_numbers

Language = Callable[[str], str]
"""The verdict of a text: target, en, other or undecided."""

SHORTEST_RATIO, LONGEST_RATIO = 0.15, 5.0
"""Length of a translation in characters, relative to its source; Chinese needs a third of English, some twice."""
LONG_ENOUGH = 24
"""Characters of a source from which on its translation's length is checked."""
SURE = 60
"""Characters from which on its language is told by the sentence; whole texts are told again in the end."""


@dataclass(frozen=True, slots=True)
class Failed:
    """What an engine gives where it has no translation of a sentence."""

    why: str


def fault(source: str, translation: str | Failed, language: Language) -> str | None:
    """Why a translation is refused, or nothing."""
    if isinstance(translation, Failed):
        return translation.why
    text = translation.strip()
    if not text:
        return "empty"
    lost = Counter(protected(source)) - Counter(protected(text))
    if any(text.count(part) < count for part, count in lost.items()):
        return "code, formula, address or placeholder lost"
    if not same_numbers(source, text):
        return "numbers differ"
    if repeats(text) and not repeats(source):
        return "repeats itself"
    if len(source) < LONG_ENOUGH:
        return None
    if text.casefold() == source.casefold():
        return "not translated"
    if not SHORTEST_RATIO <= len(text) / len(source) <= LONGEST_RATIO:
        return "too short or too long"
    return wrong_language(text, language) if len(source) >= SURE else None


def wrong_language(text: str, language: Language) -> str | None:
    """Why a text is not in the target language, or nothing where it is or cannot be told."""
    return {"en": "not translated", "other": "in another language"}.get(language(text))


def repeats(text: str) -> bool:
    """Whether a phrase comes again and again: one of four words, or of eight characters where words are not spaced."""
    words = text.split()
    units, size = (words, 4) if len(words) > 0.08 * len(text) else (list(text), 8)
    phrases = Counter(tuple(units[k : k + size]) for k in range(len(units) - size + 1))
    return bool(phrases) and max(phrases.values()) >= 4
