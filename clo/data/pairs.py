"""Quality pairs of parallel rows: a worse response beside each response, in every language or in none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from clo.data.bad_rows import BadRows
from clo.data.rows import Row
from clo.data.splits import Source, Splits
from clo.data.texts import key
from clo.errors import UserError


def with_pairs(splits: Splits, languages: Sequence[str] = ()) -> Splits:
    """The splits with quality pairs in every row of train and dev, or without any.

    Args:
        splits: as they were read.
        languages: codes in which pairs are compared; what nothing compares is no part of a run.

    Raises:
        UserError: a row has none, one side of it is missing, or both responses are the same text, and such rows are
            not to be skipped.
    """
    if not languages:
        return replace(splits, train=_without(splits.train), dev=_without(splits.dev), test=_without(splits.test))
    before = [source.bad.count for source in splits.sources]
    train, dev = (_paired(rows, splits.sources, languages) for rows in (splits.train, splits.dev))
    for rows, name in ((train, "training"), (dev, "held-out")):
        if not rows:
            why = next((source.bad.first[-1] for source in splits.sources if source.bad.first), "")
            raise UserError(f"no {name} row holds a quality pair, and each was skipped; one of them: {why}")
    sources = tuple(
        replace(source, rows=source.rows - source.bad.count + count)
        for source, count in zip(splits.sources, before, strict=True)
    )
    return replace(splits, train=train, dev=dev, test=_without(splits.test), sources=sources)


def _without(rows: list[Row]) -> list[Row]:
    return [replace(row, rejected={}) if row.rejected else row for row in rows]


def _paired(rows: Sequence[Row], sources: Sequence[Source], languages: Sequence[str]) -> list[Row]:
    kept = []
    for row in rows:
        source = _source(row, sources)
        before = source.bad.count
        with source.bad.row():
            _check(row, languages)
        if source.bad.count == before:
            kept.append(row)
    return kept


def _source(row: Row, sources: Sequence[Source]) -> Source:
    """The file that a row was read from; rows of a plan have none."""
    mine = (source for source in sources if row.where.startswith(f"{source.file}, "))
    return next(mine, sources[0] if sources else Source("", 0, BadRows()))


def _check(row: Row, languages: Sequence[str]) -> None:
    place = f"{row.where}: id {row.id!r}" if row.where else f"id {row.id!r}"
    if row.rejected.keys().isdisjoint(languages):
        raise UserError(
            f"{place} has no 'rejected' response, and the method compares quality pairs; add it to each row"
        )
    for lang in (code for code in languages if code in row.responses):
        if lang not in row.rejected:
            has = ", ".join(sorted(row.rejected))[:80]
            raise UserError(
                f"{place} has one side of a quality pair: a 'rejected' response in {has}, none in {lang!r}; add it, or "
                "drop the row"
            )
        if key(row.rejected[lang]) == key(row.responses[lang]):
            raise UserError(
                f"{place} has equal candidates: 'rejected' is 'response' in {lang!r}; give two different answers, or "
                "drop the row"
            )
