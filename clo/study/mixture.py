"""A mixture's rows and items: so many of each task in each language, every column a prefix of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import TypeVar

from clo.config import ROWS
from clo.config.choices import Prompts, Targets
from clo.config.parse import RunConfig
from clo.data.bad_rows import BadRows
from clo.data.budgets import one_at_a_time, one_language_each, rows_within
from clo.data.items import Item, ItemCounts, build_items
from clo.data.prompt import Renderer
from clo.data.rows import Row
from clo.data.splits import Splits, apart, drawn, joined
from clo.errors import UserError
from clo.storage.digest import digest_of
from clo.storage.files import csv_text, write_text

T = TypeVar("T")
LIST = "rows.csv"
"""The exact rows of a run, in its folder."""
SPARE = 2
"""Times as many rows as are asked for that are read of a stream."""


def mixture_splits(run: RunConfig) -> Splits:
    """Rows of the mixture's tasks in all languages of the run, taking turns; a row's group is its task.

    Raises:
        UserError: a task that there is not, fewer rows in a language than the mixture asks for, or none to ask there.
    """
    train = []
    for task in run.mixture.tasks:
        rows = _task_rows(run, task, "train")
        train.append(drawn(rows, run.seed) if run.data.resample else rows)
    dev, test = (
        [part for task in run.mixture.tasks for part in _by_languages(_task_rows(run, task, split))]
        for split in ("dev", "test")
    )
    splits = Splits(_in_turn(train), _in_turn(dev), _in_turn(test))
    splits = apart(splits, {"train": "the mixture's tasks"}, run.lang.codes(), ())
    for task, sizes in run.table().items():
        _check_sizes(task, sizes, [row for row in splits.train if row.task == task])
    for code in run.lang.codes():
        if not any(code in row.prompts for row in splits.test):
            raise UserError(
                f"no task of the mixture ({', '.join(run.mixture.tasks)}) has rows in {code} to ask; leave {code} out "
                "of lang=, or add a task that has it"
            )
    return splits


def _by_languages(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows apart by the languages that they exist in: parallel rows stay one list."""
    parts: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        parts.setdefault(tuple(sorted(row.prompts)), []).append(row)
    return list(parts.values())


def _task_rows(run: RunConfig, task: str, split: str) -> list[Row]:
    """Rows of a task in all languages of the run, joined where they are parallel; of a table those that are needed."""
    codes, config = run.lang.codes(), run.tasks.get(task)
    if config is not None and config.tested_by and split == "test":
        config = run.tasks[config.tested_by]
    if config is None or config.kind == "embedded":
        from clo.data.tasks import task_rows

        rows = task_rows(task, split, codes)
    else:
        from clo.data.task_sources import read_task_rows

        sizes, bad = run.table()[task], BadRows(run.data.bad_rows == "skip")
        # A task is asked in the languages that it exists in; trained ones that it lacks are refused by their name.
        wanted = [code for code in codes if sizes[code] or (split != "train" and config.has(code))]
        most = {"train": max(sizes.values()), "dev": run.evaluation.val_items}.get(split, 0)
        # Some more, for those that are too long; of them the seed draws where it does.
        limit = SPARE * max(most, run.evaluation.rows or ROWS) if config.path is None else None
        rows = joined([read_task_rows(config, code, split, limit, bad) for code in wanted])
    return [replace(row, task=task, group=task) for row in rows]


def _check_sizes(task: str, sizes: Mapping[str, int], rows: Sequence[Row]) -> None:
    for code, size in sizes.items():
        there = sum(code in row.prompts for row in rows)
        if size > there:
            raise UserError(
                f"the mixture asks for {size:,} rows of {task} in {code}, and there are {there:,}; lower its numbers "
                "or bring more rows"
            )


def _in_turn(lists: Sequence[Sequence[T]]) -> list[T]:
    return [one for one in chain.from_iterable(zip_longest(*lists)) if one is not None]


def mixed_rows(run: RunConfig, rows: Sequence[Row]) -> list[Row]:
    """Training rows that the table reaches, each in the languages that it is trained in."""
    found = []
    for task, sizes in run.table().items():
        own = [row for row in rows if row.task == task]
        found.append(joined([_first(own, code, size) for code, size in sizes.items()]))
    return _in_turn(found)


def asked_rows(run: RunConfig, rows: Sequence[Row], most: int) -> list[Row]:
    """The first ``most`` rows of every task in each language."""
    found = []
    for task in run.mixture.tasks:
        own = [row for row in rows if row.task == task]
        found.append(joined([_first(own, code, most) for code in run.lang.codes()]))
    return _in_turn(found)


def _first(rows: Sequence[Row], code: str, most: int) -> list[Row]:
    """The first rows that there are in a language, in it alone."""
    return list(islice((row.only([code]) for row in rows if code in row.prompts), most))


def mixed_items(run: RunConfig, rows: Sequence[Row], renderer: Renderer) -> tuple[list[Item], ItemCounts]:
    """Training items: one for each row and language, or squares of parallel rows where the method compares.

    Raises:
        UserError: fewer rows than asked for fit the window.
    """
    found: list[list[Item]] = []
    too_long, first = 0, None
    for task, sizes in run.table().items():
        items, counts = _column_items(run, task, [row for row in rows if row.task == task], sizes, renderer)
        found.append(items)
        too_long, first = too_long + counts.too_long, first or counts.first_too_long
    items = _in_turn(found)
    if run.method.preference is Prompts.none:
        items = one_language_each(items)
    elif run.data.targets is Targets.apart:
        items = one_at_a_time(items)
    return items, ItemCounts(len(items), too_long, first)


def _column_items(
    run: RunConfig, task: str, rows: Sequence[Row], sizes: Mapping[str, int], renderer: Renderer
) -> tuple[list[Item], ItemCounts]:
    """Items of one task, as many in each language as its size."""
    reach, wanted = max(sizes.values()), list(sizes.values())
    while True:
        encode = (run.lang.codes(), renderer, run.model.max_length, run.data.length_policy)
        items, counts = build_items(rows, *encode, limit=max(1, reach))
        kept, there = rows_within(items, wanted)
        if there == wanted:
            return kept, counts
        if len(items) < reach:
            break
        reach *= 2
    code, size, has = next(lack for lack in zip(sizes, wanted, there, strict=True) if lack[1] > lack[2])
    window = run.model.max_length
    raise UserError(
        f"only {has} rows of {task} in {code} fit model.max_length={window}, fewer than the {size} of the mixture "
        f"({counts.too_long} are longer, the first is {counts.first_too_long}); lower it or raise model.max_length"
    )


def list_rows(folder: Path, run: RunConfig, rows: Sequence[Row], items: Sequence[Item]) -> str:
    """Write ``rows.csv``: task, language, id and content hash of every row that is trained on; returns the list's hash.

    Args:
        folder: the run's.
        run: its configuration.
        rows: training rows.
        items: those that were made of them.
    """
    codes, texts = run.lang.codes(), {row.id: row for row in rows}
    lines = {
        (item.task, codes[place], item.id, digest_of(texts[item.id].texts(codes[place]))[:16]): None
        for item in items
        for place in item.languages()
    }
    text = csv_text(["task", "lang", "id", "sha256"], map(list, lines))
    write_text(folder / LIST, text)
    return digest_of(sorted(lines))
