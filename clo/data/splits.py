"""Where a run's rows come from: the embedded data or the user's files, as train, dev and test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from clo.config import ROWS, DataConfig, EvaluationConfig
from clo.config.choices import Split
from clo.data.bad_rows import BadRows
from clo.data.poor import SHOWN, Poor, check_poor, named
from clo.data.rows import Row, read_rows
from clo.data.texts import key
from clo.errors import UserError


@dataclass(frozen=True)
class Source:
    """A file that rows were read from."""

    file: str
    rows: int
    """Examples that can be used."""
    bad: BadRows
    """Those that cannot."""


@dataclass(frozen=True)
class Splits:
    """Rows of one language pair. ``train`` is ordered so that every prefix is a fair smaller set."""

    train: list[Row]
    dev: list[Row]
    test: list[Row]
    replay: tuple[Row, ...] = field(default=(), kw_only=True)
    """With ``method.anchor=replay``: the rows that are replayed, of the source language alone, none in dev or test."""
    poor: tuple[Poor, ...] = ()
    """What the files hold that is probably not meant."""
    sources: tuple[Source, ...] = ()

    @property
    def refused(self) -> tuple[str, ...]:
        """What is told of rows that were skipped, for a person."""
        return tuple(line for source in self.sources for line in source.bad.lines())

    def told(self) -> str:
        """Lines for the terminal, of what is more than a stray row."""
        poor = [poor.line() for poor in self.poor if poor.worth_saying()]
        return "".join(f"{line}\n" for line in (*self.refused, *poor))

    def evaluated(self, evaluation: EvaluationConfig) -> list[Row]:
        """The rows that a run is scored on at its end."""
        return self.held_out(evaluation)[: evaluation.rows or ROWS]

    def held_out(self, evaluation: EvaluationConfig) -> list[Row]:
        """All rows of the split that a run is scored on."""
        return self.dev if evaluation.split is Split.dev else self.test


def drawn(rows: Sequence[Row], seed: int) -> list[Row]:
    """The rows in an order that the seed draws; a smaller size is still a part of a larger one."""
    return sorted(rows, key=lambda row: hashlib.sha256(f"{seed}/{row.id}".encode()).digest())


def load_splits(data: DataConfig, source: str, target: str, translated: Path | None = None) -> Splits:
    """Load all rows of a pair of languages.

    Rows held out of a training file are those with the smallest hash of their id, so they do not depend on the
    order of the file or on what else is in it. Translated rows come best first and their file grows with the sizes that
    were asked for: dev and test take turns in its first rows, so they stay what they are.

    Args:
        data: where the rows come from.
        source: language code.
        target: language code.
        translated: the file of ``data.kind=translated``.

    Raises:
        UserError: the embedded data lack a language, or a file is wrong (see :func:`clo.data.rows.read_rows`).
    """
    if data.kind == "cldr":
        from clo.data.cldr import cldr_rows

        train, dev, test = (cldr_rows(split, [source, target], data.fold) for split in ("train", "dev", "test"))
        return Splits(train, dev, test)
    if data.kind == "translated":
        assert translated is not None
        rows, file = read_rows(translated, source, target), str(translated)
        poor = check_poor(rows, file, (source, target), data.poor_rows)
        splits = replace(translated_splits(rows, data, file), sources=(Source(file, len(rows), BadRows()),))
        return _apart(splits, {"train": file}, (source, target), poor)
    return _file_splits(data, source, target)


def _file_splits(data: DataConfig, source: str, target: str) -> Splits:
    """Splits of the user's files."""
    assert data.train is not None
    files = {name: path for name in ("train", "dev", "test") if (path := getattr(data, name)) is not None}
    bad = {name: BadRows(data.bad_rows == "skip") for name in files}
    given = {name: read_rows(path, source, target, f"data.{name}", bad[name]) for name, path in files.items()}
    sources = tuple(Source(files[name], len(rows), bad[name]) for name, rows in given.items())
    poor = [one for n, rows in given.items() for one in check_poor(rows, files[n], (source, target), data.poor_rows)]
    train = given.pop("train")
    for name in ("dev", "test"):
        if name not in given:
            train, given[name] = _hold_out(train, data.held_out)
    for name, rows in given.items():
        both = {row.id for row in train} & {row.id for row in rows}
        if both:
            raise UserError(
                f"data.{name}: id {min(both)!r} is also in data.train; training rows must not be evaluated on"
            )
    splits = Splits(train, given["dev"], given["test"], sources=sources)
    return _apart(splits, files, (source, target), poor)


def _apart(splits: Splits, files: dict[str, str], languages: tuple[str, str], poor: Sequence[Poor]) -> Splits:
    """The splits without a prompt, in either language, that stands in two of them: test keeps it, then dev.

    A model that has been trained (or chosen) on the question is not tested by it, whatever the id.

    Raises:
        UserError: no row is left for one of them.
    """

    def prompts(row: Row) -> set[tuple[str, str]]:
        return {(lang, key(row.prompts[lang])) for lang in languages}

    def parted(rows: list[Row], *others: list[Row]) -> tuple[list[Row], list[Row]]:
        taken = {prompt for other in others for row in other for prompt in prompts(row)}
        shared = {row.id for row in rows if prompts(row) & taken}
        return [row for row in rows if row.id not in shared], [row for row in rows if row.id in shared]

    dev, left_dev = parted(splits.dev, splits.test)
    train, left_train = parted(splits.train, splits.test, dev)
    found = list(poor)
    for kept, left, name, others in ((dev, left_dev, "dev", "test"), (train, left_train, "train", "dev or test")):
        if not left:
            continue
        kind = f"are left out of {name}: their prompt stands in {others} too"
        file = files.get(name, files["train"])
        found.append(Poor(file, kind, len(left), len(left) + len(kept), tuple(map(named, left[:SHOWN])), 0))
        if not kept:
            raise UserError(f"{found[-1].line()}, and none is left; give every example a prompt of its own")
    return replace(splits, train=train, dev=dev, poor=tuple(found))


def translated_splits(rows: list[Row], data: DataConfig, where: str) -> Splits:
    """Splits of translated rows, best first.

    Raises:
        UserError: there are too few.
    """
    held = 2 * data.held_out
    if len(rows) <= held:
        raise UserError(f"{where} has {len(rows)} rows, too few to hold {held} out; lower data.held_out")
    return Splits(rows[held:], rows[0:held:2], rows[1:held:2])


def _hold_out(rows: list[Row], count: int) -> tuple[list[Row], list[Row]]:
    if len(rows) <= count:
        raise UserError(f"the training file has {len(rows)} rows, too few to hold {count} out; lower data.held_out")
    ranked = sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).digest())
    chosen = {row.id for row in ranked[:count]}
    return [row for row in rows if row.id not in chosen], [row for row in rows if row.id in chosen]
