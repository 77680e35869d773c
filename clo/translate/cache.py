"""Translated sentences on disk: one JSON line each, appended as they are made, found by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from clo.storage.jsonl import append_lines, lines_of


class SentenceCache:
    """Translations of one engine with one set of settings between two languages.

    Several processes may append to the file. A torn or broken line is left out, counted in ``broken``, and made again.

    Args:
        folder: where the file lies.
        identity: everything but the sentence that a translation depends on.
    """

    def __init__(self, folder: Path, identity: object) -> None:
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
        self.path = folder / f"{digest}.jsonl"
        self.broken = 0
        self._known: dict[bytes, tuple[str | None, str | None]] = {}
        for record in lines_of(self.path):
            try:
                if record is None:
                    raise ValueError
                self._known[_key(record["source"])] = (record["text"], record["fault"])
            except (ValueError, KeyError, TypeError, AttributeError):
                self.broken += 1

    def get(self, sentence: str) -> tuple[str | None, str | None] | None:
        """(translation, None) or (None, why there is none), or nothing where it was never tried."""
        return self._known.get(_key(sentence))

    def add(self, entries: Iterable[tuple[str, str | None, str | None]]) -> None:
        """Keep (sentence, translation or None, fault or None)."""
        records = [{"source": source, "text": text, "fault": fault} for source, text, fault in entries]
        append_lines(self.path, records)
        self._known |= {_key(str(one["source"])): (one["text"], one["fault"]) for one in records}


def _key(sentence: str) -> bytes:
    return hashlib.sha256(sentence.encode()).digest()[:16]
