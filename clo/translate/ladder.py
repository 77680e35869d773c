"""Sentences through an engine until a check accepts them: with more effort, then cut around what must not change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clo.translate.cache import SentenceCache
from clo.translate.checks import Failed, Language, fault
from clo.translate.engines import Engine
from clo.translate.segments import Piece, around_protected, protected

ATTEMPTS = 2


def translate_sentences(
    sentences: Sequence[str], engine: Engine, cache: SentenceCache, language: Language
) -> dict[str, tuple[str | None, str | None]]:
    """Translate what the cache does not have, and keep it there.

    Returns:
        Sentence -> (translation, None), or (None, the fault of the last attempt).
    """
    wanted = list(dict.fromkeys(sentences))
    open_ = [sentence for sentence in wanted if cache.get(sentence) is None]
    faults: dict[str, str] = {}
    for attempt in range(ATTEMPTS):
        made = engine.translate(open_, attempt) if open_ else []
        done: list[tuple[str, str | None, str | None]] = []
        for sentence, text in zip(open_, made, strict=True):
            found = fault(sentence, text, language)
            if found is None:
                done.append((sentence, str(text), None))
            else:
                faults[sentence] = found
        cache.add(done)
        accepted = {sentence for sentence, _, _ in done}
        open_ = [sentence for sentence in open_ if sentence not in accepted]
    cache.add(_in_fragments(open_, engine, language, faults))
    found_all = {sentence: cache.get(sentence) for sentence in wanted}
    return {sentence: entry for sentence, entry in found_all.items() if entry is not None}


def _in_fragments(
    sentences: Sequence[str], engine: Engine, language: Language, faults: dict[str, str]
) -> list[tuple[str, str | None, str | None]]:
    """The last attempt: the engine sees only what lies between code, formulas, addresses and placeholders."""
    cut = {s: around_protected(s) for s in sentences if protected(s)}
    parts = [piece.text.strip() for pieces in cut.values() for piece in pieces if piece.translate]
    made = dict(zip(parts, engine.translate(parts, ATTEMPTS), strict=True)) if parts else {}
    entries: list[tuple[str, str | None, str | None]] = []
    for sentence in sentences:
        text = _joined(cut[sentence], made) if sentence in cut else Failed(faults[sentence])
        found = fault(sentence, text, language)
        entries.append((sentence, str(text), None) if found is None else (sentence, None, found))
    return entries


def _joined(pieces: Sequence[Piece], made: Mapping[str, str | Failed]) -> str | Failed:
    """The pieces with what was made of them, or why one of them has no translation."""
    parts = []
    for piece in pieces:
        text = made[piece.text.strip()] if piece.translate else piece.text
        if isinstance(text, Failed):
            return text
        parts.append(piece.text.replace(piece.text.strip(), text) if piece.translate else text)
    return "".join(parts)
