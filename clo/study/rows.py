"""A run's rows and its items: loaded, translated where that is still to be done, and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clo.config.choices import Anchor
from clo.config.parse import RunConfig
from clo.data.items import Item, build_items, replay_items
from clo.data.prompt import Renderer
from clo.data.replay import replay_rows
from clo.data.rows import Row
from clo.data.splits import Splits, drawn, load_splits
from clo.data.texts import key
from clo.errors import UserError
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


def rows_of(run: RunConfig) -> Splits:
    """The run's rows; translations are made if they are not there yet, and guessed for a plan.

    Raises:
        UserError: rows cannot be read or made, or are fewer than ``data_size``.
    """
    splits = _load(run)
    if run.data.resample:
        splits = replace(splits, train=drawn(splits.train, run.seed))
    if run.method.anchor is Anchor.replay:
        splits = replace(splits, replay=_replayed(run, splits))
    if run.data_size > len(splits.train):
        left = "".join(f" ({poor.line()})" for poor in splits.poor if poor.kind.startswith("are left out of train"))
        raise UserError(
            f"data_size={run.data_size} is beyond the {len(splits.train)} training rows of data={run.data.name} for "
            f"{run.lang.code}{left}; lower data_size or bring more rows"
        )
    return splits


def _replayed(run: RunConfig, splits: Splits) -> tuple[Row, ...]:
    """Rows of the source language that no dev or test row asks; the first ones are used.

    Raises:
        UserError: they cannot be read, or none is left.
    """
    from clo.evaluation.fidelity import LanguageIdentifier

    identifier = LanguageIdentifier.of(run.lang)

    def is_source(texts: Sequence[str]) -> list[bool]:
        return [verdict in ("en", "undecided") for verdict in identifier.verdicts(texts)]

    most = None if not run.data.replay.is_given() else run.data_size + len(splits.dev) + len(splits.test)
    rows = replay_rows(run.data, run.lang.source, is_source, most)
    if run.data.resample:
        rows = drawn(rows, run.seed)
    asked = {key(row.prompts[run.lang.source]) for row in (*splits.dev, *splits.test)}
    kept = tuple(row for row in rows if key(row.prompts[run.lang.source]) not in asked)
    if not kept:
        raise UserError("every row of data.replay stands in dev or test too; bring rows of another source")
    return kept


def _load(run: RunConfig) -> Splits:
    languages = (run.lang.source, run.lang.code)
    if run.data.kind != "translated":
        return load_splits(run.data, *languages)
    if run.plan:
        from clo.translate.estimate import planned_splits

        return planned_splits(run.data, run.lang, run.data_size, run.cache_dir)
    from clo.translate.ensure import translated_rows

    return load_splits(run.data, *languages, translated_rows(run))


def items_of(run: RunConfig, renderer: Renderer, rows: Splits) -> Items:
    """Training and held-out items.

    Raises:
        UserError: too few rows fit the window, or the template or tokenizer breaks an item.
    """
    encode = ([run.lang.source, run.lang.code], renderer, run.model.max_length, run.data.length_policy)
    train, counts = build_items(rows.train, *encode, limit=run.data_size)
    val, _ = build_items(rows.dev, *encode, limit=run.evaluation.val_items)
    if len(train) < run.data_size:
        raise UserError(
            f"only {len(train)} rows fit model.max_length={run.model.max_length}, fewer than data_size={run.data_size} "
            f"({counts.too_long} are longer, the first is {counts.first_too_long}); lower it or raise model.max_length"
        )
    replayed: Sequence[Item] = ()
    if rows.replay:
        replayed = replay_items(rows.replay, train[0], renderer, run.model.max_length, run.data_size)
    check_items([*train, *val, *replayed], renderer)
    return Items(train, val, counts.too_long, replayed)
