"""What a model is measured by in a run: answers to the test prompts, the held-out square, benchmarks.

The start model's are made once per weights, rows and settings, and kept in the cache for every run that begins with it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clo.data.items import Item
from clo.data.prompt import Renderer
from clo.data.rows import Row
from clo.evaluation.answer_log import AnswerLog
from clo.evaluation.divergence import divergences, likely_along
from clo.square.scores import score_items
from clo.storage.digest import digest_of
from clo.storage.files import write_json
from clo.storage.progress import shared, stage
from clo.study.run_benchmarks import benchmark_scores, start_benchmark_scores
from clo.study.session import Session
from clo.study.targets import english_parts, scored_answers
from clo.study.versions import versions

FORMAT = 5
"""Raise it when what is measured changes: kept scores of start models are then made again."""


@dataclass(frozen=True)
class Scores:
    """Of one model, before or after training."""

    answers: dict[str, Any]
    """``{"target": {"all": scores, group: scores, …}, "en": {…}}``; of several targets see `evaluate_targets`."""
    samples: Sequence[dict[str, Any]]
    """Every answer with its scores."""
    square: list[list[float | None]]
    """Per-token log-prob of every cell over held-out items, nats, [prompt][response]; None where no item has it."""
    benchmarks: dict[str, Any]
    """Empty where none is asked for."""
    oracle: dict[str, Any] = field(default_factory=dict)
    """As ``answers``, of the start model asked by ``model.oracle``; empty where that is null."""
    likely: Sequence[Any] = ()
    """The start model's distributions along the English test responses."""


@dataclass(frozen=True)
class Rival:
    """What a user could try in place of training, or after it, by its scores (:mod:`clo.study.rivals`)."""

    name: str
    """As in results.json."""
    asked: dict[str, Any]
    """What it is, of the settings."""
    answers: dict[str, Any]
    """As :attr:`Scores.answers`."""
    samples: Sequence[dict[str, Any]]
    """Every answer with its scores."""


@dataclass(frozen=True)
class Tested:
    """What a trained model is scored on."""

    rows: Sequence[Row]
    """Test rows."""
    held_out: Sequence[Item]
    """Items of the square."""
    likely: Sequence[Any]
    """The start model's distributions along the rows' English responses."""


def start_scores(session: Session, model: Any, rows: Sequence[Row], held_out: Sequence[Item]) -> Scores:
    """Of the start model.

    Args:
        session: the run.
        model: the start model, on its device.
        rows: test rows.
        held_out: items of the square.
    """
    with session.precision():
        key = session.key(model)
        answers, samples, oracle, likely = start_parts(session, model, rows, key)
        square, benchmarks = mean_square(session, model, held_out), start_benchmark_scores(session, model, key)
        return Scores(answers, samples, square, benchmarks, oracle, likely)


def start_parts(
    session: Session, model: Any, rows: Sequence[Row], key: str
) -> tuple[dict[str, Any], Sequence[dict[str, Any]], dict[str, Any], Sequence[Any]]:
    """``answers``, ``samples``, ``oracle`` and ``likely`` of `Scores`; arguments are those of `start_answers`."""
    source = session.run.lang.source
    answers, samples = start_answers(session, model, rows, key)
    likely = likely_along(session.subject(model), in_source(rows, source), source)
    return answers, samples, _oracle(session, model, rows, key), likely


def end_scores(session: Session, model: Any, tested: Tested) -> Scores:
    """Of the trained model, on its device."""
    with session.precision():
        place, rows = session.folder.path, tested.rows
        answers, samples = answer_scores(session, model, rows, "evaluate", trained_stamp(session), place)
        add_divergences(session, model, rows, tested.likely, answers)
        square = mean_square(session, model, tested.held_out)
        return Scores(answers, samples, square, benchmark_scores(session, model))


def add_divergences(
    session: Session, model: Any, rows: Sequence[Row], likely: Sequence[Any], answers: dict[str, Any]
) -> None:
    """Put a trained model's divergence from the start model beside its English scores, see `Tested`."""
    source = session.run.lang.source
    english_rows = in_source(rows, source)
    moved = divergences(session.subject(model), english_rows, source, likely)
    for english, own, values in english_parts(session.run, answers, english_rows, moved):
        add_divergence(english, own, values)


def in_source(rows: Sequence[Row], source: str) -> list[Row]:
    """The rows that exist in the source language: all, but in a mixture of rows that are not parallel."""
    return [row for row in rows if source in row.prompts]


