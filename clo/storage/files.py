"""Files and folders that are there whole or not at all, readable as the user's umask says."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clo.errors import UserError


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        UserError: the disk is full, or the place cannot be written.
    """
    write_together({path: text})


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all; NaN is refused rather than written. Raises as `write_text`."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """JSON as it stands in files; NaN is refused."""
    return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def csv_text(heads: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A CSV file: None is an empty cell, numbers stand in full precision, a cell may hold any line break."""
    out = io.StringIO()
    writer, lines = csv.writer(out), []
    for row in (heads, *rows):
        # A writer that ends lines in a line feed leaves a lone carriage return unquoted.
        writer.writerow(row)
        lines.append(out.getvalue().removesuffix("\r\n") + "\n")
        out.seek(0)
        out.truncate()
    return "".join(lines)


def read_object(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is cut, damaged, or holds something else; the message says which.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("it holds no JSON object")
    return found


def write_together(texts: Mapping[Path, str]) -> None:
    """Write several files, all of them complete on disk before the first takes its name; in the order given.

    Raises:
        UserError: the disk is full, or a place cannot be written; every file is then what it was before.
    """
    temporaries = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in texts}
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporaries[path].open("wb") as file:
                file.write(text.encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
        for path, temporary in temporaries.items():
            os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(error, *texts) from error
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def cannot_write(error: OSError, *paths: Path) -> UserError:
    """One sentence for a disk that is full or a place that is closed."""
    return UserError(f"cannot write {paths[0]} ({error.strerror or error}); make room, or choose a writable place")


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill that appears under its name only when complete; of a failure nothing is left.

    Raises:
        UserError: the disk is full, or the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    aside = path.with_name(f".{path.name}.old.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                obey_umask(file)
        shutil.rmtree(aside, ignore_errors=True)
        if path.exists():
            os.replace(path, aside)
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(error, path) from error
    except Exception as error:  # libraries in Rust have a kind of their own for what the system refuses
        refused = re.search(r"([^:()]+) \(os error \d+\)", str(error))
        if refused is None:
            raise
        raise cannot_write(OSError(0, refused[1].strip()), path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def obey_umask(file: Path) -> None:
    """Make a file as readable as the user's umask says; safetensors makes its files for their owner alone."""
    mask = os.umask(0)  # there is no way to read it but to set it
    os.umask(mask)
    file.chmod(0o666 & ~mask)
