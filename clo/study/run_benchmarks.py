"""Benchmarks of a run: the start model's once per weights, the trained model's in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clo.config.parse import RunConfig
from clo.data.prompt import Renderer
from clo.evaluation.benchmarks.options import BenchmarkOptions
from clo.storage.progress import stage
from clo.storage.run_folder import RunFolder


def options_of(run: RunConfig) -> BenchmarkOptions:
    """The run's settings as the benchmarks take them."""
    asked, evaluation = run.evaluation.benchmarks, run.evaluation
    return BenchmarkOptions(
        data=asked.data,
        shots=asked.shots,
        scoring=tuple(asked.scoring),
        limit=asked.limit,
        template=asked.template,
        max_tokens=run.trainer.max_tokens,
        max_new_tokens=evaluation.max_new_tokens,
        revision=asked.revision,
    )


def benchmark_marks(
    run: RunConfig, model: Any, renderer: Renderer, folder: RunFolder, store: Path, weights: str
) -> dict[str, Any]:
    """``scores`` and ``left_out`` by benchmark, and ``lm_eval``; empty where none is asked for.

    Args:
        run: says which, and how.
        model: the model, on its device.
        renderer: of the model.
        folder: shows the progress.
        store: every finished side's rows lie there and are not made again.
        weights: what tells the model's weights from others.

    Raises:
        UserError: rows cannot be read, or a benchmark has neither language.
    """
    from clo.evaluation.benchmarks.lm_eval import evaluate_lm_eval, harness_tasks
    from clo.evaluation.benchmarks.run import evaluate_benchmarks
    from clo.evaluation.benchmarks.task_files import write_task_files

    asked, languages = run.evaluation.benchmarks, (run.lang.source, run.lang.code)
    marks: dict[str, Any] = {}
    if asked.names:
        with stage(folder, "benchmarks") as tick:

            def progress(name: str, done: int, total: int) -> None:
                tick(done, total, name)

            found = evaluate_benchmarks(
                model, renderer, asked.names, languages, options_of(run), store, weights, progress
            )
        marks |= {"scores": found["results"], "left_out": found["left_out"]}
    if asked.harness:
        place: Path | None = None if asked.harness_folder is None else Path(asked.harness_folder)
        shots = asked.shots or None
        if asked.data is not None and place is None:  # its own tasks would ask the hub
            place, shots = store / "tasks", None
            tasks = write_task_files(asked.harness, languages, options_of(run), place)
        else:
            tasks = harness_tasks(asked.harness, languages)
        with stage(folder, "lm-eval"):
            marks["lm_eval"] = evaluate_lm_eval(model, renderer.tokenizer, tasks, shots, asked.limit, place)
    return marks


def with_start(marks: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The ``benchmarks`` part of results.json: the trained model's marks, and the start model's beside them."""
    start: dict[str, Any] = {"start": before.get("scores", {})}
    return {**marks, **start, **({"lm_eval_start": before["lm_eval"]} if "lm_eval" in before else {})}


def start_marks(run: RunConfig, model: Any, renderer: Renderer, folder: RunFolder, key: str) -> dict[str, Any]:
    """The start model's marks, kept in the cache for every run that starts from it: ``scores``, and ``lm_eval``."""
    import hashlib
    import json

    from clo.config.parse import plain
    from clo.storage.run_folder import write_json

    asked = run.evaluation.benchmarks
    if not asked.names and not asked.harness:
        return {}
    content = [key, plain(asked), run.lang.code, run.lang.source, run.model.template]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
    place = Path(run.cache_dir) / "benchmarks"
    kept = place / f"{digest}.json"
    if asked.harness and kept.is_file():  # the harness keeps nothing by itself
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    marks = benchmark_marks(run, model, renderer, folder, place / digest, key)
    marks.pop("left_out", None)
    write_json(kept, marks)
    return marks
