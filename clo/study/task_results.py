"""What a mixture's run measures: every task in every language of the run, before and after, each by its own metric."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clo.config.parse import RunConfig
from clo.data.rows import Row
from clo.evaluation.fidelity import LanguageIdentifier
from clo.evaluation.tasks import METRICS, TaskSample, score_tasks, task_table
from clo.storage.files import csv_text

TASKS = "tasks.csv"
"""Every answer with its scores, in a run's folder."""
HEADS = ("when", "task", "lang", "id", "score", "ungated", "right_language", "answer")


@dataclass(frozen=True)
class TaskResults:
    """Of the start model and of the model that is kept."""

    parts: dict[str, Any]
    """``mixture`` and ``tasks`` of results.json."""
    text: str
    """``tasks.csv``."""


def task_results(
    run: RunConfig, rows: Sequence[Row], start: Sequence[dict[str, Any]], end: Sequence[dict[str, Any]], listed: str
) -> TaskResults:
    """Score the answers of a mixture's run by task.

    Args:
        run: with a mixture.
        rows: those that were asked.
        start: the start model's samples, see :func:`clo.study.targets.scored_answers`.
        end: likewise, of the model that is kept.
        listed: hash of the list of trained rows.
    """
    by_end = {"start": _scored(run, rows, start), "end": _scored(run, rows, end)}
    table, codes = run.table(), run.lang.codes()
    seen = [code for code in codes if any(own[code] for own in table.values())]
    mixture = {
        "name": run.mixture.name,
        "tasks": run.mixture.tasks,
        "rows": table,
        "others": run.mixture.others,
        "seen": seen,
        "unseen": [code for code in codes if code not in seen],
        "ids": listed,
    }
    lines = [line for when, samples in by_end.items() for line in _lines(when, samples)]
    tasks = {when: task_table(samples) for when, samples in by_end.items()}
    return TaskResults({"mixture": mixture, "tasks": tasks}, csv_text(HEADS, lines))


def task_results_again(
    run: RunConfig, rows: Sequence[Row], end: Sequence[dict[str, Any]], before: Mapping[str, Any], text: str
) -> TaskResults:
    """Of a finished run whose answers were made again; what the start model had stays.

    Args:
        run: with a mixture.
        rows: those that were asked.
        end: the trained model's samples.
        before: ``results.json`` as it is.
        text: ``tasks.csv`` as it is.
    """
    samples = _scored(run, rows, end)
    stay = [line for line in csv.reader(io.StringIO(text, newline="")) if line[:1] == ["start"]]
    tasks = {**before["tasks"], "end": task_table(samples)}
    parts = {"mixture": before["mixture"], "tasks": tasks}
    return TaskResults(parts, csv_text(HEADS, [*stay, *_lines("end", samples)]))


def _lines(when: str, samples: Sequence[TaskSample]) -> list[list[Any]]:
    return [
        [when, one.task, one.lang, one.id, one.score, one.ungated, int(one.right_language), one.answer]
        for one in samples
    ]


def _scored(run: RunConfig, rows: Sequence[Row], samples: Sequence[Mapping[str, Any]]) -> list[TaskSample]:
    identifier, source = LanguageIdentifier.of_all(run.lang), run.lang.source
    metrics = METRICS | {task.name: task.metric for task in run.tasks.values()}
    answers: dict[tuple[str, str], str] = {}
    for sample in samples:  # the source is asked once, and stands with every target
        answers[source if sample["side"] == "en" else sample["lang"], sample["id"]] = sample["answer"]
    found: list[TaskSample] = []
    for code in run.lang.codes():
        own = [row for row in rows if (code, row.id) in answers]
        found += score_tasks(own, code, [answers[code, row.id] for row in own], identifier, metrics)
    return found
