"""Results of lm-evaluation-harness that lie in the runs, task by task and metric by metric."""

from __future__ import annotations

from typing import Any

from clo.report.collect import Study, as_dict, number
from clo.report.measures import mean_of


def harness_rows(study: Study) -> list[tuple[tuple[Any, ...], int, float, float | None]]:
    """((Task, metric, language, data size, label), runs, mean, half-width) over seeds, sorted by task and metric.

    The half-width is of the 95 % t-interval over seeds, for one run 1.96 standard errors of the harness, else None.
    """
    groups: dict[tuple[Any, ...], list[tuple[float, float | None]]] = {}
    for run in study.runs:
        for task, metrics in run.part("benchmarks", "lm_eval", "results").items():
            for metric, value in as_dict(metrics).items():
                if isinstance(value, int | float) and "_stderr" not in metric:
                    error = number(metrics.get(metric.replace(",", "_stderr,", 1)))
                    key = (str(task), str(metric), run.lang, run.size, run.label)
                    groups.setdefault(key, []).append((value, None if error is None else 1.96 * error))
    rows = []
    for key, values in groups.items():
        mean = mean_of([value for value, _ in values])
        rows.append((key, mean.n, mean.mean, mean.half if mean.n > 1 else values[0][1]))
    return sorted(rows, key=lambda row: row[0][:2])  # runs stay in the order of the study


def harness_notes(study: Study) -> list[str]:
    """Versions, numbers of examples and caveats, each once."""
    told = []
    for found in (run.part("benchmarks", "lm_eval") for run in study.runs):
        if isinstance(found.get("results"), dict):
            places, caveats = as_dict(found.get("shots_from")), found.get("caveats")
            told.append(str(found.get("harness", "lm-eval, version not recorded")))
            for task, n in as_dict(found.get("shots")).items():
                told.append(f"{task}: {n} examples" + (f" from {places[task]}" if places.get(task) else ""))
            told += caveats if isinstance(caveats, list) else []
    return [f"{line}." for line in dict.fromkeys(told)]
