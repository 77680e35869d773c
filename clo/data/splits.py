"""Where a run's rows come from: the embedded data or the user's files, as train, dev and test."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from clo.config import DataConfig, EvaluationConfig
from clo.config.choices import Split
from clo.data.bad_rows import BadRows
from clo.data.rows import Row, read_rows
from clo.errors import UserError


@dataclass(frozen=True)
class Splits:
    """Rows of one language pair. ``train`` is ordered so that every prefix is a fair smaller set."""

    train: list[Row]
    dev: list[Row]
    test: list[Row]
    refused: tuple[str, ...] = ()
    """What is told of rows that were skipped, for a person."""

    def evaluated(self, evaluation: EvaluationConfig) -> list[Row]:
        """The rows that a run is scored on at its end."""
        return (self.dev if evaluation.split is Split.dev else self.test)[: evaluation.rows]


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

        train, dev, test = (cldr_rows(split, [source, target]) for split in ("train", "dev", "test"))
        return Splits(train, dev, test)
    if data.kind == "translated":
        assert translated is not None
        return translated_splits(read_rows(translated, source, target), data, str(translated))
    assert data.train is not None
    bad = BadRows(data.bad_rows == "skip")
    train = read_rows(data.train, source, target, bad)
    given = {
        name: read_rows(path, source, target, bad)
        for name, path in (("dev", data.dev), ("test", data.test))
        if path is not None
    }
    for name in ("dev", "test"):
        if name not in given:
            train, given[name] = _hold_out(train, data.held_out)
    for name, rows in given.items():
        both = {row.id for row in train} & {row.id for row in rows}
        if both:
            raise UserError(
                f"data.{name}: id {min(both)!r} is also in data.train; training rows must not be evaluated on"
            )
    return Splits(train, given["dev"], given["test"], tuple(bad.lines()))


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
