"""Rows of the source language that are replayed while a method trains: the user's, a dataset's, or embedded ones."""

from __future__ import annotations

from itertools import islice

from clo.config import DataConfig
from clo.data.instructions import IsSource, instructions
from clo.data.rows import Row


def replay_rows(data: DataConfig, source: str, is_source: IsSource, most: int | None = None) -> list[Row]:
    """The rows, in one language each.

    Args:
        data: ``data.replay`` says where from; without it those of :func:`clo.data.cldr.replay_rows`.
        source: code of the source language.
        is_source: tells texts in another language.
        most: rows to read of a file or dataset; none is all.

    Raises:
        UserError: they cannot be read.
    """
    if not data.replay.is_given():
        from clo.data import cldr

        return cldr.replay_rows(source, data.fold)
    found, _ = instructions(data.replay, is_source, data.bad_rows == "skip")
    return [Row(one.id, {source: one.prompt}, {source: one.response}) for one in islice(found, most)]
