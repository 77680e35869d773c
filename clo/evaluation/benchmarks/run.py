"""Benchmarks of a run: each in the target and in the source language, with every row's result, resumable."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clo.data.prompt import Renderer
from clo.errors import UserError
from clo.evaluation.benchmarks.answers import judge_answers
from clo.evaluation.benchmarks.multiple_choice import judge_choices
from clo.evaluation.benchmarks.options import BenchmarkOptions, check_options, lacking, read_benchmark
from clo.evaluation.benchmarks.tasks import Task, task_of
from clo.evaluation.generate import Progress
from clo.storage.run_folder import write_json

FORMAT = 1
"""Of stored results; another number makes them anew."""


def evaluate_benchmarks(
    model: Any,
    renderer: Renderer,
    names: Sequence[str],
    languages: tuple[str, str],
    options: BenchmarkOptions,
    store: Path | None = None,
    weights: str = "",
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Evaluate a model on benchmarks, in the target and in the source language.

    Args:
        model: a causal language model of transformers, or a PEFT model around one.
        renderer: of the model.
        names: keys of ``TASKS``.
        languages: codes of the source and the target language.
        options: how they are asked.
        store: folder for each finished side's results; one whose key (weights, rows, options, prompt) is the same is
            read instead of made again.
        weights: what tells the model's weights from others, for instance a hash; needed with ``store``.
        progress: called with ("belebele target letters", rows so far, rows in all).

    Returns:
        ``{"results": {name: {"target": {scoring: summary}, "en": {scoring: summary}}}, "left_out": {name: {side:
        reason}}, "rows": {name: {side: {scoring: [row results]}}}}``; scoring is ``letters``, ``answers``, or for
        generated answers ``number`` or ``span``. Summaries and rows are those of `judge_choices` and `judge_answers`;
        rows keep the order of the data, and pair by ``id`` between runs and between sides of parallel benchmarks.

    Raises:
        UserError: as of `check_options`; neither side of a benchmark is at hand; rows or shots are wrong.
        ValueError: ``store`` without ``weights``.
    """
    if store is not None and not weights:
        raise ValueError("stored results need a key of the weights")
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
            rows = read_benchmark(task, lang, options)
            path = store / f"{name}-{side}.json" if store is not None else None
            report = _named(progress, f"{name} {side}")
            sides[side] = _side(model, renderer, task, rows, lang, options, path, weights, report)
        if not sides:
            raise UserError(f"{name} has neither language: {'; '.join(found['left_out'][name].values())}")
        found["results"][name] = {side: value["results"] for side, value in sides.items()}
        found["rows"][name] = {side: value["rows"] for side, value in sides.items()}
    return found


def _side(
    model: Any,
    renderer: Renderer,
    task: Task,
    rows: Sequence[Any],
    lang: str,
    options: BenchmarkOptions,
    path: Path | None,
    weights: str,
    progress: Callable[[str], Progress | None],
) -> dict[str, Any]:
    """``results`` and ``rows`` by scoring, from the store or made and stored."""
    key = _key(renderer, task, rows, lang, options, weights)
    kept = _stored(path, key)
    if kept is not None:
        return kept
    made: dict[str, Any] = {"results": {}, "rows": {}}
    common = (lang, options.shots, options.limit, options.template, options.max_tokens)
    for scoring in options.scoring if task.kind == "choice" else [task.kind]:
        report = progress(scoring)
        if task.kind == "choice":
            judged = judge_choices(model, renderer, task, scoring, rows, *common, report)
        else:
            judged = judge_answers(model, renderer, task, rows, *common, options.max_new_tokens, report)
        made["results"][scoring], made["rows"][scoring] = judged
    if path is not None:
        write_json(path, {"key": key, **made})
    return made


def _key(
    renderer: Renderer, task: Task, rows: Sequence[Any], lang: str, options: BenchmarkOptions, weights: str
) -> str:
    """Content hash of what a side's results depend on; not of the token budget, which changes none."""
    asked = dataclasses.asdict(options)
    for name in ("data", "revision", "max_tokens"):  # rows are hashed themselves
        del asked[name]
    content = [
        *(FORMAT, weights, lang, renderer.template, renderer.end_id, sorted(asked.items())),
        *(dataclasses.asdict(task), [dataclasses.astuple(row) for row in rows]),
    ]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:32]


def _stored(path: Path | None, key: str) -> dict[str, Any] | None:
    """Results with this key, or None where there are none, others, or a broken file."""
    if path is None:
        return None
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
