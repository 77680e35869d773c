"""A place in which one process at a time works, of all machines that share its folder; a dead process holds nothing.

Two guards, since neither is enough alone. ``flock`` frees a place the moment its process ends, but some network file
systems refuse it and others keep it to one machine. Beside it lies a file that says who works here, ``<name>.<n>``: the
highest number holds, and whoever finds that its holder is gone makes the next one, which only one process can
(``O_EXCL``). On the holder's own machine its process tells whether it is alive, on another the age of the file, which
the holder touches every `BEAT` seconds; ages are differences of times that the file system itself has set, so that the
clocks of the machines do not matter. Given back, the file becomes the lock file, which so holds the last number used:
none is used twice, and who comes late with what it saw before finds that out.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from clo.storage.files import cannot_write

BEAT = 10.0
"""Seconds between two signs of life."""
STALE = 120.0
"""Seconds without a sign of life after which a process of another machine counts as dead."""
PAUSE = 0.5
"""Seconds between two looks at a place that one waits for."""


class Claim:
    """One place, named by its lock file.

    Args:
        path: of the lock file; the folder is made when the claim is taken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None
        self._mine: Path | None = None

    def take(self) -> bool:
        """Take the place, if nobody alive works in it.

        Raises:
            OSError: the place cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("a+", encoding="utf-8")
        if not _locked(file) or not self._numbered():
            file.close()
            return False
        self._file = file
        _beat_for(self)
        return True

    def holder(self) -> str | None:
        """Who works here now, in words; None: nobody alive, as far as looking can tell."""
        number, record = self._highest()
        if not self._alive(number, record):
            return None
        here = "host" not in record or record.get("machine") == _machine()
        return f"process {record.get('pid', 'unknown')}{'' if here else ' on ' + str(record['host'])}"

    def said(self) -> str:
        """As `holder`, of a place that could not be taken."""
        return self.holder() or "process unknown"

    def lost(self) -> bool:
        """Whether this process held the place, and another one has taken it for dead since."""
        return self._mine is not None and not self._mine.exists()

    def give_back(self) -> None:
        """Free the place, if it is held."""
        mine, self._mine = self._mine, None
        _beating.discard(self)
        if mine is not None and mine.exists():
            with contextlib.suppress(OSError):  # a full disk: the end of this process frees it
                mine.write_text(json.dumps({"free": int(mine.suffix[1:])}), encoding="utf-8")
                os.replace(mine, self.path)
        if self._file is not None:
            self._file.close()
            self._file = None

    def beat(self) -> None:
        """A sign of life."""
        mine = self._mine
        if mine is not None:
            with contextlib.suppress(OSError):
                os.utime(mine)

    def _numbered(self) -> bool:
        number, record = self._highest()
        if self._alive(number, record):
            return False
        mine, own = self._of(number + 1), _self()
        try:
            with mine.open("x", encoding="utf-8") as file:
                file.write(json.dumps(own))
        except FileExistsError:
            return False
        if self._highest() != (number + 1, own):  # this one or a later one came and went while this process only looked
            mine.unlink(missing_ok=True)
            return False
        for old in self._numbers():
            if old <= number:
                self._of(old).unlink(missing_ok=True)
        self._mine = mine
        return True

    def _of(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _numbers(self) -> list[int]:
        head = f"{self.path.name}."
        try:
            names = os.listdir(self.path.parent)
        except FileNotFoundError:
            return []
        return [int(name.removeprefix(head)) for name in names if name.startswith(head) and name[len(head) :].isdigit()]

    def _highest(self) -> tuple[int, dict[str, Any]]:
        """Number and content of the claim that counts; the content of one that was given back says so."""
        number = max(self._numbers(), default=0)
        last = _object(self.path).get("free")
        last = last if isinstance(last, int) else 0
        if number <= last:
            return last, {"free": last}
        return number, _object(self._of(number)) or {"pid": "unknown"}  # being written, or cut: its age tells

    def _alive(self, number: int, record: dict[str, Any]) -> bool:
        if "free" in record:
            return False
        own = _self()
        if record.get("machine") == own["machine"]:
            return _started(record.get("pid")) == record.get("started")
        try:
            with self.path.open("a", encoding="utf-8") as now, self._of(number).open("rb") as then:
                os.utime(self.path)  # the time of the file system, not of this machine
                return os.fstat(now.fileno()).st_mtime - os.fstat(then.fileno()).st_mtime < STALE
        except FileNotFoundError:
            return True  # it changes hands just now


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def alone(path: Path, waits: Callable[[str], None] = lambda holder: None) -> Iterator[None]:
    """Hold the place of the lock file ``path``, and wait while somebody else does.

    Args:
        path: of the lock file.
        waits: told who is waited for, once.

    Raises:
        UserError: the place cannot be written.
    """
    claim, told = Claim(path), False
    try:
        while not claim.take():
            if not told and (holder := claim.holder()):
                waits(holder)
                told = True
            time.sleep(PAUSE)
    except OSError as error:
        raise cannot_write(error, path) from error
    try:
        yield
    finally:
        claim.give_back()


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: the numbered file is the lock
        return True
    return True


def _self() -> dict[str, Any]:
    return {"machine": _machine(), "host": platform.node(), "pid": os.getpid(), "started": _started(os.getpid())}


def _machine() -> str:
    """What has the same process ids: this boot of this machine, and this container of it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def _started(pid: object) -> int | None:
    """When a process of this machine began, in the system's ticks; None: there is none. Ids are given out again."""
    if not isinstance(pid, int):
        return None
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return None if state in "ZX" else int(fields[18])
    except (OSError, ValueError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:  # a system without /proc
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return 0


_beating: set[Claim] = set()
_heart: list[tuple[int, threading.Thread]] = []
"""The thread, and the process that has it: a fork has none."""


def _beat_for(claim: Claim) -> None:
    if not _heart or _heart[0][0] != os.getpid():
        _beating.clear()  # those of the process that this one was forked from
        thread = threading.Thread(target=_beat, name="claims", daemon=True)
        _heart[:] = [(os.getpid(), thread)]
        thread.start()
    _beating.add(claim)


def _beat() -> None:
    while True:
        time.sleep(BEAT)
        for claim in list(_beating):
            claim.beat()
