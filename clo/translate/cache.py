"""Translated sentences on disk: one JSON line each, appended as they are made, found by content."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path


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
        for line in self.path.read_bytes().splitlines() if self.path.is_file() else []:
            try:
                record = json.loads(line)
                self._known[_key(record["source"])] = (record["text"], record["fault"])
            except (ValueError, KeyError, TypeError, AttributeError):
                self.broken += bool(line.strip())

    def get(self, sentence: str) -> tuple[str | None, str | None] | None:
        """(translation, None) or (None, why there is none), or nothing where it was never tried."""
        return self._known.get(_key(sentence))

    def add(self, entries: Iterable[tuple[str, str | None, str | None]]) -> None:
        """Keep (sentence, translation or None, fault or None)."""
        lines = []
        for source, text, fault in entries:
            self._known[_key(source)] = (text, fault)
            lines.append(json.dumps({"source": source, "text": text, "fault": fault}, ensure_ascii=False))
        if not lines:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The leading line feed closes a line that a killed process may have left torn.
        block = ("\n" + "\n".join(lines) + "\n").encode()
        with self.path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(block)
            file.flush()
            os.fsync(file.fileno())


def _key(sentence: str) -> bytes:
    return hashlib.sha256(sentence.encode()).digest()[:16]
