"""Benchmarks of a run: the start model's once per weights, the trained model's in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from clo.config import EvaluationConfig
from clo.config.parse import RunConfig, plain
from clo.errors import UserError
from clo.evaluation.benchmarks.lm_eval import evaluate_lm_eval, harness_tasks
from clo.evaluation.benchmarks.options import BenchmarkOptions, lacking
from clo.evaluation.benchmarks.run import Store, evaluate_benchmarks
from clo.evaluation.benchmarks.task_files import write_task_files
from clo.evaluation.benchmarks.tasks import task_of
from clo.storage.digest import digest_of
from clo.storage.files import write_json, write_text
from clo.storage.progress import shared, stage
from clo.storage.several import target_folder
from clo.study.content import benchmark_files
from clo.study.session import Session


def options_of(evaluation: EvaluationConfig, max_tokens: int) -> BenchmarkOptions:
    """A run's settings as the benchmarks take them; ``max_tokens`` are those of a forward pass."""
    asked = evaluation.benchmarks
    return BenchmarkOptions(
        data=asked.data,
        shots=asked.shots,
        scoring=tuple(asked.scoring),
        limit=asked.limit,
        template=asked.template,
        max_tokens=max_tokens,
        max_new_tokens=evaluation.max_new_tokens,
        revision=asked.revision,
    )


def benchmark_scores(session: Session, model: Any, place: Path | None = None, key: str | None = None) -> dict[str, Any]:
    """``scores`` and ``left_out`` by benchmark, and ``lm_eval``; of several targets ``targets``, code -> those of each.

    Empty where none is asked for.

    Args:
        session: its run says which, and how; its folder shows the progress.
        model: on its device.
        place: where finished sides are kept; none is the run's folder, and the model is then the run's own.
        key: content hash of what the scores depend on; none computes it.

    Raises:
        UserError: rows cannot be read, or a benchmark has neither the source nor any target.
    """
    run, home = session.run, session.folder.path
    if not run.evaluation.benchmarks.names and not run.evaluation.benchmarks.harness:
        return {}
    key = session.key(model) if key is None else key
    if not run.lang.further:
        return _scores(session, model, run.lang.code, Store(place or home / "benchmarks", key))
    lacks = _lacked(run)
    found: dict[str, Any] = {}
    before: Path | None = None
    for code in run.lang.codes()[1:]:
        folder = target_folder(home, code) / "benchmarks" if place is None else place / code
        session.ranks.mains(partial(_bring_source, before, folder))
        found[code] = _scores(session, model, code, Store(folder, key), lacks[code])
        before = folder
    return {"targets": found}


def _lacked(run: RunConfig) -> dict[str, dict[str, dict[str, str]]]:
    """Target -> benchmarks that have neither it nor the source -> why not, by side."""
    options = options_of(run.evaluation, 0)
    lacks: dict[str, dict[str, dict[str, str]]] = {code: {} for code in run.lang.codes()[1:]}
    for name in run.evaluation.benchmarks.names:
        task = task_of(name)
        source = lacking(task, run.lang.source, options)
        for code, found in lacks.items():
            if source and (target := lacking(task, code, options)):
                found[name] = {"target": target, "en": source}
        if all(name in found for found in lacks.values()):
            reasons = dict.fromkeys(why for found in lacks.values() for why in found[name].values())
            raise UserError(f"{name} has none of the run's languages: {'; '.join(reasons)}")
    return lacks


def _bring_source(before: Path | None, folder: Path) -> None:
    """The source is asked once: its sides stand with every target."""
    for side in () if before is None else before.glob("*-en.json"):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / side.name, side.read_text(encoding="utf-8"))


