"""Where a benchmark's rows come from: ``<data>/<benchmark>/<lang>.{jsonl,parquet,csv}``, or the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clo.data.tables import records
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


_FLORES = "en=eng_Latn zh=zho_Hans de=deu_Latn ko=kor_Hang id=ind_Latn sw=swh_Latn yo=yor_Latn bn=ben_Beng"
_MMMLU = "zh=ZH_CN de=DE_DE ko=KO_KR id=ID_ID sw=SW_KE yo=YO_NG bn=BN_BD"


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
    empty = True
    for place in records(path, "benchmark rows"):
        empty = False
        yield place
    if empty:
        raise UserError(f"{path} holds no rows; fill it or remove it")


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
