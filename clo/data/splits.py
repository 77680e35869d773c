"""Where a run's rows come from: the embedded data or the user's files, as train, dev and test."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

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
    """Rows of a source with a target or several. ``train`` is ordered so that every prefix is a fair smaller set."""

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


def load_splits(
    data: DataConfig, source: str, *targets: str, translated: Mapping[str, Path] = MappingProxyType({})
) -> Splits:
    """Load all rows of a source and its target, or its targets: then a row has the source, and a target at least.

    Rows held out of a training file are those with the smallest hash of their id, so they do not depend on the
    order of the file or on what else is in it. Translated rows come best first and their file grows with the sizes that
    were asked for: dev and test take turns in its first rows, so they stay what they are.

    Args:
        data: where the rows come from.
        source: language code.
        targets: language codes.
        translated: code of a target -> its file of ``data.kind=translated``.

    Raises:
        UserError: the embedded data lack a language, or a file is wrong (see :func:`clo.data.rows.read_rows`).
    """
    if data.kind == "cldr":
        from clo.data.cldr import cldr_rows

        train, dev, test = (
            joined([cldr_rows(split, [source, target], data.fold) for target in targets])
            for split in ("train", "dev", "test")
        )
        return Splits(train, dev, test)
    languages = (source, *targets)
    if data.kind == "tasks":
        from clo.data.tasks import mixed_rows

        train, dev, test = (mixed_rows(split, languages) for split in ("train", "dev", "test"))
        return Splits(train, dev, test)
    if data.kind == "translated":
        found = [(str(translated[target]), read_rows(translated[target], source, target)) for target in targets]
        poor = [
            one
            for target, (file, rows) in zip(targets, found, strict=True)
            for one in check_poor(rows, file, (source, target), data.poor_rows)
        ]
        whole, files = joined([rows for _, rows in found]), " and ".join(file for file, _ in found)
        sources = tuple(Source(file, len(rows), BadRows()) for file, rows in found)
        return apart(replace(translated_splits(whole, data, files), sources=sources), {"train": files}, languages, poor)
    return _file_splits(data, languages)


def _file_splits(data: DataConfig, languages: Sequence[str]) -> Splits:
    """Splits of the user's files."""
    given: dict[str, list[Row]] = {}
    sources: list[Source] = []
    poor: list[Poor] = []
    files = {}
    for name in ("train", "dev", "test"):
        by_file: dict[str, list[str]] = {}
        for target in languages[1:]:
            if (path := data.file(name, target)) is not None:
                by_file.setdefault(path, []).append(target)
        if by_file:
            files[name] = " and ".join(by_file)
            given[name] = joined(
                [_read(data, name, file, (languages[0], *own), sources, poor) for file, own in by_file.items()]
            )
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
    splits = Splits(train, given["dev"], given["test"], sources=tuple(sources))
    return apart(splits, files, languages, poor)


def _read(
    data: DataConfig, name: str, file: str, languages: Sequence[str], sources: list[Source], poor: list[Poor]
) -> list[Row]:
    """The rows of one file that have the source and one of the targets; what is known of them joins the lists."""
    bad, targets = BadRows(data.bad_rows == "skip"), languages[1:]
    rows = read_rows(file, languages[0], targets[0], f"data.{name}", bad, targets[1:])
    sources.append(Source(file, len(rows), bad))
    for target in targets:
        there = [row for row in rows if target in row.prompts]
        if not there:
            raise UserError(f"data.{name}={file} has no row in {target}; bring some, or leave the target out")
        poor += check_poor(there, file, (languages[0], target), data.poor_rows)
    return [row for row in rows if not row.prompts.keys().isdisjoint(targets)]


def joined(parts: Sequence[list[Row]]) -> list[Row]:
    """Rows of several targets joined on their ids, each at the first place that it has in any of the lists.

    Raises:
        UserError: one id stands for two examples.
    """
    if len(parts) == 1:
        return parts[0]
    places: dict[str, int] = {}
    found: dict[str, Row] = {}
    for rows in parts:
        for place, row in enumerate(rows):
            places[row.id] = min(place, places.get(row.id, place))
            found[row.id] = _one(found[row.id], row) if row.id in found else row
    return sorted(found.values(), key=lambda row: places[row.id])


def _one(a: Row, b: Row) -> Row:
    for lang in a.prompts.keys() & b.prompts.keys():
        if a.texts(lang) != b.texts(lang):
            raise UserError(
                f"id {a.id!r} stands for two examples: its {lang!r} text at {a.where or 'one place'} is another than "
                f"at {b.where or 'the other'}; give every example an id of its own"
            )
    whole = {name: getattr(a, name) | getattr(b, name) for name in ("prompts", "responses", "gold", "rejected")}
    return replace(a, **whole)


def apart(splits: Splits, files: dict[str, str], languages: Sequence[str], poor: Sequence[Poor]) -> Splits:
    """The splits without a prompt, in any language, that stands in two of them: test keeps it, then dev.

    A model that has been trained (or chosen) on the question is not tested by it, whatever the id.

    Args:
        splits: as they were read.
        files: where each was read from, ``train`` at least, for messages.
        languages: codes of those whose prompts are compared.
        poor: what is known of the rows already.

    Raises:
        UserError: no row is left for one of them.
    """

    def prompts(row: Row) -> set[tuple[str, str]]:
        return {(lang, key(row.prompts[lang])) for lang in languages if lang in row.prompts}

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
