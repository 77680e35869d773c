"""The cells of a grid end with their parent, however it ends: each watches a pipe that only the parent holds open.

A signal that is sent at a parent's death (Linux has one) would be shorter; a pipe does it on every POSIX system, and
says nothing wrong when a thread of the parent ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

GRACE = 10.0
"""Seconds that a cell has to stop as on Ctrl-C; then it is ended."""


def end_with_parent() -> None:
    """Stop this process as Ctrl-C does when the grid that started it is gone."""
    threading.Thread(target=_watch, name="lifeline", daemon=True).start()


def _watch() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)
