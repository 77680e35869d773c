"""Records of any table, one by one: local files or a dataset of the hub, never held whole."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from clo.errors import UserError

if TYPE_CHECKING:
    from clo.config.sources import SourceConfig

Records = Iterator[tuple[str, dict[str, Any]]]
"""(place for messages, record)."""


def records(path: Path, key: str) -> Records:
    """All records of a local file.

    Args:
        path: JSONL, JSON, CSV (each also gzipped) or Parquet.
        key: the setting that named it, for messages.

    Raises:
        UserError: it is missing, of an unknown kind, not UTF-8 or malformed; the place is named.
    """
    if not path.is_file():
        raise UserError(f"{key}={path} does not exist")
    readers = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".parquet": _parquet}
    suffix = path.suffixes[-2] if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix
    if suffix not in readers:
        raise UserError(f"{key}={path}: give a .jsonl, .jsonl.gz, .json, .csv or .parquet file")
    return readers[suffix](path)


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _text(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not UTF-8 (byte {error.start}); convert the file to UTF-8") from error


def _jsonl(path: Path) -> Records:
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                where = f"{path}, line {number}"
                yield where, _object(_text(line, where), where)


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{where} is not JSON ({error.msg}, column {error.colno})") from error
    if not isinstance(found, dict):
        raise UserError(f"{where} is not a JSON object")
    return found


def _json(path: Path) -> Records:
    with _open(path) as file:
        text = _text(file.read(), str(path))
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno} is not JSON ({error.msg})") from error
    if not isinstance(found, list):
        raise UserError(f"{path} is not a JSON list of objects; one object per line goes into a .jsonl file")
    for number, record in enumerate(found, 1):
        if not isinstance(record, dict):
            raise UserError(f"{path}, entry {number} is not a JSON object")
        yield f"{path}, entry {number}", record


def _csv(path: Path) -> Records:
    with _open(path) as file:
        lines = (_text(line, f"{path}, line {number}") for number, line in enumerate(file, 1))
        reader = csv.DictReader(lines)
        for number, record in enumerate(reader, 1):
            if None in record or None in record.values():
                raise UserError(f"{path}, row {number} has another number of fields than the header")
            yield f"{path}, row {number}", dict(record)


def _parquet(path: Path) -> Records:
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except Exception as error:
        raise UserError(f"{path} is not a readable Parquet file ({error})") from error
    number = 0
    for batch in file.iter_batches(batch_size=512):
        for record in batch.to_pylist():
            number += 1
            yield f"{path}, row {number}", record


def hub_records(config: SourceConfig) -> Records:
    """All records of a dataset of the hub, streamed.

    Raises:
        UserError: it cannot be had.
    """
    import datasets

    try:
        found = datasets.load_dataset(
            config.dataset, config.config, split=config.split, revision=config.revision, streaming=True
        )
        for number, record in enumerate(found, 1):
            yield f"{config.dataset}, row {number}", dict(record)
    except (OSError, ValueError, datasets.exceptions.DatasetNotFoundError) as error:
        cause = str(error).strip().splitlines()[0]
        raise UserError(
            f"cannot read the dataset {config.dataset} ({cause}); check its name and the network, or set "
            "data.source.path to a local file"
        ) from error
