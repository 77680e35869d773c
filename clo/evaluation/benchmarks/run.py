"""Benchmarks of a run: each in the target and in the source language, with every row's result, resumable."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clo.data.prompt import Renderer
from clo.errors import UserError
from clo.evaluation.benchmarks.answers import score_answers
from clo.evaluation.benchmarks.multiple_choice import score_choices
from clo.evaluation.benchmarks.options import (
    BenchmarkOptions,
    BenchmarkSide,
    check_options,
    label_of,
    lacking,
    read_benchmark,
)
from clo.evaluation.benchmarks.tasks import task_of
from clo.evaluation.generate import Progress
from clo.evaluation.subject import Subject
from clo.storage.files import write_json
from clo.storage.ranks import Ranks

FORMAT = 2
"""Of stored results; another number makes them anew."""


@dataclass(frozen=True)
class Store:
    """Where finished sides are kept: one whose key (weights, rows, options, prompt) is the same is not made again."""

    folder: Path
    weights: str
    """What tells the model's weights from others, for instance a hash."""


def evaluate_benchmarks(
    subject: Subject,
    names: Sequence[str],
    languages: tuple[str, str],
    options: BenchmarkOptions,
    store: Store | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Evaluate a model on benchmarks, in the target and in the source language.

    Args:
        subject: is asked; several ranks share the benchmarks' sides.
        names: keys of ``TASKS``.
        languages: codes of the source and the target language.
        options: how they are asked.
        store: keeps each finished side's results.
        progress: called with ("belebele target letters", rows so far, rows in all).

    Returns:
        ``results``, {name: {"target": {label: summary}, "en": {label: summary}}}; ``left_out``, {name: {side: reason}};
        ``rows``, {name: {side: {label: [row results]}}}. A label (see `label_of`) begins with ``letters``, ``answers``,
        or for generated answers ``number`` or ``span``. Summaries and rows are those of `score_choices` and
        `score_answers`; rows keep the order of the data, and pair by ``id`` between runs and between sides.

    Raises:
        UserError: as of `check_options`; neither side of a benchmark is at hand; rows or shots are wrong.
    """
    check_options(names, options)
    source, target = languages
    found: dict[str, Any] = {"results": {}, "left_out": {}, "rows": {}}
    sides: dict[tuple[str, str], BenchmarkSide] = {}
    for name in names:
        task = task_of(name)
        for side, lang in (("target", target), ("en", source)):
            reason = lacking(task, lang, options)
            if reason:
                found["left_out"].setdefault(name, {})[side] = reason
                continue
            sides[name, side] = read_benchmark(task, lang, options)
        if len(found["left_out"].get(name, {})) == 2:
            raise UserError(f"{name} has neither language: {'; '.join(found['left_out'][name].values())}")
    alone, made = replace(subject, ranks=Ranks()), dict[tuple[str, str], dict[str, Any]]()
    for name, side in subject.ranks.of(list(sides)):
        path = None if store is None else store.folder / f"{name}-{side}.json"
        kept = Kept(path, "" if store is None else store.weights)
        made[name, side] = _side(alone, sides[name, side], options, kept, _named(progress, f"{name} {side}"))
    made = subject.ranks.together(made)
    for name, side in sides:
        for part in ("results", "rows"):
            found[part].setdefault(name, {})[side] = made[name, side][part]
    return found


@dataclass(frozen=True)
class Kept:
    """One side's file: results and rows by label, each with the key of what it was made from."""

    path: Path | None
    """None keeps nothing."""
    weights: str

    def read(self) -> dict[str, dict[str, Any]]:
        """``keys``, ``results`` and ``rows``, empty where there is no file or a broken one."""
        parts: dict[str, dict[str, Any]] = {"keys": {}, "results": {}, "rows": {}}
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            found = {} if self.path is None else json.loads(self.path.read_text(encoding="utf-8"))
            parts = {name: dict(found.get(name, {})) for name in parts}
        return parts

    def add(self, label: str, key: str, results: Any, rows: Any) -> None:
        """Keep one result beside those that are there."""
        if self.path is not None:
            parts = self.read()
            for name, value in (("keys", key), ("results", results), ("rows", rows)):
                parts[name][label] = value
            write_json(self.path, parts)


def _side(
    subject: Subject,
    side: BenchmarkSide,
    options: BenchmarkOptions,
    kept: Kept,
    progress: Callable[[str], Progress | None],
) -> dict[str, Any]:
    """``results`` and ``rows`` by label: kept ones, or made and kept one by one."""
    found: dict[str, Any] = {"results": {}, "rows": {}}
    before = kept.read()
    for scoring in options.scoring if side.task.kind == "choice" else [side.task.kind]:
        label, key = label_of(scoring, options), _key(subject.renderer, side, scoring, options, kept.weights)
        if before["keys"].get(label) == key and label in before["results"] and label in before["rows"]:
            results, rows = before["results"][label], before["rows"][label]
        else:
            if side.task.kind == "choice":
                results, rows = score_choices(subject, side, scoring, options, progress(scoring))
            else:
                results, rows = score_answers(subject, side, options, progress(scoring))
            kept.add(label, key, results, rows)
        found["results"][label], found["rows"][label] = results, rows
    return found


def _key(renderer: Renderer, side: BenchmarkSide, scoring: str, options: BenchmarkOptions, weights: str) -> str:
    """Content hash of what a result depends on; not of the token budget, which changes none."""
    asked = {**dataclasses.asdict(options), "scoring": scoring}
    for name in ("data", "revision", "max_tokens"):  # rows are hashed themselves
        del asked[name]
    content = [
        *(FORMAT, weights, side.lang, renderer.identity(), sorted(asked.items())),
        *(dataclasses.asdict(side.task), [dataclasses.astuple(row) for row in side.rows]),
    ]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:32]


def _named(progress: Callable[[str, int, int], None] | None, name: str) -> Callable[[str], Progress | None]:
    def of(scoring: str) -> Progress | None:
        return None if progress is None else lambda done, total: progress(f"{name} {scoring}", done, total)

    return of
