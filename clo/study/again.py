"""A finished run evaluated anew: its answers, scores, benchmarks and rivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from clo.config.effect import check_effect, is_read, read_by
from clo.config.parse import RunConfig, plain
from clo.config.reads import measured
from clo.errors import UserError
from clo.study.finished import check_unchanged, finished_run, load_start, load_trained, recorded, trained_config

if TYPE_CHECKING:
    from clo.data.rows import Row
    from clo.study.session import Session
    from clo.study.task_results import TaskResults

BESIDE = ("evaluation.benchmarks.", "evaluation.rivals.")
"""Changes of an evaluation that leave the answers to the test prompts as they are."""
OF_ANSWERS = ("split", "rows", "max_new_tokens")
"""Settings of an evaluation that say which answers they are: the start model's are made anew with the trained one's."""


def evaluate_again(path: Path, changes: Sequence[str] = ()) -> None:
    """Generate and score the answers of a finished run again, replacing samples.jsonl and scores once both are made.

    Where ``changes`` ask for benchmarks or rivals alone, the answers stay as they are. Where they ask other rows or for
    longer answers, the start model answers too, and results.json says so (``asked``). The run stays ``done`` and its
    results stay as they are until all is made. Stopped, the same call goes on.

    Args:
        path: the run's folder.
        changes: ``evaluation.<key>=<value>`` in place of the run's own.

    Raises:
        UserError: not a finished run, a change that does not exist, or rows or a model that changed.
    """
    from clo.study.content import with_benchmarks
    from clo.study.layer_choice import recorded_tuning
    from clo.study.outcome import write_results
    from clo.study.rivals import rivals_of
    from clo.study.session import open_session, renderer_of

    folder, run = finished_run(path, changes)
    _check_read(changes, run)
    own = recorded(path)
    check_unchanged(own, path, "data", "tasks")
    folder.lock()
    try:
        results = folder.results()
        before = results.get("asked", _asked(own))
        beside = bool(changes) and all(word.startswith(BESIDE) for word in changes)
        if beside:
            run = recorded(path, [*map("=".join, before.items()), *changes])
        session = open_session(replace(run, model=trained_config(run.model, path)), folder)
        of_start = replace(session, run=run, renderer=renderer_of(run.model))
        model = load_trained(run, path).to(session.device)
        test = _test_rows(run)
        others = _asked(run) != before
        with session.precision():
            if others:
                answers = _both_answer(session, of_start, model, test, results)
            else:
                answers = _answers_again(session, model, test, results, keep=beside)
            benchmarks = _benchmarks_again(session, run, model, results.get("benchmarks", {}))
        rivals = rivals_of(of_start, model, test, recorded_tuning(run, path), lambda: load_start(run, path))
        gone = {"asked", *(("last", "rivals", "oracle") if others else ())}  # of other prompts: not comparable
        made = {"scores": answers.scores, **answers.start, **({"benchmarks": benchmarks} if benchmarks else {})}
        made |= {"asked": _asked(run)} if _asked(run) != _asked(own) else {}
        if content := with_benchmarks(run, folder, results.get("content") or {}):
            made["content"] = content
        now = folder.results()  # a judge may have written meanwhile
        kept = {key: part for key, part in now.items() if key not in gone}
        write_results(session, kept | made, answers.samples, rivals, answers.tasks, answers.start_samples)
    finally:
        folder.release()


def _asked(run: RunConfig) -> dict[str, str]:
    """Which answers a run's scores are of, as words: setting -> value."""
    told = plain(run.evaluation)
    return {f"evaluation.{name}": "null" if told[name] is None else str(told[name]) for name in OF_ANSWERS}


@dataclass(frozen=True)
class _Answers:
    """To the test prompts."""

    scores: dict[str, Any]
    samples: Sequence[dict[str, Any]]
    tasks: TaskResults | None
    """Of a mixture."""
    start: dict[str, Any] = field(default_factory=dict)
    """Parts of results.json that are the start model's, where it was asked too,"""
    start_samples: Sequence[dict[str, Any]] = ()
    """and its answers."""


