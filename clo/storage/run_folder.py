"""A run's folder: new, running, then done or failed. Everything in it is written whole and is JSON or text.

outputs/<study>/<name>/ holds config.yaml, status.json, metrics.jsonl, checkpoint/, model/, samples.jsonl, results.json.
The name is a function of the resolved configuration, so the same command finds the same folder: a finished run is
shown, a broken one resumes.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from clo.errors import InUse, UserError, cause
from clo.storage.claim import STALE, Claim
from clo.storage.files import json_text, read_object, write_json, write_text

AGAIN = "bring it back, or delete the run's status.json: the run's command then makes it again"
"""How to mend a finished run's folder that something has happened to."""
WRITTEN: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("lang", "method"), str),
    **dict.fromkeys(("data_size", "seed"), int),
    **dict.fromkeys(("start", "scores"), dict),
}
"""What every finished run's results.json holds (more besides), and as what."""


STATES = ("queued", "running", "failed", "done")


class RunFolder:
    """The folder of one run.

    Args:
        path: its place.
        main: whether this process writes (rank 0); other ranks only read.
        finished: work on a finished run: its status stays ``done`` whatever happens to that work.
    """

    def __init__(self, path: Path, main: bool = True, finished: bool = False) -> None:
        self.path, self.main, self.finished = path, main, finished
        self._claim = Claim(path / ".lock")
        self._status: dict[str, Any] = {}
        self._written = 0.0

    def state(self) -> str:
        """``new``, ``queued``, ``running`` (also: killed, or status.json is spoilt), ``failed`` or ``done``.

        Nothing is raised.
        """
        try:
            state = read_object(self.path / "status.json").get("state")
            whole = state in STATES
            return str(state) if whole and (state != "done" or (self.path / "results.json").is_file()) else "running"
        except (FileNotFoundError, NotADirectoryError):
            return "new"
        except (OSError, ValueError):
            return "running"

    def queue(self) -> None:
        """Tell that a grid is going to come here, where nobody has been yet.

        Raises:
            UserError: the place cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / "status.json").open("x", encoding="utf-8") as file:
                file.write(json_text({"state": "queued"}))
        except FileExistsError:
            pass
        except OSError as error:
            raise self._closed(error) from error

    def _closed(self, error: OSError) -> UserError:
        return UserError(
            f"cannot write the run folder {self.path} ({error.strerror}); set output_dir to a writable place"
        )

    def acquire(self, config: str) -> None:
        """Create the folder if need be, take it (see `lock`), write config.yaml."""
        self.lock()
        if self.main:
            write_text(self.path / "config.yaml", config)

    def lock(self) -> None:
        """Take the folder for the life of this process, against processes of all machines that share it.

        Raises:
            InUse: a live process works in it.
            UserError: the place cannot be written.
        """
        if not self.main:
            return
        try:
            taken = self._claim.take()
        except OSError as error:
            raise self._closed(error) from error
        if not taken:
            raise InUse(f"the run folder {self.path} is in use by {self._claim.said()}; wait or stop it")

    def holder(self) -> str | None:
        """Who works in it, in words; None: nobody alive."""
        return self._claim.holder()

    def release(self) -> None:
        """Give it back."""
        self._claim.give_back()

    def status(self, now: bool = False, **fields: Any) -> None:
        """Update status.json: at most once a second, or at once with ``now``.

        Raises:
            InUse: this process stood still for so long that another one has taken the folder.
        """
        self._status.update(fields)
        if self.main and not self.finished and (now or time.monotonic() - self._written > 1):
            self._written = time.monotonic()
            if self._claim.lost():
                raise InUse(
                    f"{self.path} was taken over by {self._claim.said()}: this process gave no sign of life for "
                    f"{STALE:.0f} s; it goes on there, and this one ends"
                )
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