def _scores(
    session: Session, model: Any, target: str, store: Store, lacked: Mapping[str, dict[str, str]] | None = None
) -> dict[str, Any]:
    """Of one target; what is ``lacked`` is not asked."""
    lacked = lacked or {}
    run, folder = session.run, session.folder
    asked, options = run.evaluation.benchmarks, options_of(run.evaluation, run.trainer.budget())
    languages = (run.lang.source, target)
    found: dict[str, Any] = {}
    if names := [name for name in asked.names if name not in lacked]:
        with stage(folder, "benchmarks") as tick:

            def progress(name: str, done: int, total: int) -> None:
                tick(done, total, name)

            made = evaluate_benchmarks(session.subject(model), names, languages, options, store, progress)
        found |= {"scores": made["results"], "left_out": made["left_out"]}
    if lacked:
        found = {"scores": found.get("scores", {}), "left_out": {**found.get("left_out", {}), **lacked}}
    if asked.harness:
        with stage(folder, "lm-eval"):
            found["lm_eval"] = session.ranks.mains(lambda: _harness_scores(session, model, store))
    return found


def _harness_scores(session: Session, model: Any, store: Store) -> dict[str, Any]:
    """What lm-eval finds, which knows of one process."""
    run = session.run
    asked, options = run.evaluation.benchmarks, options_of(run.evaluation, run.trainer.budget())
    languages = (run.lang.source, run.lang.code)
    place: Path | None = None if asked.harness_folder is None else Path(asked.harness_folder)
    shots = asked.shots or None
    if asked.data is not None and place is None:  # its own tasks would ask the hub
        place, shots = store.folder / "tasks", None
        tasks = write_task_files(asked.harness, languages, options, place)
    else:
        tasks = harness_tasks(asked.harness, languages)
    return evaluate_lm_eval(session.subject(model), tasks, shots, asked.limit, place)


def with_start(scores: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The ``benchmarks`` part of results.json: the trained model's scores, and the start model's beside them."""
    if "targets" in scores:
        start_of = before.get("targets", {})
        return {"targets": {code: with_start(own, start_of.get(code, {})) for code, own in scores["targets"].items()}}
    start: dict[str, Any] = {"start": before.get("scores", {})}
    return {**scores, **start, **({"lm_eval_start": before["lm_eval"]} if "lm_eval" in before else {})}


def merged(before: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The ``benchmarks`` part of results.json with new scores laid over those that are there, label by label.

    A benchmark that was asked otherwise (more examples, chat turns) has another label, and stands beside the old one.
    """
    if not (isinstance(before, dict) and isinstance(found, dict)):
        return found
    whole = {**before, **{key: merged(before[key], value) if key in before else value for key, value in found.items()}}
    for name, sides in whole.get("left_out", {}).items():  # what can be asked by now is left out no longer
        asked = whole.get("scores", {}).get(name, {})
        whole["left_out"] = {**whole["left_out"], name: {s: why for s, why in sides.items() if s not in asked}}
    return whole


def start_benchmark_scores(session: Session, model: Any, key: str) -> dict[str, Any]:
    """The start model's ``scores`` and ``lm_eval``, kept in the cache for every run that starts from it.

    Args:
        session: as of `benchmark_scores`.
        model: the start model, on its device.
        key: content hash of what its scores depend on, see :meth:`clo.evaluation.subject.Subject.key`.
    """
    run = session.run
    asked = run.evaluation.benchmarks
    if not asked.names and not asked.harness:
        return {}
    # The harness's scores are kept whole; all others by rows and prompts, each side.
    files = benchmark_files(run) if asked.harness else {}
    targets = run.lang.codes()[1:] if run.lang.further else run.lang.code
    digest = digest_of([key, plain(asked), targets, run.lang.source, files])
    place = Path(run.cache_dir) / "benchmarks"
    kept = place / f"{digest}.json"
    with shared(session.folder, place / f".{digest}.lock", "the start model's benchmarks"):
        if asked.harness:  # which keeps nothing by itself
            found: dict[str, Any] | None = session.ranks.mains(
                lambda: json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else None
            )
            if found is not None:
                return found
        scores = benchmark_scores(session, model, place / digest, key)
        for own in (scores, *scores.get("targets", {}).values()):
            own.pop("left_out", None)
        if session.ranks.rank == 0:
            write_json(kept, scores)
    return scores
