"""Runs of mixtures: what each trained, and the score of every prompt that it was asked."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from clo.config.identity import MACHINE
from clo.report.collect import Run, Study, Unfinished, as_dict, grouped, number

Scores = Mapping[str, float]
"""Prompt -> points, 0 to 100."""
FILE = "tasks.csv"
_OF_THE_CELL = (*MACHINE, "mixture", "model", "lang", "data_size", "seed", "method.name", "study_name")
"""What a run's cell, language or machine says, and no variant of a method."""


@dataclass(frozen=True)
class MixtureRun:
    """One finished run of a mixture."""

    folder: Path
    model: str
    method: str
    """With the settings by which runs of one cell differ, where some do."""
    seed: int
    name: str
    """Of the mixture."""
    tasks: tuple[str, ...]
    amount: int
    """Rows of each task in each other language than the source that it trains."""
    rows: Mapping[str, Mapping[str, int]]
    """Task -> language -> rows."""
    items: int
    source: str
    steps: float | None
    parameters: float | None
    ends: Mapping[tuple[str, str], Scores] = field(default_factory=dict)
    """(task, language) -> scores after training; the language must be right for a point."""
    starts: Mapping[tuple[str, str], Scores] = field(default_factory=dict)
    table: Mapping[str, Any] = field(default_factory=dict)
    """The part ``tasks`` of results.json."""

    @property
    def arm(self) -> Arm:
        """What it shares with runs of other amounts and seeds."""
        return Arm(self.model, self.method, self.name, self.tasks)


@dataclass(frozen=True, order=True)
class Arm:
    """Runs that differ in the amount of rows and in the seed alone."""

    model: str
    method: str
    name: str
    tasks: tuple[str, ...]

    @property
    def label(self) -> str:
        """The mixture in words, such as ``guide_joint (3 tasks)``."""
        return f"{self.name} ({len(self.tasks)} tasks)" if self.joint else self.name

    @property
    def joint(self) -> bool:
        """Whether several tasks train together."""
        return len(self.tasks) > 1


@dataclass(frozen=True)
class Mixtures:
    """All runs of mixtures of a study."""

    runs: list[MixtureRun]
    left_out: list[Unfinished] = field(default_factory=list)

    @cached_property
    def arms(self) -> dict[Arm, list[MixtureRun]]:
        """Every arm with its runs by amount and seed, small models first."""
        order = {model: place for place, model in enumerate(self.models)}
        ordered = sorted(self.runs, key=lambda r: (order[r.model], r.method, r.name, r.tasks, r.amount, r.seed))
        return grouped(ordered, lambda run: run.arm)

    @cached_property
    def models(self) -> list[str]:
        """From the smallest on, by the weights that the runs recorded."""
        sizes = {run.model: run.parameters or 0.0 for run in self.runs}
        return sorted(sizes, key=lambda model: (sizes[model], model))

    @property
    def methods(self) -> list[str]:
        """SFT, which is the paper's, first."""
        return sorted({run.method for run in self.runs}, key=lambda method: (not method.startswith("sft"), method))

    @property
    def tasks(self) -> list[str]:
        """Those that any run trains."""
        return sorted({task for run in self.runs for task in run.tasks})

    @cached_property
    def languages(self) -> list[str]:
        """Those that any run was asked in."""
        return sorted({lang for run in self.runs for _, lang in run.ends})

    @property
    def source(self) -> str:
        """The language whose rows stay fixed."""
        return self.runs[0].source

    def seen(self, arm: Arm, task: str) -> list[str]:
        """Languages beside the source with rows of the task in any run of the arm: without rows they are seen later."""
        own = {code for run in self.arms[arm] for code, n in run.rows.get(task, {}).items() if n}
        return sorted(own - {self.source})

    def unseen(self, arm: Arm, task: str) -> list[str]:
        """Languages that the arm's runs were asked in and never train on."""
        asked = {lang for run in self.arms[arm] for one, lang in run.ends if one == task}
        return sorted(asked - {*self.seen(arm, task), self.source})


def read_mixtures(study: Study) -> Mixtures:
    """The runs of a study whose results name a mixture; one whose scores cannot be read is told with its reason."""
    found, left_out = [], []
    homes = {run.home: run for run in study.runs if as_dict(run.results.get("mixture"))}
    for home, run in homes.items():
        try:
            found.append((_read(home, run), run.config))
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            left_out.append(Unfinished(home, "broken", str(error)))
    return Mixtures(_with_variants(found), left_out)


def _read(home: Path, run: Run) -> MixtureRun:
    told = run.part("mixture")
    source = run.config.get("lang.source", "en")
    rows = {task: {code: int(n) for code, n in own.items()} for task, own in told["rows"].items()}
    others = told.get("others")
    if not isinstance(others, int):
        others = max((n for own in rows.values() for code, n in own.items() if code != source), default=0)
    if not (home / FILE).is_file():
        raise ValueError(f"{FILE} is missing; `clo train` writes it at the end of a run of a mixture")
    ends, starts = read_scores(home / FILE)
    count = number(run.results.get("parameters")) or number(run.part("train").get("parameters"))
    return MixtureRun(
        folder=home,
        model=str(run.results.get("model", "")),
        method=run.method,
        seed=run.seed,
        name=str(told["name"]),
        tasks=tuple(map(str, told["tasks"])),
        amount=others,
        rows=rows,
        items=int(told["items"]),
        source=source,
        steps=run.steps,
        parameters=count,
        ends=ends,
        starts=starts,
        table=run.part("tasks"),
    )


def read_scores(path: Path) -> tuple[dict[tuple[str, str], Scores], dict[tuple[str, str], Scores]]:
    """Scores by prompt after training and before, by (task, language), in points.

    Raises:
        ValueError: a column is missing, or a score is no number.
    """
    found: dict[str, dict[tuple[str, str], dict[str, float]]] = {"end": {}, "start": {}}
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        heads = next(lines, [])
        if missing := {"when", "task", "lang", "id", "score"} - set(heads):
            raise ValueError(f"{path.name} lacks the column {', '.join(sorted(missing))}")
        when, task, lang, key, score = (heads.index(name) for name in ("when", "task", "lang", "id", "score"))
        for line in lines:
            own = found[line[when]].setdefault((line[task], line[lang]), {})
            own[line[key]] = 100 * float(line[score])
    return dict(found["end"]), dict(found["start"])


def _with_variants(found: Sequence[tuple[MixtureRun, Mapping[str, str]]]) -> list[MixtureRun]:
    """The runs, with what else differs told in the method wherever two of one cell and seed would be taken for one."""
    cells = grouped(found, lambda one: (one[0].arm, one[0].amount, one[0].seed)).values()
    keys = sorted({key for own in cells for key in _differing([config for _, config in own])})
    if not keys:
        return [run for run, _ in found]
    return [
        replace(run, method=f"{run.method} ({', '.join(f'{key}={config.get(key)}' for key in keys)})")
        for run, config in found
    ]


def _differing(configs: Sequence[Mapping[str, str]]) -> Iterable[str]:
    outside = tuple(f"{name}." for name in _OF_THE_CELL)
    keys = {key for config in configs for key in config if not f"{key}.".startswith(outside)}
    return (key for key in keys if len({config.get(key) for config in configs}) > 1)
