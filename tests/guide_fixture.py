"""Run folders of a study of mixtures that never ran, in the format of real runs, with a truth planted in them.

The truth, in points: what a model scores after English alone, what rows of other languages add and after how many rows
95 % of the peak is reached, the gap of unseen languages, what other tasks beside it cost, and what scripts do.
"""

from __future__ import annotations

import csv
import json
import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from clo.report.collect import collect
from clo.report.guide.find import Guide, find_guide

NAMES = {"zh": "Chinese", "de": "German", "sw": "Swahili", "ko": "Korean", "id": "Indonesian", "yo": "Yoruba"}
MODELS = ("tasks_s", "tasks_m", "tasks_l")
TASKS = ("facts", "maths", "summaries")
AMOUNTS = (0, 25, 100, 400, 1600)
HEADS = ["when", "task", "lang", "id", "score", "ungated", "right_language", "answer"]
ENGLISH = 400
LATIN = ("en", "de", "id", "sw", "yo")
PARAMETERS = {"tasks_s": 400_000, "tasks_m": 1_300_000, "tasks_l": 5_000_000}
PEAKS = {"facts": 50.0, "maths": 40.0, "summaries": 45.0}
GAIN = {"tasks_s": 20.0, "tasks_m": 12.0, "tasks_l": 0.5}
"""What rows of other languages add from none to where it is flat."""
FLAT = {"facts": 25, "maths": 400, "summaries": 25}
"""Rows per language at which it is flat."""
GAP = {"tasks_s": 15.0, "tasks_m": 10.0, "tasks_l": 4.0}
SCRIPT = 6.0
"""What rows in other scripts add to languages of other scripts in the two tasks of words, and, halved, Latin rows alone
to maths; at the smallest size, at others as much less as their gain is."""
JOINT_COST = 0.08
"""Of maths, at the smallest size."""


@dataclass(frozen=True)
class Mixture:
    """Which languages and tasks train."""

    name: str = "guide_single"
    seen: tuple[str, ...] = ("zh", "de", "sw")
    tasks: tuple[str, ...] = ("facts",)


@dataclass(frozen=True)
class Grid:
    """The runs of a study."""

    models: tuple[str, ...] = MODELS
    mixtures: tuple[Mixture, ...] = field(
        default_factory=lambda: (*(Mixture(tasks=(task,)) for task in TASKS), Mixture("guide_joint", tasks=TASKS))
    )
    amounts: tuple[int, ...] = AMOUNTS
    seeds: int = 3
    methods: tuple[str, ...] = ("sft",)
    prompts: int = 40
    noise: float = 0.6
    """Standard deviation of a seed, points."""


SCRIPTS = tuple(
    Mixture(name, seen, (task,)) for name, seen in (("latin_only", ("de", "id")), ("non_latin", ("zh", "ko")))
    for task in TASKS
)  # fmt: skip
SMALL = Grid(("tasks_s",), (Mixture(),), (0, 25, 400), 2, prompts=8)


def level(model: str, mixture: Mixture, task: str, lang: str, amount: int) -> float:
    """The planted mean score of a cell, in points."""
    from math import log2

    part = min(1.0, log2(amount + 1) / log2(FLAT[task] + 1))
    seen = {*mixture.seen, "en"}
    away = model == "tasks_l" and lang not in seen  # at the largest size unseen languages do not follow the seen ones
    found = PEAKS[task] - GAIN[model] * (part if away else 1 - part)
    found -= 0.0 if lang in seen else GAP[model]
    if len(mixture.tasks) > 1 and task == "maths" and model == "tasks_s":
        found *= 1 - JOINT_COST
    only_latin = seen <= set(LATIN)
    script = SCRIPT * GAIN[model] / GAIN["tasks_s"]
    if amount and task == "maths":
        found += script / 2 if only_latin else 0.0
    elif amount and lang not in LATIN:
        found += 0.0 if only_latin else script
    return found


def write_guide(folder: Path, grid: Grid | None = None) -> Path:
    """Write ``folder`` (``outputs/<study>``) with a run per cell and seed; returns it."""
    grid = grid or Grid()
    for model in grid.models:
        for mixture in grid.mixtures:
            for amount in grid.amounts:
                for method in grid.methods:
                    for seed in range(grid.seeds):
                        write_mixture_run(folder, (model, method), mixture, (amount, seed), grid)
    return folder


