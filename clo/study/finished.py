"""Finished runs: found again by their folder, loaded, and evaluated anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from clo.config import ModelConfig
from clo.config.effect import check_effect, is_read, read_by
from clo.config.parse import RunConfig, parse, plain
from clo.config.reads import measured
from clo.errors import UserError, cause
from clo.storage.run_folder import AGAIN, RunFolder
from clo.study.rebuild import has_model, stage_weights

if TYPE_CHECKING:
    from clo.data.rows import Row
    from clo.study.session import Session
    from clo.study.task_results import TaskResults


BESIDE = ("evaluation.benchmarks.", "evaluation.rivals.")
"""Changes of an evaluation that leave the answers to the test prompts as they are."""


def recorded(path: Path, changes: Sequence[str] = ()) -> RunConfig:
    """The configuration that a run's folder records, with ``changes`` (``key=value``) laid over it.

    Raises:
        UserError: it cannot be read, or a key does not exist.
    """
    config = _read(path / "config.yaml")
    if not changes:
        return parse(config)
    try:
        laid = OmegaConf.merge(config, OmegaConf.from_dotlist(list(changes)))
    except Exception as error:  # a key below one that is no group, a value that is no YAML
        raise UserError(f"{' '.join(changes)}: {cause(error)}; give key=value as of the run's configuration") from error
    return parse(laid)  # type: ignore[arg-type]


def _read(file: Path) -> DictConfig:
    """A run's config.yaml, checked; its YAML makes plain values alone, whatever tags it holds."""
    try:
        config = OmegaConf.create(file.read_text(encoding="utf-8"))
        if not isinstance(config, DictConfig):
            raise ValueError("it holds no keys")
        parse(config)
    except Exception as error:  # YAML, its types, interpolations and bounds fail in many ways
        raise UserError(f"cannot read {file} ({cause(error)}); {AGAIN}") from error
    return config


def finished_run(path: Path, changes: Sequence[str] = ()) -> tuple[RunFolder, RunConfig]:
    """The folder and the configuration of a finished run; arguments as of `recorded`.

    Raises:
        UserError: it is not one, or a key does not exist.
    """
    folder = RunFolder(path, finished=True)
    if not path.is_dir():
        raise UserError(
            f"run={path} {'is no folder' if path.exists() else 'does not exist'}; give a finished run's folder"
        )
    if folder.state() != "done" or not (path / "config.yaml").is_file():
        raise UserError(f"{path} is not the folder of a finished run; its command finishes it")
    return folder, recorded(path, changes)


def trained_config(start: ModelConfig, path: Path) -> ModelConfig:
    """The model that a run from ``start`` left in its folder at ``path``."""
    return replace(start, path=str(path / "model"), revision=None)


def check_unchanged(run: RunConfig, path: Path, *groups: str) -> None:
    """Refuse to go on with a finished run on other rows, or on another start model, than it was made from.

    Args:
        run: as recorded.
        path: its folder.
        groups: of the settings that matter, ``data`` and ``model``.

    Raises:
        UserError: what has changed.
    """
    from clo.study.content import changed_since

    changed = [key for key in changed_since(run, path) if key.partition(".")[0] in groups]
    if changed:
        raise UserError(
            f"{' and '.join(changed)} changed after {path} was made; what is asked now would mix both: bring the old "
            "content back, or train again under another study_name="
        )


def load_start(run: RunConfig, path: Path) -> Any:
    """The start model of the run whose folder is at ``path``.

    Raises:
        UserError: it cannot be loaded, or is another one by now.
    """
    from clo.model.load import load_model

    check_unchanged(run, path, "model")
    return load_model(run.model)


def load_trained(run: RunConfig, path: Path) -> Any:
    """The trained model of the folder at ``path``: merged weights, or the adapter on its base.

    Raises:
        UserError: the model is not there.
    """
    from clo.model.load import adapted, load_model

    model = path / "model"
    if not has_model(path):
        mend = "the run's command makes it again from its checkpoint" if stage_weights(path) else AGAIN
        raise UserError(f"{model} is missing; {mend}")
    if (model / "adapter_config.json").is_file():
        return adapted(load_start(run, path), trained_config(run.model, path))
    return load_model(trained_config(run.model, path))


def evaluate_again(path: Path, changes: Sequence[str] = ()) -> None:
    """Generate and score the answers of a finished run again, replacing samples.jsonl and scores once both are made.

    Where ``changes`` ask for benchmarks or rivals alone, the answers stay as they are. The run stays ``done`` and its
    results stay as they are until then. Stopped, the same call goes on.

    Args:
        path: the run's folder.
        changes: ``evaluation.<key>=<value>`` in place of the run's own.

    Raises:
        UserError: not a finished run, or a change that does not exist.
    """
    from clo.study.content import with_benchmarks
    from clo.study.layer_choice import recorded_tuning
    from clo.study.outcome import write_results
    from clo.study.rivals import rivals_of
    from clo.study.session import open_session, renderer_of

    folder, run = finished_run(path, changes)
    _check_read(changes, run)
    check_unchanged(recorded(path), path, "data")
    folder.lock()
    try:
        results = folder.results()
        session = open_session(replace(run, model=trained_config(run.model, path)), folder)
        model = load_trained(run, path).to(session.device)
        test = _test_rows(run)
        # Asked otherwise, scores of other models would not be comparable.
        beside = all(word.startswith(BESIDE) for word in changes)
        with session.precision():
            answers = _answers_again(session, model, test, results, bool(changes) and beside)
            benchmarks = _benchmarks_again(session, run, model, results.get("benchmarks", {}))
        of_start = replace(session, run=run, renderer=renderer_of(run.model))
        tuning = recorded_tuning(run, path)
        rivals = rivals_of(of_start, model, test, tuning, lambda: load_start(run, path))
        kept = {key: part for key, part in results.items() if beside or key not in ("last", "rivals")}
        made = {"scores": answers.scores, **({"benchmarks": benchmarks} if benchmarks else {})}
        if content := with_benchmarks(run, folder, results.get("content") or {}):
            made["content"] = content
        write_results(session, kept | made, answers.samples, rivals, answers.tasks)
    finally:
        folder.release()


@dataclass(frozen=True)
class _Answers:
    """Of the trained model, to the test prompts."""

    scores: dict[str, Any]
    samples: list[dict[str, Any]]
    tasks: TaskResults | None
    """Of a mixture."""


def _answers_again(session: Session, model: Any, test: list[Row], results: dict[str, Any], keep: bool) -> _Answers:
    """Made again, or with ``keep`` those that are there, where they are whole."""
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


def _keep_divergence(run: RunConfig, before: dict[str, Any], scores: dict[str, Any]) -> None:
    """The weights are the same, and the start model is not here: on the same rows its divergence is what it was."""
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
