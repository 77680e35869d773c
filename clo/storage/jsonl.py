r"""JSON Lines: one object per line, split at "\n" alone, so that a text may hold any line break that Unicode knows."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clo.errors import UserError
from clo.storage.files import cannot_write, write_text


def line_of(record: dict[str, Any]) -> str:
    """One object as one line, with its line feed; NaN is refused."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write a file of objects whole or not at all."""
    write_text(path, "".join(map(line_of, records)))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file; a missing file is empty, a line that a killed process left torn is skipped."""
    return [record for record in lines_of(path) if record is not None]


def lines_of(path: Path) -> Iterator[dict[str, Any] | None]:
    """The objects of a file one by one; None for a line that is none. A missing file is empty.

    Raises:
        UserError: the file is there and cannot be read.
    """
    try:
        with path.open("rb") as file:
            for raw in file:
                if raw.strip():
                    yield _object(raw)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); mend or move it") from error


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def append_lines(path: Path, records: Iterable[dict[str, Any]], sync: bool = True) -> None:
    """Append objects that are on disk when this returns (with ``sync``); several processes may, and after a torn line.

    Raises:
        UserError: the disk is full, or the place cannot be written; what was there before stays as it was.
    """
    block = "".join(map(line_of, records)).encode("utf-8")
    if not block:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            with contextlib.suppress(OSError):  # a file system without locks: one writer at a time is all it can have
                fcntl.flock(file, fcntl.LOCK_EX)
            before = file.seek(0, os.SEEK_END)
            torn = before and _last_byte(file) != b"\n"
            try:
                file.write(b"\n" + block if torn else block)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            except OSError:
                file.truncate(before)
                raise
    except OSError as error:
        raise cannot_write(error, path) from error


def _last_byte(file: Any) -> bytes:
    file.seek(-1, os.SEEK_END)
    last: bytes = file.read(1)
    return last
