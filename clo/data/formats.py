r"""The kinds of table files: JSON Lines, JSON, CSV (commas, semicolons, tabs or bars) and Parquet.

Each reader yields (place for messages, record) and raises UserError for what is wrong inside the file; a file that
cannot be read at all (cut, not gzip, no permission) is told by `clo.data.tables.records`. Lines end at "\n" alone.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from clo.data.bad_rows import BadRows
from clo.errors import UserError, cause

Records = Iterator[tuple[str, dict[str, Any]]]
"""(place for messages, record)."""

LONGEST_FIELD = 1 << 24
"""Characters of a CSV field; the csv module's own limit of 131,072 is too low for long documents."""
DELIMITERS = ",;\t|"
_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def read_jsonl(path: Path, bad: BadRows) -> Records:
    """One object per line; blank lines are skipped."""
    for number, raw in _raw_lines(path):
        where, record = f"{path}, line {number}", None
        with bad.row():
            line = _text(raw, where)
            record = _object(_value(line.rstrip("\n"), where), where) if line.strip() else None
        if record is not None:
            yield where, record


def read_json(path: Path, bad: BadRows) -> Records:
    """A list of objects, held whole."""
    found = _value("".join(line for _, line in _lines(path)), str(path))
    if not isinstance(found, list):
        raise UserError(f"{path} is not a JSON list of objects; one object per line goes into a .jsonl file")
    for number, entry in enumerate(found, 1):
        where, record = f"{path}, entry {number}", None
        with bad.row():
            record = _object(entry, where)
        if record is not None:
            yield where, record


def read_csv(path: Path, bad: BadRows) -> Records:
    """Rows under a header; its line tells the delimiter."""
    csv.field_size_limit(LONGEST_FIELD)
    lines = (part for _, line in _lines(path) for part in re.split(r"(?<=\r)(?!\n)", line))
    header = next((line for line in lines if line.strip("\r\n")), "")
    delimiter = _delimiter(header, path)
    # strict: a quote that is never closed would swallow the rest of the file without a word
    reader = csv.reader(_and_then(header, lines), delimiter=delimiter, strict=True)
    names: list[str] | None = None
    number = 0
    try:
        for fields in reader:
            if not fields:
                continue
            if names is None:
                names = _names(fields, path)
                continue
            number += 1
            if len(fields) != len(names):
                bad.refuse(
                    UserError(
                        f"{path}, row {number} has another number of fields than the header ({len(fields)}, not "
                        f"{len(names)}); mend the row (fields are parted by {delimiter!r})"
                    )
                )
                continue
            yield f"{path}, row {number}", dict(zip(names, fields, strict=True))
    except csv.Error as error:
        raise UserError(
            f"{path}, row {number + 1} cannot be read ({cause(error)}; fields are parted by {delimiter!r}); put quotes "
            "around a field that holds quotes, double those inside, and close every quote"
        ) from error


def read_parquet(path: Path, bad: BadRows) -> Records:
    """Rows of a Parquet file, some hundreds held at a time."""
    import pyarrow.parquet as pq

    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=512):
            for record in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", record
    except Exception as error:  # the library raises many kinds for a spoilt file
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UserError(
            f"{path} is not a readable Parquet file (after {number} rows: {cause(error)}); make or download it again"
        ) from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, line with its end), decoded.

    Raises:
        UserError: the text is not UTF-8, or no text.
    """
    for number, raw in _raw_lines(path):
        yield number, _text(raw, f"{path}, line {number}")


def _raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with _open(path) as file:
        for number, raw in enumerate(file, 1):
            if number == 1:
                _check_mark(raw, path)
            yield number, raw


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")  # type: ignore[return-value]


def _check_mark(start: bytes, path: Path) -> None:
    for mark, name in _MARKS:
        if start.startswith(mark):
            raise UserError(f"{path} is {name}; convert the file to UTF-8")


def _text(raw: bytes, where: str) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not UTF-8 (byte {error.start}); convert the file to UTF-8") from error
    if "\0" in text:
        raise UserError(
            f"{where} holds a NUL byte (column {text.index(chr(0)) + 1}); the file is damaged, or UTF-16: convert it "
            "to UTF-8"
        )
    return text


def _value(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise UserError(f"{where} is not JSON ({error.msg}, {place})") from error
    except RecursionError as error:
        raise UserError(f"{where} is nested too deeply; a record is an object with a few texts") from error
    except ValueError as error:  # Python reads no whole number of over 4,300 digits
        raise UserError(f"{where} holds a number of too many digits; write it as a text, in quotes") from error


def _object(found: Any, where: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise UserError(f"{where} is not a JSON object")
    return found


def _delimiter(header: str, path: Path) -> str:
    """The one that gives the header most fields; where none does, that of the file's name."""
    usual = "\t" if ".tsv" in (suffix.lower() for suffix in path.suffixes) else ","
    counts = {one: 1 for one in (usual, *DELIMITERS)}
    for one in counts:
        try:
            counts[one] = len(next(csv.reader([header], delimiter=one)))
        except (csv.Error, StopIteration):
            continue
    return max(counts, key=lambda one: counts[one])


def _and_then(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _names(fields: list[str], path: Path) -> list[str]:
    twice = next((name for name in fields if fields.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{path}, header: the column {twice!r} comes twice; give every column a name of its own")
    return fields
