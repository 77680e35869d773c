"""Runs of mixtures: what each trained, and the score of every prompt that it was asked."""

from __future__ import annotations

import csv
import re
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
_OF_THE_CELL = (
    *(*MACHINE, "mixture", "model", "lang", "data_size", "seed", "study_name"),
    *("method.name", "method.steps"),
)
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
    """Of the mixture, with what tells it from others of that name."""
    tasks: tuple[str, ...]
    amount: int
    """Rows of each task in each other language than the source that it trains."""
    rows: Mapping[str, Mapping[str, int]]
    """Task -> language -> rows."""
    trained: tuple[str, ...]
    """Other languages than the source that its mixture trains, at any amount."""
    fixed_steps: str
    """Optimizer steps that were asked for; ``null`` goes by epochs."""
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

    @property
    def total(self) -> int:
        """Rows of all tasks and languages together."""
        return sum(n for own in self.rows.values() for n in own.values())

    @property
    def regular(self) -> bool:
        """Whether every language that trains has the same rows of every task, and the source its own number."""
        others = {self.rows[task].get(code, 0) for task in self.rows for code in self.trained}
        return others <= {self.amount} and len({own.get(self.source, 0) for own in self.rows.values()}) == 1

    def facets(self) -> tuple[str, ...]:
        """What mixtures of one name may differ in, in words."""
        english = sorted({own.get(self.source, 0) for own in self.rows.values()})
        steps = "steps by epochs" if self.fixed_steps == "null" else f"{self.fixed_steps} steps"
        given = "" if self.regular else "; ".join(f"{task}: {text}" for task, text in rows_text(self.rows).items())
        own = " ".join(sorted(self.trained)) or f"{self.source} alone"
        return own, f"{' and '.join(map(str, english))} rows of {self.source}", steps, given


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
        """Languages beside the source that the arm trains: at no rows they are not seen yet, but at others."""
        with_rows = {code for run in self.arms[arm] for code, n in run.rows.get(task, {}).items() if n}
        return sorted({*self.arms[arm][0].trained, *with_rows} - {self.source})

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
    return Mixtures(_told_apart(found), left_out)


def _read(home: Path, run: Run) -> MixtureRun:
    told = run.part("mixture")
    source = run.config.get("lang.source", "en")
    rows = {str(task): {str(code): int(n) for code, n in own.items()} for task, own in told["rows"].items()}
    others = {code: max(own.get(code, 0) for own in rows.values()) for own in rows.values() for code in own}
    del others[source]
    amount = told.get("others")
    if not isinstance(amount, int) or (any(others.values()) and amount not in others.values()):
        amount = max(others.values(), default=0)
    if not (home / FILE).is_file():
        raise ValueError(f"{FILE} is missing; `clo train` writes it at the end of a run of a mixture")
    ends, starts = read_scores(home / FILE)
    named = re.findall(r"[\w-]+", run.config.get("mixture.seen", ""))
    count = number(run.results.get("parameters")) or number(run.part("train").get("parameters"))
    return MixtureRun(
        folder=home,
        model=str(run.results.get("model", "")),
        method=run.method,
        seed=run.seed,
        name=str(told["name"]),
        tasks=tuple(map(str, told["tasks"])),
        amount=amount,
        rows=rows,
        trained=tuple(sorted(named or {code for code, n in others.items() if n} or others)),
        fixed_steps=run.config.get("method.steps", "null"),
        source=source,
        steps=run.steps,
        parameters=count,
        ends=ends,
        starts=starts,
        table=run.part("tasks"),
    )


def rows_text(rows: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """Task -> such as ``en 400, de sw zh 100 each``; languages without rows are left out."""
    found = {}
    for task, own in rows.items():
        by = grouped(((code, n) for code, n in own.items() if n), lambda one: one[1])
        parts = [
            f"{' '.join(code for code, _ in same)} {n:,}{' each' if len(same) > 1 else ''}" for n, same in by.items()
        ]
        found[task] = ", ".join(parts)
    return found


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


def _told_apart(found: Sequence[tuple[MixtureRun, Mapping[str, str]]]) -> list[MixtureRun]:
    """The runs, each cell and seed once: what mixtures of one name differ in stands in it, all else in the method."""
    named = list(zip(_named([run for run, _ in found]), [config for _, config in found], strict=True))
    cells = grouped(named, lambda one: (one[0].arm, one[0].amount, one[0].seed)).values()
    keys = sorted({key for own in cells for key in _differing([config for _, config in own])})
    if not keys:
        return [run for run, _ in named]
    return [
        replace(run, method=f"{run.method} ({', '.join(f'{key}={config.get(key)}' for key in keys)})")
        for run, config in named
    ]


def _named(runs: Sequence[MixtureRun]) -> list[MixtureRun]:
    """The runs, each facet in their names that varies among runs of one name, those tasks and a model."""
    varying: dict[tuple[str, tuple[str, ...]], set[int]] = {}
    for (name, tasks, _), own in grouped(runs, lambda run: (run.name, run.tasks, run.model)).items():
        facets = list(zip(*(run.facets() for run in own), strict=True))
        varying.setdefault((name, tasks), set()).update(k for k, told in enumerate(facets) if len(set(told)) > 1)
    return [
        replace(
            run,
            name=", ".join(filter(None, [run.name, *(run.facets()[k] for k in sorted(varying[run.name, run.tasks]))])),
        )
        for run in runs
    ]


def _differing(configs: Sequence[Mapping[str, str]]) -> Iterable[str]:
    outside = tuple(f"{name}." for name in _OF_THE_CELL)
    keys = {key for config in configs for key in config if not f"{key}.".startswith(outside)}
    return (key for key in keys if len({config.get(key) for config in configs}) > 1)