def write_mixture_run(
    folder: Path, of: tuple[str, str], mixture: Mixture, at: tuple[int, int], grid: Grid | None = None
) -> Path:
    """Write one finished run.

    Args:
        folder: of the study.
        of: model and method.
        mixture: what trains.
        at: rows of each other language, and the seed.
        grid: prompts and noise.
    """
    (model, method), (amount, seed), grid = of, at, grid or Grid()
    name = f"{method}-{model}-{mixture.name}-{'+'.join(mixture.tasks)}-{amount}-s{seed}"
    path = folder / f"{name}-{zlib.crc32(name.encode()):08x}"
    path.mkdir(parents=True)
    own = {"en": ENGLISH, **{code: amount if code in mixture.seen else 0 for code in NAMES}}
    rows = {task: own for task in mixture.tasks}
    items = sum(sum(one.values()) for one in rows.values())
    told = {
        "name": mixture.name, "tasks": list(mixture.tasks), "rows": rows, "others": amount, "ids": name,
        "seen": [code for code, n in own.items() if n], "unseen": [code for code, n in own.items() if not n],
    }  # fmt: skip
    table, lines = _answers((model, mixture, amount, seed), grid)
    results = {
        "run": path.name, "study": folder.name, "model": model, "lang": "+".join(NAMES),
        "lang_name": ", ".join(NAMES.values()), "method": method, "tuning": "full", "data": "tasks",
        "data_size": items, "seed": seed, "assumed": {"beta": 0.1}, "mixture": told, "tasks": table,
        "targets": {code: {"lang_name": NAMES[code], "data_size": own[code]} for code in NAMES},
        "scores": _several(0.6), "start": _several(0.2), "parameters": PARAMETERS[model],
        "train": {"seconds": 5.0, "steps": max(1, items // 16), "parameters": PARAMETERS[model], "trainable": 1},
        "versions": {"clo": "0.1.0"},
    }  # fmt: skip
    (path / "config.yaml").write_text(yaml.safe_dump(_config(folder.name, of, mixture, at)), encoding="utf-8")
    (path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    (path / "status.json").write_text(json.dumps({"state": "done"}), encoding="utf-8")
    with (path / "tasks.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADS, *lines])
    for code in NAMES:
        inside = path / f"{path.name}.{code}"
        inside.mkdir()
        sample = {"id": "facts.0", "group": "", "side": "target", "prompt": "p", "reference": "r", "answer": "a"}
        sample |= {"verdict": "target", "exact": False, "chrf": 50.0 + seed}
        (inside / "samples.jsonl").write_text(json.dumps(sample) + "\n", encoding="utf-8")
    return path


def _answers(of: tuple[str, Mixture, int, int], grid: Grid) -> tuple[dict[str, Any], list[list[Any]]]:
    """The part ``tasks`` of results.json, and the lines of tasks.csv."""
    model, mixture, amount, seed = of
    lines: list[list[Any]] = []
    table: dict[str, Any] = {"start": {}, "end": {}}
    drift = random.Random(f"{model} {mixture} {amount} {seed}").gauss(0, grid.noise)
    for task in mixture.tasks:
        for code in ("en", *NAMES):
            own_drift = drift + random.Random(f"{model} {mixture} {amount} {seed} {task} {code}").gauss(0, grid.noise)
            for when in ("start", "end"):
                mean = 5.0 if when == "start" else level(model, mixture, task, code, amount) + own_drift
                scores = [(mean + hard) / 100 for hard in difficulties(task, grid.prompts)]
                own = [
                    [when, task, code, f"{task}.{k:05d}", one, one, 1, "=SUM(A1), a"] for k, one in enumerate(scores)
                ]
                lines += own
                share = sum(scores) / len(scores)
                one = {"n": len(scores), "score": share, "ungated": share, "right_language": 1.0}
                table[when].setdefault(task, {})[code] = one
    return table, lines


@cache
def difficulties(task: str, prompts: int) -> list[float]:
    """How much easier than the mean each prompt is, points; they sum to 0."""
    found = [random.Random(f"{task} {k}").gauss(0, 4) for k in range(prompts)]
    return [one - sum(found) / prompts for one in found]


def _several(share: float) -> dict[str, Any]:
    def side() -> dict[str, Any]:
        block = {"n": 8, "exact": share, "chrf": 100 * share, "content": share, "language_ok": share}
        return {"all": block, "seen": block, "unseen": block}

    both = {"target": side(), "en": side()}
    confusion = {code: {other: int(other == code) for other in ("en", *NAMES)} for code in ("en", *NAMES)}
    return {**both, "targets": {code: both for code in NAMES}, "confusion": confusion}


def _config(study: str, of: tuple[str, str], mixture: Mixture, at: tuple[int, int]) -> Mapping[str, Any]:
    (model, method), (amount, seed) = of, at
    first, *further = NAMES
    return {
        "model": {"name": model, "path": model},
        "lang": {"code": first, "name": NAMES[first], "source": "en", "tier": "high",
                 "further": [{"code": code, "name": NAMES[code]} for code in further]},
        "method": {"name": method, "lam": 1.0 if method == "sft" else 0.5, "beta": 0.1, "steps": None, "lr": 0.001},
        "tuning": {"name": "full", "trains": "full", "lora": None},
        "data": {"name": "tasks", "targets": "apart"},
        "mixture": {"name": mixture.name, "tasks": list(mixture.tasks), "source": ENGLISH, "others": amount,
                    "seen": list(mixture.seen), "rows": None},
        "trainer": {"threads": 1, "keep": "best"}, "data_size": 400, "seed": seed, "batch_size": 16,
        "study_name": study,
    }  # fmt: skip


def add_mixture(path: Path, words: str) -> None:
    """Make a finished run of any kind one of a mixture whose names of tasks, languages and prompts are ``words``."""
    results = json.loads((path / "results.json").read_text(encoding="utf-8"))
    mixture = {"name": words, "tasks": [words], "rows": {words: {"en": 5, words: 3}}, "others": 3}
    block = {"n": 2, "score": 0.5, "ungated": 0.5, "right_language": 1.0}
    table = {when: {words: {lang: block for lang in ("en", words, "sw")}} for when in ("start", "end")}
    results |= {"mixture": mixture, "tasks": table}
    (path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    lines = [
        [when, words, lang, f"{words}{k}", 0.25 * (k + 1 + (when == "end")), 1, 1, words]
        for when in ("start", "end")
        for lang in ("en", words, "sw")
        for k in range(2)
    ]
    with (path / "tasks.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADS, *lines])


def with_scripts(grid: Grid) -> Grid:
    """The grid with mixtures of one kind of script beside its own."""
    return replace(grid, mixtures=(*grid.mixtures, *SCRIPTS))


def files_of(folder: Path) -> Sequence[Path]:
    """The run folders of a study."""
    return sorted(path.parent for path in folder.glob("*/results.json"))


JOINT = Mixture("guide_joint", tasks=TASKS)


def guide_of(folder: Path) -> Guide:
    """What the report finds in a study that was written here."""
    found = find_guide(collect(folder.name, folder.parent))
    assert found is not None
    return found
