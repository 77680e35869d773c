"""Every reply of a server on disk: one JSON line each, written the moment it comes, found by content."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

from clo.server.reply import Reply
from clo.storage.jsonl import append_lines, lines_of


class ReplyCache:
    """Replies of one model with one set of settings; safe for threads and for several processes.

    A reply's place is the SHA-256 of the settings and the whole prompt. A torn or broken line is left out, counted in
    ``broken``, and asked again.

    Args:
        folder: where the file lies; made when the first reply is kept.
        settings: everything but the prompt that a reply depends on, as JSON can hold it.
        what: who replies, for messages.

    Raises:
        UserError: the file is there and cannot be read.
    """

    def __init__(self, folder: Path, settings: dict[str, object], what: str) -> None:
        self._settings = json.dumps(settings, sort_keys=True)
        self.path = folder / f"{hashlib.sha256(self._settings.encode()).hexdigest()[:24]}.jsonl"
        self.what, self.broken = what, 0
        self._known: dict[str, Reply] = {}
        self._lock = threading.Lock()
        for record in lines_of(self.path):
            self._read(record)

    def _read(self, record: dict[str, Any] | None) -> None:
        try:
            if record is None:
                raise ValueError
            key, text, top = record["key"], record["text"], record["top"]
            whole = isinstance(key, str) and isinstance(text, str) and (top is None or isinstance(top, dict))
            if not whole or not all(isinstance(value, float | int) for value in (top or {}).values()):
                raise ValueError
            self._known[key] = Reply(text, top, cut=record.get("cut") is True)
        except (ValueError, KeyError, TypeError):
            self.broken += 1

    def key(self, prompt: str) -> str:
        """The place of a reply to ``prompt``."""
        return hashlib.sha256(f"{self._settings}\n{prompt}".encode("utf-8", "replace")).hexdigest()

    def get(self, prompt: str) -> Reply | None:
        """The reply to that prompt, if there ever was one."""
        return self._known.get(self.key(prompt))

    def add(self, prompt: str, reply: Reply) -> None:
        """Keep a reply; it is on disk when this returns.

        Raises:
            UserError: the file cannot be written.
        """
        key = self.key(prompt)
        record = {"key": key, "text": reply.text, "top": reply.top, **({"cut": True} if reply.cut else {})}
        with self._lock:
            append_lines(self.path, [record])
            self._known[key] = reply
