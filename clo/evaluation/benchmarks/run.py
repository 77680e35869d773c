"""Benchmarks of a run: each in the target and in the source language, with every row's result, resumable."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    lacking,
    read_benchmark,
)
from clo.evaluation.benchmarks.tasks import task_of
from clo.evaluation.generate import Progress
from clo.evaluation.subject import Subject
from clo.storage.files import write_json

FORMAT = 1
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
        subject: is asked.
        names: keys of ``TASKS``.
        languages: codes of the source and the target language.
        options: how they are asked.
        store: keeps each finished side's results.
        progress: called with ("belebele target letters", rows so far, rows in all).

    Returns:
        ``{"results": {name: {"target": {scoring: summary}, "en": {scoring: summary}}}, "left_out": {name: {side:
        reason}}, "rows": {name: {side: {scoring: [row results]}}}}``; scoring is ``letters``, ``answers``, or for
        generated answers ``number`` or ``span``. Summaries and rows are those of `score_choices` and `score_answers`;
        rows keep the order of the data, and pair by ``id`` between runs and between sides of parallel benchmarks.

    Raises:
        UserError: as of `check_options`; neither side of a benchmark is at hand; rows or shots are wrong.
    """
    check_options(names, options)
    source, target = languages
    found: dict[str, Any] = {"results": {}, "left_out": {}, "rows": {}}
    for name in names:
        task = task_of(name)
        sides: dict[str, dict[str, Any]] = {}
        for side, lang in (("target", target), ("en", source)):
            reason = lacking(task, lang, options)
            if reason:
                found["left_out"].setdefault(name, {})[side] = reason
                continue
            asked = read_benchmark(task, lang, options)
            report = _named(progress, f"{name} {side}")
            if store is None:
                sides[side] = _made(subject, asked, options, report)
                continue
            path, key = store.folder / f"{name}-{side}.json", _key(subject.renderer, asked, options, store.weights)
            kept = _stored(path, key)
            if kept is None:
                kept = _made(subject, asked, options, report)
                write_json(path, {"key": key, **kept})
            sides[side] = kept
        if not sides:
            raise UserError(f"{name} has neither language: {'; '.join(found['left_out'][name].values())}")
        found["results"][name] = {side: value["results"] for side, value in sides.items()}
        found["rows"][name] = {side: value["rows"] for side, value in sides.items()}
    return found


def _made(
    subject: Subject, side: BenchmarkSide, options: BenchmarkOptions, progress: Callable[[str], Progress | None]
) -> dict[str, Any]:
    """``results`` and ``rows`` by scoring."""
    made: dict[str, Any] = {"results": {}, "rows": {}}
    for scoring in options.scoring if side.task.kind == "choice" else [side.task.kind]:
        report = progress(scoring)
        if side.task.kind == "choice":
            scored = score_choices(subject, side, scoring, options, report)
        else:
            scored = score_answers(subject, side, options, report)
        made["results"][scoring], made["rows"][scoring] = scored
    return made


def _key(renderer: Renderer, side: BenchmarkSide, options: BenchmarkOptions, weights: str) -> str:
    """Content hash of what a side's results depend on; not of the token budget, which changes none."""
    asked = dataclasses.asdict(options)
    for name in ("data", "revision", "max_tokens"):  # rows are hashed themselves
        del asked[name]
    content = [
        *(FORMAT, weights, side.lang, renderer.template, renderer.end_id, sorted(asked.items())),
        *(dataclasses.asdict(side.task), [dataclasses.astuple(row) for row in side.rows]),
    ]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:32]


def _stored(path: Path, key: str) -> dict[str, Any] | None:
    """Results with this key, or None where there are none, others, or a broken file."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(kept, dict) or kept.pop("key", None) != key:
        return None
    return kept


def _named(progress: Callable[[str, int, int], None] | None, name: str) -> Callable[[str], Progress | None]:
    def of(scoring: str) -> Progress | None:
        return None if progress is None else lambda done, total: progress(f"{name} {scoring}", done, total)

    return of