def add_divergence(english: dict[str, Any], rows: Sequence[Row], found: Sequence[float]) -> None:
    """Put the mean divergence from the start model, ``kl``, beside the English scores of every group."""
    for group, scores in english.items():
        values = [value for row, value in zip(rows, found, strict=True) if group in ("all", row.group)]
        scores["kl"] = sum(values) / len(values)


def answer_scores(
    session: Session, model: Any, rows: Sequence[Row], name: str, weights: str, place: Path
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Answers to the test prompts of both languages: (scores, samples as dicts).

    Args:
        session: the run.
        model: on its device.
        rows: test rows.
        name: of the stage, for the progress.
        weights: what tells the model's weights from others.
        place: folder where answers are kept while they are made.
    """
    run = session.run
    content = [FORMAT, weights, run.evaluation.max_tokens, _asked(session, rows)]

    def log(side: str) -> AnswerLog:
        return AnswerLog(place / f"answers-{side}.partial.jsonl", digest_of([side, *content]))

    with stage(session.folder, name) as tick:
        scores, samples = scored_answers(session.subject(model), rows, run, tick, log)
    loops = sum(sample["looped"] is True for sample in samples)
    if loops and session.folder.main:
        print(f"{name}: {loops} of {len(samples)} answers end in a loop, the same tokens again and again", flush=True)
    return scores, samples


def _asked(session: Session, rows: Sequence[Row]) -> list[Any]:
    """What answers depend on beside the model."""
    run = session.run
    further = [[one.code, one.identify.name] for one in run.lang.further]
    asked = [run.lang.code, run.lang.source, run.lang.identify.name, run.evaluation.max_new_tokens, *further]
    told = [(row.id, row.prompts, row.responses, row.gold, row.group, row.task) for row in rows]
    return [asked, session.renderer.identity(), versions(), told]


def _oracle(session: Session, model: Any, rows: Sequence[Row], key: str) -> dict[str, Any]:
    template = session.run.model.oracle
    if template is None:
        return {}
    asking = replace(session, renderer=Renderer(session.renderer.tokenizer, template, session.run.model.end_of_turn))
    answers, _ = start_answers(asking, model, rows, key)
    found: dict[str, Any] = answers
    return found


def start_answers(session: Session, model: Any, rows: Sequence[Row], key: str) -> Any:
    """Scores and samples of a model that no run trained, from the cache, or made and kept.

    Args:
        session: the run.
        model: on its device.
        rows: test rows.
        key: content hash of what its answers depend on beside them, see :meth:`clo.evaluation.subject.Subject.key`.
    """
    digest = digest_of([FORMAT, key, *_asked(session, rows)])
    folder = Path(session.run.cache_dir) / "start"
    kept = folder / f"{digest}.json"
    if (found := session.ranks.mains(lambda: _kept_answers(kept))) is not None:
        return found
    with shared(session.folder, folder / f".{digest}.lock", "the start model's answers"):
        if (found := session.ranks.mains(lambda: _kept_answers(kept))) is not None:  # by the one that was waited for
            return found
        scores, samples = answer_scores(session, model, rows, "evaluate start model", key, folder / digest)
        if session.ranks.rank == 0:
            write_json(kept, {"scores": scores, "samples": samples})
            shutil.rmtree(folder / digest, ignore_errors=True)
    return scores, samples


def _kept_answers(path: Path) -> tuple[Any, Any] | None:
    """Scores and samples of a file; none where it is not there, or broken."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found["scores"], found["samples"]
    except (FileNotFoundError, ValueError, KeyError):
        return None


def trained_stamp(session: Session) -> str:
    """What tells the trained weights of a run's folder from those of another training in it."""
    folder = session.folder.path

    def stamp() -> str:
        files = sorted([*folder.glob("checkpoint/*.safetensors"), *folder.glob("model/*.safetensors")])
        return digest_of([[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files])

    return session.ranks.mains(stamp)


def mean_square(session: Session, model: Any, items: Sequence[Item]) -> list[list[float | None]]:
    """Per-token log-prob of every cell over held-out items, nats, [prompt][response]; None where no item has it."""
    languages = len(items[0].prompts)
    cells = [(i, j) for i in range(languages) for j in range(languages)]
    scores = score_items(model, items, cells, session.run.trainer.budget(), session.ranks)
    mean = scores.S_BLK.double().sum(0) / scores.count_BLK.double().sum(0)
    return [[float(value) if value == value else None for value in row] for row in mean[:, :languages]]
