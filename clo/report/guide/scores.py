"""Every score of every run of a mixture, as its results.json has it."""

from __future__ import annotations

from collections.abc import Iterator

from clo.report.collect import as_dict
from clo.report.guide.runs import MixtureRun, Mixtures
from clo.storage.files import csv_text

MEASURES = ("n", "score", "ungated", "right_language")


def scores_csv(mixtures: Mixtures) -> str:
    """One line per run, task and language, before and after training; shares of 0 to 1 in full precision."""
    heads = ["run", "model", "parameters", "method", "mixture", "tasks", "others", "seed", "rows_in_all", "steps"]
    heads += ["when", "task", "language", "rows", *MEASURES]
    return csv_text(heads, (line for run in mixtures.runs for line in _lines(run)))


def _lines(run: MixtureRun) -> Iterator[list[object]]:
    weights, steps = (None if n is None else round(n) for n in (run.parameters, run.steps))
    lead = [run.folder.name, run.model, weights, run.method, run.name, "+".join(run.tasks), run.amount, run.seed]
    for when in ("start", "end"):
        for task, langs in as_dict(run.table.get(when)).items():
            for lang, block in as_dict(langs).items():
                told = [as_dict(block).get(key) for key in MEASURES]
                yield [*lead, run.total, steps, when, task, lang, run.rows.get(task, {}).get(lang, 0), *told]
