"""The data card of a run: what was read from every source, what was kept, and what was left out for which reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clo.config.parse import RunConfig
from clo.data.card import count_table, length_table, short
from clo.data.prompt import Renderer
from clo.data.rows import Row
from clo.data.splits import Source, Splits
from clo.data.task_sources import licence_lines
from clo.storage.files import write_text
from clo.study.rows import Items, having, tested_rows, trained_rows

CARD = "data.md"
"""Its name in the run's folder."""


def write_data_card(folder: Path, run: RunConfig, rows: Splits, items: Items, renderer: Renderer) -> None:
    """Write ``data.md``.

    Args:
        folder: the run's.
        run: its configuration.
        rows: all its rows.
        items: those that it trains on and is validated with.
        renderer: the model's.
    """
    languages = run.lang.codes()
    lines = [f"# Data of {folder.name}", "", f"`data={run.data.name}`, {' and '.join(languages)}."]
    for source in rows.sources:
        lines += ["", f"## {source.file}", "", *count_table("examples", _of_source(source, rows))]
        card = Path(source.file).with_suffix(".md")
        if run.data.kind == "translated" and card.is_file():
            lines += ["", f"What was left out before and in its translation is told in {card}."]
        if source.bad.first:
            lines += ["", "Refused, the first:", "", *(f"- {short(one)}" for one in source.bad.first)]
    used = trained_rows(run, rows) if run.lang.further else rows.train[: len(items.train) + items.too_long]
    lines += ["", "## Used", "", *count_table("examples", _of_run(run, rows, items))]
    if run.mixture.name and run.tasks:
        lines += ["", "## Sources of the tasks", "", *licence_lines(run.tasks)]
    if run.lang.further:
        lines += ["", "## Targets", "", *_target_table(run, rows)]
    texts = {lang: _texts(used, lang) for lang in languages}
    lines += ["", *length_table(texts, lambda text: len(renderer.response_ids(text)) - 1)]  # without the end token
    write_text(folder / CARD, "\n".join(lines) + "\n")


def _of_source(source: Source, rows: Splits) -> Iterator[tuple[str, int]]:
    yield "read", source.rows + source.bad.count
    for reason, count in source.bad.reasons.most_common():
        yield f"refused by data.bad_rows=skip: {reason}", count
    yield "can be used", source.rows
    for poor in rows.poor:
        if poor.file == source.file:
            yield f"of them {poor.kind}", poor.count


def _of_run(run: RunConfig, rows: Splits, items: Items) -> Iterator[tuple[str, int]]:
    yield "for training", len(rows.train)
    yield f"longer than model.max_length={run.model.max_length} in some language, left out in all", items.too_long
    sizes = ", ".join(f"{code} {size}" for code, size in run.sizes().items())
    yield f"trained on (data_size={sizes if run.lang.further else run.data_size})", len(items.train)
    if items.replayed:
        yield "replayed beside them, in the source language alone", len(items.replayed)
    if any(row.rejected for row in rows.train):
        yield "of them with a worse response in every language, to be rejected", len(items.train)
    for name, where in (("train", "trained on"), ("held_out", "validated with")):
        if facts := items.own.get(name):
            yield f"the start model's own answers to prompts that are {where}", facts["asked"]
            yield from ((f"left out: {why}", count) for why, count in facts["left_out"].items())
            yield "rejected", facts["used"]
            yield "of the answers without an end", facts["without_end"]
            yield from ((f"of the answers, language: {verdict}", n) for verdict, n in facts["verdicts"].items())
    yield "dev", len(rows.dev)
    yield "of them validated with", len(items.val)
    yield "test", len(rows.test)
    yield f"of {run.evaluation.split.name} answered at the end", len(tested_rows(run, rows))


def _target_table(run: RunConfig, rows: Splits) -> list[str]:
    """What each target has, and what it lacks: there the cells of the square are absent."""
    parts = {"for training": rows.train, "dev": rows.dev, "test": rows.test}
    heads = ["trained on", *(head for name in parts for head in (name, "without a text"))]
    lines = [f"| | {' | '.join(heads)} |", f"|---{'|---:' * len(heads)}|"]
    for code, size in run.sizes().items():
        there = [len(having(part, code)) for part in parts.values()]
        counts = [n for have, part in zip(there, parts.values(), strict=True) for n in (have, len(part) - have)]
        lines.append(f"| {code} | {' | '.join(f'{n:,}' for n in (size, *counts))} |")
    return lines


def _texts(rows: list[Row], lang: str) -> list[str]:
    return [text for row in rows if lang in row.prompts for text in (row.prompts[lang], row.responses[lang])]
