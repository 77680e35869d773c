"""Rows of tasks: the embedded ones, a local table, or a dataset of the hub, which is streamed.

Rows that say the same in all languages share their ids (``<task>.<id>``), others have ids of their language
(``<task>.<language>.<id>``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from clo.config.choices import Metric
from clo.config.tasks import TaskConfig
from clo.data.bad_rows import BadRows
from clo.data.formats import Records
from clo.data.rows import Row
from clo.data.tables import hub_records, records
from clo.data.texts import visible
from clo.errors import UserError

_GROUPED = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?", re.ASCII)
"""A number as English data sets write it."""


def read_task_rows(
    task: TaskConfig, lang: str, split: str, limit: int | None = None, bad: BadRows | None = None
) -> list[Row]:
    """The rows of a task in one language, in the order of their source.

    Args:
        task: where they are.
        lang: code of the language.
        split: ``train``, ``dev`` or ``test``.
        limit: the first ones only; of a stream no more is read.
        bad: what becomes of rows that cannot be used; None stops at the first.

    Raises:
        UserError: the task has no such language or split, the file or dataset cannot be read, a column is missing, a
            text is empty, an id comes twice, or no row is left.
    """
    if task.kind == "embedded":
        from clo.data.tasks import task_rows

        return list(islice(task_rows(task.name, split, [lang]), limit))
    name, start, stop = task.split(split)
    bad = bad or BadRows()
    found = islice(_of_language(task, lang, _records(task, lang, name, bad)), start, stop)
    rows = list(islice(_rows(task, lang, found, start, bad), limit))
    if not rows:
        place = task.path or task.dataset
        why = f": {bad.count:,} were refused, the first: {bad.first[0]}" if bad.count else ""
        raise UserError(
            f"the task {task.name} has no rows in {lang!r} in split {split!r} of {place}{why}; check "
            f"{task.key('languages')} and {task.key('splits')}"
        )
    return rows


def licence_lines(tasks: Mapping[str, TaskConfig]) -> list[str]:
    """Where the rows of each task come from and under which licence: Markdown items for a data card."""
    return [f"- {name}: {_place(task)}; licence: {task.licence}" for name, task in tasks.items()]


def _place(task: TaskConfig) -> str:
    if task.kind == "embedded":
        return "embedded"
    if task.path:
        return f"`{task.path}`"
    return " ".join([f"`{task.dataset}`", *(f"({part})" for part in (task.config, task.revision) if part)])


def _records(task: TaskConfig, lang: str, split: str, bad: BadRows) -> Records:
    if task.path is None:
        return hub_records(task.source(lang, split), bad)
    if "{split}" not in task.path and not task.splits:
        raise UserError(
            f"{task.key('path')} is one file for all splits: say which of its rows are train, dev and test, as in "
            f"{task.key('splits.dev')}=train[:100], or write {{split}} in the path"
        )
    return records(Path(task.filled(task.path, lang, split)), task.key("path"), bad)


def _of_language(task: TaskConfig, lang: str, found: Records) -> Records:
    """The records in one language; names of languages are checked here, before anything is read."""
    names, column = task.named(lang), task.columns.language
    if column is None:
        return found
    return (
        (where, record)
        for where, record in found
        if "+".join(str(_cell(task, record, part, where, "language")) for part in column.split("+")) in names
    )


def _rows(task: TaskConfig, lang: str, found: Records, start: int, bad: BadRows) -> Iterator[Row]:
    seen: set[str] = set()
    for number, (where, record) in enumerate(found, start):
        row: Row | None = None
        with bad.row():
            row = _once(task, _row(task, lang, where, record, number), seen)
        if row is not None:
            yield row


def _once(task: TaskConfig, row: Row, seen: set[str]) -> Row:
    if row.id in seen:
        raise UserError(
            f"{row.where}: the id {row.id!r} comes twice; set {task.key('columns.id')} to a column of ids, or to null"
        )
    seen.add(row.id)
    return row


def _row(task: TaskConfig, lang: str, where: str, record: dict[str, Any], number: int) -> Row:
    columns = task.columns
    gold = "" if columns.gold is None else _gold(task, record, where)
    prompt, response = (_text(task, record, name, where) for name in ("prompt", "response"))
    response = response if response is not None else gold
    for name, text in (("prompt", prompt), ("response", response)):
        if text is None or not visible(text):
            raise UserError(f"{where}: the column {getattr(columns, name)!r} is empty; fill it or drop the row")
    own = number if columns.id is None else _cell(task, record, columns.id, where, "id")
    row_id = f"{task.name}.{own}" if task.parallel else f"{task.name}.{lang}.{own}"
    asked = task.asked(str(prompt), lang)
    return Row(row_id, {lang: asked}, {lang: str(response)}, {lang: gold} if gold else {}, task=task.name, where=where)


def _text(task: TaskConfig, record: dict[str, Any], setting: str, where: str) -> str | None:
    """The prompt or the response of a record, out of a chat where the column holds one; None for null."""
    from clo.data.instructions.columns import first_turn
    from clo.data.instructions.example import Counts

    column = getattr(task.columns, setting)
    parts = column.split("+")
    if len(parts) > 1:
        texts = [_cell(task, record, part, where, setting) for part in parts]
        whole = all(isinstance(text, str) and visible(text) for text in texts)
        return "\n\n".join(texts) if whole else None  # told as empty
    value = _first(_cell(task, record, column, where, setting))
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return first_turn(value, where, Counts())[setting == "response"]
    if value is not None and not isinstance(value, str):
        raise UserError(f"{where}: the column {column!r} is no text; set {task.key(f'columns.{setting}')}")
    return value


def _gold(task: TaskConfig, record: dict[str, Any], where: str) -> str:
    value = _first(_cell(task, record, str(task.columns.gold), where, "gold"))
    text = "" if value is None else str(value).strip()
    return text.replace(",", "") if task.metric is Metric.number and _GROUPED.fullmatch(text) else text


def _first(value: Any) -> Any:
    """The first of several answers."""
    return value[0] if isinstance(value, list) and value and isinstance(value[0], str) else value


def _cell(task: TaskConfig, record: dict[str, Any], column: str, where: str, setting: str) -> Any:
    outer, _, inner = column.partition(".")
    if column not in record and isinstance(record.get(outer), dict):
        return _cell(task, record[outer], inner, where, setting)
    if column not in record:
        raise UserError(
            f"{where}: there is no column {column!r} among {', '.join(map(str, record))}; set "
            f"{task.key(f'columns.{setting}')} to the one that holds it"
        )
    return record[column]
