"""Runs with several targets: what they measure of each, and where it lies.

Every target has what a run of it alone has: scores of its prompts and of the English ones, and a folder
``<run>/<run>.<code>/`` with its samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clo.config.parse import RunConfig
from clo.data.rows import Row
from clo.errors import UserError
from clo.evaluation.answer_log import AnswerLog
from clo.evaluation.evaluate import evaluate
from clo.evaluation.generate import Progress
from clo.evaluation.several import evaluate_targets
from clo.evaluation.subject import Subject
from clo.storage.files import read_object
from clo.storage.jsonl import lines_of
from clo.storage.several import target_folder

Log = Callable[[str], AnswerLog]


def scored_answers(
    subject: Subject, rows: Sequence[Row], run: RunConfig, progress: Progress, log: Log
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Scores and samples of a model's answers; of several targets, each sample says whose it is (``lang``).

    Args:
        subject: the model.
        rows: test rows.
        run: names the languages.
        progress: called with (answers so far, answers in all).
        log: where the answers of a side, or in a language, are kept while they are made.
    """
    if not run.lang.further:
        scores, samples = evaluate(subject, rows, run.lang, run.evaluation, progress, log)
        return scores, [asdict(sample) for sample in samples]
    scores, by_target = evaluate_targets(subject, rows, run.lang, run.evaluation, progress, log)
    return scores, [{"lang": code, **asdict(sample)} for code, own in by_target.items() for sample in own]


def by_target(scores: Mapping[str, Any], codes: Sequence[str]) -> dict[str, Any]:
    """Code of a target -> its ``{"target": …, "en": …}``, of a part of results.json.

    Args:
        scores: of one target, or as `scored_answers` gives them of several.
        codes: of the run's targets.
    """
    return dict(scores["targets"]) if len(codes) > 1 else {codes[0]: scores}


def english_parts(
    run: RunConfig, scores: Mapping[str, Any], rows: Sequence[Row], values: Sequence[float]
) -> Iterator[tuple[dict[str, Any], list[Row], list[float]]]:
    """English scores of each target, the rows that they are of, and of all rows' values those of these rows.

    Args:
        run: names the targets.
        scores: of all of them.
        rows: those that exist in the source language.
        values: one for each row.
    """
    codes = run.lang.codes()[1:]
    for code, own in by_target(scores, codes).items():
        pairs = list(zip(rows, values, strict=True))
        there = [(row, value) for row, value in pairs if code in row.prompts] or pairs  # as `evaluate_targets` has them
        yield own["en"], [row for row, _ in there], [value for _, value in there]


def paired_folders(run: Path, against: Path) -> list[tuple[Path, Path]]:
    """Folders with samples of two runs: the runs' own, or of each target that both have where one has several.

    Raises:
        UserError: they share no target.
    """
    ours, theirs = _sample_folders(run), _sample_folders(against)
    if len(ours) == len(theirs) == 1:
        return [(*ours.values(), *theirs.values())]  # type: ignore[list-item]
    shared = [(ours[code], theirs[code]) for code in ours if code in theirs]
    if not shared:
        raise UserError(f"{run} and {against} share no target; compare runs of one language")
    return shared


def _sample_folders(run: Path) -> dict[str, Path]:
    """Code of a target -> the folder with its samples; without a code where the folder has no results."""
    try:
        results = read_object(run / "results.json")
    except (OSError, ValueError):
        return {"": run}
    targets = results.get("targets")
    several = {code: target_folder(run, code) for code in targets} if isinstance(targets, dict) else {}
    return several or {str(results.get("lang")): run}


def sample_files(
    run: RunConfig, folder: Path, name: str, samples: Sequence[Mapping[str, Any]]
) -> dict[Path, list[dict[str, Any]]]:
    """Files of samples and what they hold: one, or one for each of several targets."""
    if not run.lang.further:
        return {folder / name: [dict(sample) for sample in samples]}
    return {
        target_folder(folder, code) / name: [
            {key: value for key, value in sample.items() if key != "lang"}
            for sample in samples
            if sample["lang"] == code
        ]
        for code in run.lang.codes()[1:]
    }


def read_sample_files(run: RunConfig, folder: Path, name: str) -> list[dict[str, Any]]:
    """What `sample_files` wrote: of several targets each sample says whose it is (``lang``).

    Nothing where a file is missing or has a line that is none.
    """
    places = {code: target_folder(folder, code) for code in run.lang.codes()[1:]} if run.lang.further else {"": folder}
    found = {code: list(lines_of(place / name)) for code, place in places.items()}
    if not all(own and all(own) for own in found.values()):
        return []
    return [{**({"lang": code} if code else {}), **(one or {})} for code, own in found.items() for one in own]
