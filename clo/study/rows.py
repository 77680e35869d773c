"""A run's rows and its items: loaded, translated where that is still to be done, and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clo.config import ROWS
from clo.config.choices import Anchor, Targets
from clo.config.parse import RunConfig
from clo.config.rejected import kinds_of
from clo.data.budgets import one_at_a_time, within
from clo.data.items import Item, ItemCounts, build_items, replay_items
from clo.data.pairs import with_pairs
from clo.data.prompt import Renderer
from clo.data.replay import replay_rows
from clo.data.rows import Row
from clo.data.splits import Splits, drawn, joined, load_splits
from clo.data.texts import key
from clo.errors import UserError
from clo.study.mixture import asked_rows, mixed_items, mixed_rows, mixture_splits
from clo.training.checks import check_items


@dataclass(frozen=True)
class Items:
    """The square items of a run."""

    train: Sequence[Item]
    val: Sequence[Item]
    """Held out, scored whole at every validation."""
    too_long: int
    """Training rows that were left out."""
    replayed: Sequence[Item] = ()
    """Rows that hold the source language, at most as many as training items."""
    own: dict[str, Any] = field(default_factory=dict)
    """What became of the start model's own answers, for training and held-out items; empty where none are rejected."""


def rows_of(run: RunConfig) -> Splits:
    """The run's rows; translations are made if they are not there yet, and guessed for a plan.

    Raises:
        UserError: rows cannot be read or made, or are fewer than ``data_size``.
    """
    if run.mixture.name:
        return mixture_splits(run)
    splits = with_pairs(_load(run), run.lang.codes() if "quality" in kinds_of(run.method) else ())
    if run.data.resample:
        splits = replace(splits, train=drawn(splits.train, run.seed))
    if run.method.anchor is Anchor.replay:
        splits = replace(splits, replay=_replayed(run, splits))
    for code, size in run.sizes().items():
        there = len(splits.train) if not run.lang.further else len(having(splits.train, code))
        if size > there:
            left = "".join(f" ({poor.line()})" for poor in splits.poor if poor.kind.startswith("are left out of train"))
            raise UserError(
                f"data_size={size} is beyond the {there} training rows of data={run.data.name} for "
                f"{code}{left}; lower data_size or bring more rows"
            )
        for name, rows in (("dev", splits.dev), ("test", splits.test)) if run.lang.further else ():
            if not having(rows, code):
                raise UserError(
                    f"data={run.data.name} has no {name} row in {code}; bring some, or leave the target out"
                )
    return splits


def most_of(run: RunConfig) -> int:
    """Items of the target that has the most."""
    return max(run.sizes().values())


def having(rows: Sequence[Row], code: str) -> list[Row]:
    """The rows that exist in a language."""
    return [row for row in rows if code in row.prompts]


def absent_lines(run: RunConfig, rows: Splits) -> list[str]:
    """A line for every target that some row lacks, where a run has several."""
    lines = []
    for code in run.lang.codes()[1:] if run.lang.further and not run.mixture.name else ():
        counts = [(name, len(part) - len(having(part, code)), len(part)) for name, part in _parts(rows)]
        if any(lacking for _, lacking, _ in counts):
            told = ", ".join(f"{lacking:,} of {of:,} {name} rows" for name, lacking, of in counts)
            lines.append(f"{code}: {told} have no text; their cells are absent")
    return lines


def _parts(rows: Splits) -> list[tuple[str, list[Row]]]:
    return [("training", rows.train), ("dev", rows.dev), ("test", rows.test)]


def trained_rows(run: RunConfig, rows: Splits) -> list[Row]:
    """With several targets, the training rows that their sizes reach, each in the languages that it is trained in."""
    if run.mixture.name:
        return mixed_rows(run, rows.train)
    source = run.lang.source
    return joined(
        [[row.only((source, code)) for row in having(rows.train, code)[:n]] for code, n in run.sizes().items()]
    )


