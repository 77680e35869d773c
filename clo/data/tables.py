"""Records of any table, one by one: local files or a dataset of the hub, held whole only where the kind asks for it."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clo.data.bad_rows import BadRows
from clo.data.formats import Records, read_csv, read_json, read_jsonl, read_parquet
from clo.errors import UserError, cause

if TYPE_CHECKING:
    from clo.config.sources import SourceConfig

READERS = {
    ".jsonl": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
}
KINDS = "a .jsonl, .json, .csv, .tsv (each also .gz) or .parquet file"


def records(path: Path, key: str, bad: BadRows | None = None) -> Records:
    """All records of a local file.

    Args:
        path: JSONL, JSON, CSV or TSV (each also gzipped) or Parquet.
        key: the setting that named it, for messages.
        bad: what becomes of records that cannot be read; None stops at the first.

    Raises:
        UserError: it is missing, of an unknown kind, not UTF-8 or malformed; the place is named.
    """
    try:
        if path.is_dir():
            raise UserError(f"{key}={path} is a folder; give {KINDS}")
        if not path.is_file():
            raise UserError(f"{key}={path} {'is no ordinary file' if path.exists() else 'does not exist'}")
    except OSError as error:
        raise UserError(f"{key}={path} cannot be read ({error.strerror}); give {KINDS}") from error
    suffixes = [suffix.lower() for suffix in path.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    suffix = (suffixes[:-1] if zipped else suffixes)[-1:]
    if not suffix or suffix[0] not in READERS or (zipped and suffix[0] == ".parquet"):
        raise UserError(f"{key}={path}: give {KINDS}")
    bad = bad or BadRows()
    return _guarded(READERS[suffix[0]](path, bad), path, bad)


def _guarded(found: Records, path: Path, bad: BadRows) -> Records:
    """The same records, checked; a file that cannot be read is told in one sentence, also in its middle."""
    place = "at its beginning"
    try:
        for where, record in found:
            place = "after" + where.removeprefix(f"{path},")
            if _is_whole(record, where, bad):
                yield where, record
    except (EOFError, zlib.error) as error:
        raise UserError(f"{path} is cut or damaged ({place}); make or download it again") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({cause(error)}, {place}); make or download it again") from error
    except MemoryError as error:
        raise UserError(f"{path} needs more memory than there is ({place}); split it, or mend it") from error


def _is_whole(record: dict[str, Any], where: str, bad: BadRows) -> bool:
    before = bad.count
    with bad.row():
        _check_text(record, where)
    return bad.count == before


def _check_text(record: dict[str, Any], where: str) -> None:
    """Refuse half characters: JSON can spell them, no file and no tokenizer can hold them."""
    for name, value in record.items():
        try:
            f"{name}{_spelt(value)}".encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"{where}: the field {name!r} holds half a character ({error.object[error.start]!r}, a lone "
                "surrogate); write the text anew"
            ) from error
        except RecursionError as error:
            raise UserError(f"{where}: the field {name!r} is nested too deeply; drop it") from error


def _spelt(value: Any) -> str:
    """A value as text, for its characters alone."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, int | float | bytes):
        return ""
    return json.dumps(value, ensure_ascii=False, default=repr, skipkeys=True)


def id_of(record: dict[str, Any], where: str) -> str | None:
    """The id of a record as text, None where it has none: the number 1 and the text "1" are one id.

    Raises:
        UserError: it is neither a text nor a whole number (true and 1.0 are not).
    """
    given = record.get("id")
    if given is None or given == "":
        return None
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise UserError(f"{where}: the field 'id' is {given!r:.40}; an id is a text or a whole number")
    return str(given)


def hub_records(config: SourceConfig, bad: BadRows | None = None) -> Records:
    """All records of a dataset of the hub, streamed; ``bad`` as of `records`.

    Raises:
        UserError: it cannot be had.
    """
    import datasets

    try:
        found = datasets.load_dataset(
            config.dataset, config.config, split=config.split, revision=config.revision, streaming=True
        )
        for number, record in enumerate(found, 1):
            where = f"{config.dataset}, row {number}"
            if _is_whole(record, where, bad or BadRows()):
                yield where, dict(record)
    except UserError:
        raise
    except Exception as error:  # the library raises many kinds, none of which a user can mend but in these ways
        raise UserError(
            f"cannot read the dataset {config.dataset} ({cause(error)}); check its name and the network, or set "
            f"{config.key()}.path to a local file"
        ) from error
