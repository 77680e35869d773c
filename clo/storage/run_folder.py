"""A run's folder: new, running, then done or failed. Everything in it is written whole and is JSON or text.

outputs/<study>/<name>/ holds config.yaml, status.json, metrics.jsonl, checkpoint/, model/, samples.jsonl, results.json.
The name is a function of the resolved configuration, so the same command finds the same folder: a finished run is
shown, a broken one resumes.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import IO, Any

from clo.errors import UserError, cause
from clo.storage.files import read_object, write_json, write_text

AGAIN = "bring it back, or delete the run's status.json: the run's command then makes it again"
"""How to mend a finished run's folder that something has happened to."""
WRITTEN: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("lang", "method"), str),
    **dict.fromkeys(("data_size", "seed"), int),
    **dict.fromkeys(("start", "scores"), dict),
}
"""What every finished run's results.json holds (more besides), and as what."""


class RunFolder:
    """The folder of one run.

    Args:
        path: its place.
        main: whether this process writes (rank 0); other ranks only read.
        finished: work on a finished run: its status stays ``done`` whatever happens to that work.
    """

    def __init__(self, path: Path, main: bool = True, finished: bool = False) -> None:
        self.path, self.main, self.finished = path, main, finished
        self._lock: IO[str] | None = None
        self._status: dict[str, Any] = {}
        self._written = 0.0

    def state(self) -> str:
        """``new``, ``running`` (also: killed, or status.json is spoilt), ``failed`` or ``done``; raises nothing."""
        try:
            state = read_object(self.path / "status.json").get("state")
            whole = state in ("running", "failed", "done")
            return str(state) if whole and (state != "done" or (self.path / "results.json").is_file()) else "running"
        except (FileNotFoundError, NotADirectoryError):
            return "new"
        except (OSError, ValueError):
            return "running"

    def acquire(self, config: str, patience: float = 0.0) -> None:
        """Create the folder if need be, take its lock (see `lock`), write config.yaml."""
        self.lock(patience)
        if self.main:
            write_text(self.path / "config.yaml", config)

    def lock(self, patience: float = 0.0) -> None:
        """Take the folder for the life of this process.

        Args:
            patience: seconds to wait for a process that works in it.

        Raises:
            UserError: the place cannot be written, or a live process works in it.
        """
        if not self.main:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / ".lock").open("a+")
        except OSError as error:
            raise UserError(
                f"cannot write the run folder {self.path} ({error.strerror}); set output_dir to a writable place"
            ) from error
        deadline = time.monotonic() + patience
        while not self._locked(self._lock):
            if time.monotonic() > deadline:
                self._lock.seek(0)
                holder = self._lock.read() or "unknown"
                raise UserError(f"the run folder {self.path} is in use by process {holder}; wait or stop it")
            time.sleep(0.2)
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def _locked(self, file: IO[str]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:  # a network file system without locks
            raise UserError(
                f"{self.path} cannot be locked ({error.strerror}); set output_dir to a file system with locks, "
                "or have this one mounted with them"
            ) from error
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def status(self, now: bool = False, **fields: Any) -> None:
        """Update status.json: at most once a second, or at once with ``now``."""
        self._status.update(fields)
        if self.main and not self.finished and (now or time.monotonic() - self._written > 1):
            self._written = time.monotonic()
            write_json(self.path / "status.json", {"pid": os.getpid(), **self._status})

    def results(self) -> dict[str, Any]:
        """The finished run's results.json.

        Raises:
            UserError: it is missing, cut, or lacks what every finished run writes.
        """
        path = self.path / "results.json"
        try:
            found = read_object(path)
            lacking = [key for key, kind in WRITTEN.items() if not isinstance(found.get(key), kind)]
            if lacking:
                raise ValueError(f"it lacks {lacking[0]}")
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read {path} ({cause(error)}); {AGAIN}") from error
        return found
