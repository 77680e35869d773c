"""Where a benchmark's rows come from: ``<data>/<benchmark>/<lang>.{jsonl,parquet,csv}``, or the Hugging Face hub."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clo.errors import UserError

SUFFIXES = (".jsonl", ".parquet", ".csv")
"""Kinds of local files, in the order they are looked for."""


@dataclass(frozen=True, slots=True)
class HubSource:
    """A data set of the hub."""

    repo: str
    configs: dict[str, str]
    """Language code -> name of the configuration."""
    split: str = "test"


_FLORES = "en=eng_Latn zh=zho_Hans de=deu_Latn ko=kor_Hang id=ind_Latn sw=swh_Latn yo=yor_Latn"
_MMMLU = "zh=ZH_CN de=DE_DE ko=KO_KR id=ID_ID sw=SW_KE yo=YO_NG"


def _configs(text: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in text.split())


HUB: dict[str, tuple[HubSource, ...]] = {
    "belebele": (HubSource("facebook/belebele", _configs(_FLORES)),),
    "mmmlu": (HubSource("openai/MMMLU", _configs(_MMMLU)), HubSource("cais/mmlu", {"en": "all"})),
}
"""Benchmark -> its data sets; MMMLU has no English, which is MMLU's own test split."""


def local_file(data: Path, benchmark: str, lang: str) -> Path | None:
    """The file of a benchmark in a language, or nothing."""
    names = (data / benchmark / f"{lang}{suffix}" for suffix in SUFFIXES)
    return next((path for path in names if path.is_file()), None)


def records_of_file(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(``file, line 3``, record) of every line or row.

    Raises:
        UserError: missing, empty, not UTF-8, or not of the kind that its name says.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; name a {', '.join(SUFFIXES)} file of benchmark rows")
    readers = {".jsonl": _jsonl, ".parquet": _parquet, ".csv": _csv}
    if path.suffix not in readers:
        raise UserError(f"{path} is of an unknown kind; benchmark rows are read from {', '.join(SUFFIXES)}")
    empty = True
    for place in readers[path.suffix](path):
        empty = False
        yield place
    if empty:
        raise UserError(f"{path} holds no rows; fill it or remove it")


def _jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}, line {number}"
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                raise UserError(f"{where} is not UTF-8 (byte {error.start}); convert the file to UTF-8") from error
            except json.JSONDecodeError as error:
                raise UserError(f"{where} is not JSON ({error.msg}, column {error.colno}); mend the line") from error
            if not isinstance(record, dict):
                raise UserError(f"{where} is not a JSON object; a row has question, choices and answer, or answers")
            yield where, record


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except Exception as error:
        raise UserError(f"{path} is not a readable Parquet file ({error})") from error
    number = 0
    for batch in file.iter_batches(batch_size=1024):
        for record in batch.to_pylist():
            number += 1
            yield f"{path}, row {number}", record


def _csv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, record in enumerate(csv.DictReader(file), 1):
                yield f"{path}, row {number}", record
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start} of a block); convert the file to UTF-8") from error
    except csv.Error as error:
        raise UserError(f"{path} is not CSV ({error}); mend it or give JSONL") from error


def hub_source(benchmark: str, lang: str) -> tuple[str, str, str]:
    """(repository, configuration, split) of a benchmark in a language.

    Raises:
        UserError: the benchmark is not on the hub in a form that is read here, or lacks the language.
    """
    sources = HUB.get(benchmark)
    if sources is None:
        raise UserError(
            f"{benchmark} is read from local files only (hub: {', '.join(HUB)}); give the folder of "
            f"{benchmark}/{lang}.jsonl as the benchmark data"
        )
    for source in sources:
        if lang in source.configs:
            return source.repo, source.configs[lang], source.split
    has = ", ".join(code for source in sources for code in source.configs)
    raise UserError(f"{benchmark} has no language {lang!r}; it has {has}")


def records_of_hub(
    benchmark: str, lang: str, revision: str | None = None, limit: int | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(``repository/configuration, row 3``, record) of a benchmark on the hub.

    Args:
        benchmark: a key of ``HUB``.
        lang: language code.
        revision: commit, tag or branch of the data set; None is its newest.
        limit: the first rows only.

    Raises:
        UserError: as for `hub_source`, or the data cannot be had.
    """
    repo, config, split = hub_source(benchmark, lang)
    from datasets import load_dataset

    try:
        rows = load_dataset(repo, config, split=split, revision=revision)
    except Exception as error:  # the library raises many kinds, none of which a user can mend but in these ways
        raise UserError(
            f"{repo} ({config}, {split}) cannot be read from the hub ({type(error).__name__}: {error!s:.120}); check "
            f"the connection, or put {benchmark}/{lang}.jsonl into the folder of the benchmark data"
        ) from error
    for number, record in enumerate(rows.select(range(min(limit or len(rows), len(rows)))), 1):
        yield f"{repo}/{config}, row {number}", record
