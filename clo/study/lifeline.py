"""The cells of a grid end with their parent, however it ends: each watches a pipe that only the parent holds open.

A signal that is sent at a parent's death (Linux has one) would be shorter; a pipe does it on every POSIX system, and
says nothing wrong when a thread of the parent ends.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

VARIABLE = "CLO_LIFELINE"
GRACE = 10.0
"""Seconds that a cell has to stop as on Ctrl-C; then it is ended."""


class Lifeline:
    """The parent's side."""

    def __init__(self) -> None:
        self._watched, self._held = os.pipe()

    def handed_on(self) -> dict[str, Any]:
        """Arguments of Popen for a process that ends with this one."""
        return {"pass_fds": (self._watched,), "env": {**os.environ, VARIABLE: str(self._watched)}}

    def close(self) -> None:
        """Let go: what still watches ends."""
        os.close(self._held)
        os.close(self._watched)


def end_with_parent() -> bool:
    """Stop this process as Ctrl-C does when the grid that started it is gone; whether there is one."""
    watched = os.environ.pop(VARIABLE, "")  # not for processes that this one starts
    if watched:
        threading.Thread(target=_watch, args=(int(watched),), daemon=True).start()
    return bool(watched)


def _watch(end: int) -> None:
    try:
        os.read(end, 1)  # nothing is ever written: it returns when the other end is closed
    except OSError:
        return
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)
