"""Examples to parallel rows: an append-only file that grows as far as a run needs it, and resumes after a kill."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from clo.data.instructions.example import Instruction
from clo.data.texts import key as same
from clo.storage.claim import alone
from clo.translate.cache import SentenceCache
from clo.translate.checks import Language, wrong_language
from clo.translate.engines import Engine
from clo.translate.ladder import translate_sentences
from clo.translate.segments import Piece, pieces
from clo.translate.spoilt import REASON, is_spoilt

CHUNK = 256
"""Examples translated together: enough sentences for batches of equal length."""


@dataclass
class Translated:
    """What the file holds."""

    rows: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Examples left out, by reason."""
    broken_cache_lines: int = 0

    def seen(self) -> int:
        """Examples that are done, kept or dropped."""
        return self.rows + sum(self.dropped.values())


@dataclass(frozen=True)
class Means:
    """How to translate."""

    languages: tuple[str, str]
    """(source, target)."""
    engine: Callable[[], Engine]
    """Makes the translator, if there is anything to translate."""
    cache: SentenceCache
    language: Language
    waits: Callable[[str], None] = lambda holder: None
    """Told which process is waited for, while another makes the same file."""


def translate_examples(
    examples: Iterable[Instruction],
    path: Path,
    needed: int,
    means: Means,
    tick: Callable[[int, int, str], None] | None = None,
) -> Translated:
    """Translate examples in order until ``path`` holds ``needed`` rows, or there are no more.

    An example whose prompt or response cannot be translated is left out in both languages, with its reason, in
    ``<path>.dropped.jsonl``. Another process that wants the same file waits for this one.

    Args:
        examples: in the source language, the best first; always the same ones in the same order.
        path: rows as :func:`clo.data.rows.read_rows` reads them, one line each.
        needed: rows wanted.
        means: how to translate.
        tick: called with (rows, rows wanted, note).
    """
    cache = means.cache
    with alone(path.with_suffix(".lock"), means.waits):
        state = _resume(path)
        state.broken_cache_lines = cache.broken
        if state.rows >= needed:
            return state
        left = islice(examples, state.seen(), None)
        translator: Engine | None = None
        while state.rows < needed and (chunk := list(islice(left, CHUNK))):
            cut = [_pieces(example) for example in chunk]
            sentences = [piece.text for parts in cut for side in parts for piece in side if piece.translate]
            if translator is None and any(cache.get(sentence) is None for sentence in sentences):
                translator = means.engine()
            found = {s: entry for s in sentences if (entry := cache.get(s)) is not None}
            if translator is not None:
                found = translate_sentences(sentences, translator, cache, means.language)
            for example, sides in zip(chunk, cut, strict=True):
                if state.rows == needed:
                    break
                _write(path, state, example, sides, found, means)
            if tick is not None:
                tick(state.rows, needed, f"{sum(state.dropped.values())} dropped")
        return state


def _pieces(example: Instruction) -> list[list[Piece]]:
    """Prompt and response, and a worse response, as pieces; nothing of one that is left out anyway."""
    return [[] if is_spoilt(example.prompt) else pieces(text) for text in example.texts()]


def _write(
    path: Path,
    state: Translated,
    example: Instruction,
    sides: list[list[Piece]],
    found: dict[str, tuple[str | None, str | None]],
    means: Means,
) -> None:
    texts = [_join(side, found) for side in sides]
    faults = [REASON] if is_spoilt(example.prompt) else [reason for text, reason in texts if text is None]
    if not faults:
        faults = [why for text, _ in texts if (why := wrong_language(str(text), means.language)) is not None]
    if not faults and len({same(str(text)) for text, _ in texts[1:]}) < len(texts) - 1:
        faults = ["both responses of a quality pair became the same"]
    source, target = means.languages
    if faults:
        state.dropped[str(faults[0])] += 1
        _append(dropped_path(path), {"id": example.id, "reason": faults[0]})
        return
    state.rows += 1
    row = {
        "id": example.id,
        f"prompt_{source}": example.prompt,
        f"response_{source}": example.response,
        "prompt": texts[0][0],
        "response": texts[1][0],
        "lang": target,
    }
    if example.rejected is not None:
        row |= {f"rejected_{source}": example.rejected, "rejected": texts[2][0]}
    _append(path, row)


def _join(side: list[Piece], found: dict[str, tuple[str | None, str | None]]) -> tuple[str | None, str | None]:
    """The translated text with its own separators, or the reason of the first sentence that has none."""
    parts = []
    for piece in side:
        text, reason = found[piece.text] if piece.translate else (piece.text, None)
        if text is None:
            return None, reason
        parts.append(text)
    return "".join(parts), None


def dropped_path(path: Path) -> Path:
    """The file of examples that were left out."""
    return path.with_suffix(".dropped.jsonl")


def _append(path: Path, record: Mapping[str, object]) -> None:
    with path.open("ab") as file:
        file.write((json.dumps(record, ensure_ascii=False) + "\n").encode())


def _resume(path: Path) -> Translated:
    """What was done before; a torn last line is cut off and made again."""
    state = Translated()
    for file, key in ((path, None), (dropped_path(path), "reason")):
        if not file.is_file():
            continue
        raw = file.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if whole != raw:
            os.truncate(file, len(whole))
        for line in whole.splitlines():
            if key is None:
                state.rows += 1
            else:
                state.dropped[json.loads(line)[key]] += 1
    return state