def tested_rows(run: RunConfig, rows: Splits) -> list[Row]:
    """The rows that a run is scored on at its end: of several targets those of each, in what each is asked in."""
    if not run.lang.further:
        return rows.evaluated(run.evaluation)
    found, source = rows.held_out(run.evaluation), run.lang.source
    most = run.evaluation.rows or ROWS
    if run.mixture.name:
        return asked_rows(run, found, most)
    return joined([[row.only((source, code)) for row in having(found, code)[:most]] for code in run.sizes()])


def _replayed(run: RunConfig, splits: Splits) -> tuple[Row, ...]:
    """Rows of the source language that no dev or test row asks; the first ones are used.

    Raises:
        UserError: they cannot be read, or none is left.
    """
    from clo.evaluation.fidelity import LanguageIdentifier

    identifier = LanguageIdentifier.of(run.lang.targets()[0])

    def is_source(texts: Sequence[str]) -> list[bool]:
        return [verdict in ("en", "undecided") for verdict in identifier.verdicts(texts)]

    most = None if not run.data.replay.is_given() else most_of(run) + len(splits.dev) + len(splits.test)
    rows = replay_rows(run.data, run.lang.source, is_source, most)
    if run.data.resample:
        rows = drawn(rows, run.seed)
    asked = {key(row.prompts[run.lang.source]) for row in (*splits.dev, *splits.test)}
    kept = tuple(row for row in rows if key(row.prompts[run.lang.source]) not in asked)
    if not kept:
        raise UserError("every row of data.replay stands in dev or test too; bring rows of another source")
    return kept


def _load(run: RunConfig) -> Splits:
    languages = run.lang.codes()
    if run.data.kind != "translated":
        return load_splits(run.data, *languages)
    if run.plan:
        from clo.translate.estimate import planned_splits

        return planned_splits(run)
    from clo.translate.ensure import translated_rows

    return load_splits(run.data, *languages, translated={one.lang.code: translated_rows(one) for one in run.alone()})


def items_of(run: RunConfig, renderer: Renderer, rows: Splits) -> Items:
    """Training and held-out items.

    Raises:
        UserError: too few rows fit the window, or the template or tokenizer breaks an item.
    """
    encode = (run.lang.codes(), renderer, run.model.max_length, run.data.length_policy)
    if run.mixture.name:
        train, counts = mixed_items(run, rows.train, renderer)
    elif run.lang.further:
        train, counts = _of_several(run, rows.train, renderer)
    else:
        train, counts = build_items(rows.train, *encode, limit=run.data_size)
        _check_count(run, len(train), run.data_size, counts, "")
    val, _ = build_items(rows.dev, *encode, limit=run.evaluation.val_items)
    replayed: Sequence[Item] = ()
    if rows.replay:
        replayed = replay_items(rows.replay, train[0], renderer, run.model.max_length, most_of(run))
    check_items([*train, *val, *replayed], renderer)
    return Items(train, val, counts.too_long, replayed)


def _of_several(run: RunConfig, rows: Sequence[Row], renderer: Renderer) -> tuple[list[Item], ItemCounts]:
    """Training items of several targets, as many of each as its size."""
    sizes = list(run.sizes().values())
    reach = max(sizes)
    while True:
        encode = (run.lang.codes(), renderer, run.model.max_length, run.data.length_policy)
        items, counts = build_items(rows, *encode, limit=reach)
        train, found = within(items, sizes)
        if found == sizes or len(items) < reach:
            break
        reach *= 2
    for code, size, there in zip(run.sizes(), sizes, found, strict=True):
        _check_count(run, there, size, counts, f" for {code}")
    return one_at_a_time(train) if run.data.targets is Targets.apart else train, counts


def _check_count(run: RunConfig, there: int, size: int, counts: ItemCounts, where: str) -> None:
    if there < size:
        raise UserError(
            f"only {there} rows fit model.max_length={run.model.max_length}{where}, fewer than data_size={size} "
            f"({counts.too_long} are longer, the first is {counts.first_too_long}); lower it or raise model.max_length"
        )