def _answers_again(session: Session, model: Any, test: list[Row], results: Mapping[str, Any], keep: bool) -> _Answers:
    """The trained model's made again, or with ``keep`` those that are there, where they are whole."""
    from clo.study.scores import answer_scores, trained_stamp
    from clo.study.targets import read_sample_files
    from clo.study.task_results import TASKS, task_results_again

    run, path = session.run, session.folder.path
    scores, samples = results["scores"], read_sample_files(run, path, "samples.jsonl") if keep else []
    if not samples:
        scores, samples = answer_scores(session, model, test, "evaluate", trained_stamp(session), path)
        _keep_divergence(run, results, scores)
    if "mixture" not in results:
        return _Answers(scores, samples, None)
    listed = path / TASKS
    text = listed.read_bytes().decode("utf-8") if listed.is_file() else ""  # an answer may hold any line break
    return _Answers(scores, samples, task_results_again(run, test, samples, results, text))


def _both_answer(
    session: Session, of_start: Session, model: Any, test: list[Row], results: Mapping[str, Any]
) -> _Answers:
    """The trained and the start model's answers to prompts of other settings than before."""
    from clo.study.scores import add_divergences, answer_scores, start_parts, trained_stamp
    from clo.study.task_results import task_results

    run, path = of_start.run, session.folder.path
    start = load_start(run, path).to(session.device)
    told, asked, oracle, likely = start_parts(of_start, start, test, of_start.key(start))
    scores, samples = answer_scores(session, model, test, "evaluate", trained_stamp(session), path)
    add_divergences(session, model, test, likely, scores)
    mixed = results.get("mixture")
    tasks = None if mixed is None else task_results(run, test, asked, samples, mixed["ids"])
    return _Answers(scores, samples, tasks, {"start": told, **({"oracle": oracle} if oracle else {})}, asked)


def _check_read(changes: Sequence[str], run: RunConfig) -> None:
    """Refuse a change that an evaluation of a finished run does not read."""
    cfg = OmegaConf.create(plain(run))
    check_effect(changes, read_by(run, cfg), cfg, groups=())
    again = {f"evaluation.{name}" for name in measured(run)}
    if idle := next((word for word in changes if not is_read(word.partition("=")[0], again)), None):
        raise UserError(f"{idle} has no effect here: only training reads it; leave it out")


def _test_rows(run: RunConfig) -> list[Row]:
    """The rows that a finished run was tested on, as they are now; its translations are there."""
    from clo.data.pairs import with_pairs
    from clo.data.splits import load_splits
    from clo.study.mixture import mixture_splits
    from clo.study.rows import tested_rows
    from clo.translate.ensure import rows_path

    if run.mixture.name:
        return tested_rows(run, mixture_splits(run))
    files: dict[str, Path] = {}
    if run.data.kind == "translated":
        files = {one.lang.code: rows_path(one.data, one.lang, run.cache_dir) for one in run.alone()}
    splits = with_pairs(load_splits(run.data, *run.lang.codes(), translated=files))
    return tested_rows(run, splits)


def _keep_divergence(run: RunConfig, before: Mapping[str, Any], scores: dict[str, Any]) -> None:
    """The weights are the same, and the start model is not here: on the same rows the divergence is what it was."""
    from clo.study.targets import by_target

    codes = run.lang.codes()[1:]
    old = by_target(before["scores"], codes)
    for code, new in by_target(scores, codes).items():
        for group, english in old.get(code, {}).get("en", {}).items():
            if "kl" in english and english["n"] == new["en"].get(group, {}).get("n"):
                new["en"][group]["kl"] = english["kl"]


def _benchmarks_again(session: Session, run: RunConfig, model: Any, before: dict[str, Any]) -> dict[str, Any]:
    """Benchmarks that are there, with those that are asked for now laid over them by name and settings."""
    from clo.study.run_benchmarks import benchmark_scores, merged, start_benchmark_scores, with_start

    found = benchmark_scores(session, model)
    if not found:
        return before
    start = load_start(run, session.folder.path).to(session.device)
    key = session.key(start)
    return merged(before, with_start(found, start_benchmark_scores(session, start, key)))
