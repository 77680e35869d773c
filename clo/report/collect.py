"""Read the run folders of one study; a broken folder is told with its reason and never stops the report."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

from clo.errors import UserError
from clo.report.arms import FAMILIES, family, tuning, whole
from clo.report.formats import SIDES
from clo.report.labels import Arm, arms
from clo.report.targets import by_target
from clo.storage.jsonl import read_lines
from clo.storage.run_folder import RunFolder
from clo.storage.several import target_folder

T = TypeVar("T")
MOST_METHODS = 6
"""Methods shown at most where single runs are; more do not fit a page."""


@dataclass(frozen=True)
class Run:
    """One finished run."""

    folder: Path
    results: dict[str, Any]
    config: dict[str, str]
    """Dotted key of config.yaml -> value as text."""
    lang: str
    """Code of the target language."""
    size: int
    """Training items."""
    method: str
    seed: int
    arm: Arm = field(default_factory=Arm)
    """What tells this run from others of the study, but for language, size and seed."""
    within: Path | None = None
    """Folder of the run with several targets that this is one of."""

    @property
    def home(self) -> Path:
        """The folder of the training that it is of: its configuration, metrics and model."""
        return self.within or self.folder

    @property
    def targets(self) -> int:
        """Targets that were trained together."""
        return len(as_dict(self.results.get("targets"))) or 1

    @property
    def lang_name(self) -> str:
        """Name of the language, or its code where there is none."""
        return str(self.results.get("lang_name") or self.lang)

    @property
    def label(self) -> str:
        """The arm in words, such as ``CLO (λ .3), attention``."""
        return self.arm.label

    def named(self, word: str) -> bool:
        """Whether a word of the user's means this run: its method's name, or its label."""
        return word in (self.method, self.label)

    @property
    def base(self) -> tuple[str, str]:
        """Model and data: runs that share them share a start model and a test set."""
        return str(self.results.get("model", "")), str(self.results.get("data", ""))

    @property
    def steps(self) -> float | None:
        """Optimizer steps that it trained for, both stages together, as it recorded them."""
        return number(self.part("train").get("steps"))

    @property
    def batch(self) -> str | None:
        """Items per optimizer step, as recorded."""
        return self.config.get("batch_size")

    @property
    def recorded(self) -> dict[str, str]:
        """The configuration with what older records lack."""
        return whole(self.method, str(self.results.get("tuning", "")), self.config)

    def likeness(self, other: Run) -> tuple[bool, bool]:
        """Whether both train the same weights, and for as many steps: the larger, the fairer they are compared.

        Runs with different targets train other things, whatever their weights.
        """
        same = self.targets == other.targets and tuning(self.recorded) == tuning(other.recorded)
        return same, self.steps == other.steps

    def score(self, side: str, key: str, group: str = "all", when: str = "scores") -> float | None:
        """One number of results.json, None where it is absent, null or not finite.

        ``when`` is a key of results.json (``scores``, ``start``, ``oracle``), or several, one in another, with slashes
        between them (``last/scores``, ``rivals/prompted``).
        """
        block = self.part(*when.split("/"))
        return number(as_dict(block.get(side)).get(group, {}).get(key))

    def part(self, *keys: str) -> dict[str, Any]:
        """What results.json has under a key, and further ones in it; empty where that is missing or no object."""
        return reduce(lambda found, key: as_dict(found.get(key)), keys, self.results)

    def square(self) -> dict[str, Any]:
        """The squares before and after, or nothing where one of them is missing or no matrix of numbers."""
        found = self.part("square")
        size = len(found.get("languages") or ())
        for matrix in (found.get("before"), found.get("after")):
            if not isinstance(matrix, list) or len(matrix) != size:
                return {}
            if not all(len(line) == size and all(isinstance(v, int | float) for v in line) for line in matrix):
                return {}
        return found

    def samples(self, name: str = "samples.jsonl") -> list[dict[str, Any]]:
        """Generated test answers of the run, or of its start model (``start_samples.jsonl``)."""
        return read_lines(self.folder / name)


@dataclass(frozen=True)
class Unfinished:
    """A folder without usable results, and why."""

    folder: Path
    state: str
    """failed, running, queued (all such cells as one), broken, or what status.json says."""
    reason: str

    def __str__(self) -> str:
        return f"{self.folder.name}, {self.state}: {self.reason}"


@dataclass(frozen=True)
class Study:
    """All runs of ``outputs/<name>``."""

    name: str
    folder: Path
    runs: list[Run]
    unfinished: list[Unfinished] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    """Settings that all arms which read them have in common, in words."""

    @property
    def langs(self) -> list[str]:
        """Target languages, sorted by code."""
        return sorted({run.lang for run in self.runs})

    @property
    def labels(self) -> list[str]:
        """Labels of the runs in the order of the tables."""
        return list(dict.fromkeys(run.label for run in sorted(self.runs, key=sort_key)))

    def exemplars(self, lang: str) -> list[Run]:
        """One run per label for what shows single runs: first seed, at the largest size that most labels have."""
        runs = reversed(sorted((run for run in self.runs if run.lang == lang), key=lambda run: run.seed))
        firsts = {size: {run.label: run for run in own} for size, own in grouped(runs, lambda run: run.size).items()}
        shown = firsts[max(firsts, key=lambda size: (len(firsts[size]), size))]
        return [shown[label] for label in self.labels if label in shown]


def as_dict(value: object) -> dict[str, Any]:
    """The value where it is a dictionary, else an empty one: files of runs may hold anything."""
    return value if isinstance(value, dict) else {}


def number(value: Any) -> float | None:
    """The value where it is a finite number, else None."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and math.isfinite(value) else None


def grouped(items: Iterable[T], key: Callable[[T], Any]) -> dict[Any, list[T]]:
    """Items by their key, in the order of the first of each."""
    groups: dict[Any, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def nearest(run: Run, rivals: Sequence[Run]) -> list[Run]:
    """Those among the rivals that are most like the run in what trains and for how many steps."""
    likeness = [run.likeness(rival) for rival in rivals]
    return [rival for rival, like in zip(rivals, likeness, strict=True) if like == max(likeness)]


def sort_key(run: Run) -> tuple[Any, ...]:
    """Language, size, objective in the order of FAMILIES, then what trains and settings by value, then seed."""
    order, method = list(FAMILIES), family(run.arm.name)
    rank = order.index(method) if method in order else len(order)
    return run.lang, run.size, rank, run.arm.name, run.arm.order, run.seed


def collect(name: str, output_dir: str | Path = "outputs") -> Study:
    """Read a study.

    Raises:
        UserError: the study's folder does not exist, or none of its runs has finished.
    """
    root = Path(output_dir)
    folder = root / name
    if not name or not folder.is_dir():
        there = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
        studies = f"studies there: {', '.join(there)}" if there else "there are no studies yet"
        raise UserError(f"study={name}: no folder {folder}; {studies}; set study= or output_dir=")
    files = ("status.json", "config.yaml", "results.json")
    folders = [p for p in sorted(folder.iterdir()) if p.is_dir() and any((p / file).is_file() for file in files)]
    queued = {path for path in folders if RunFolder(path).state() == "queued"}
    found = [one for path in folders if path not in queued for one in _read_folder(path)]
    runs = [one for one in found if isinstance(one, Run)]
    unfinished = [one for one in found if isinstance(one, Unfinished)]
    if queued:
        unfinished.append(Unfinished(folder, "queued", f"{len(queued)} cells that nobody has begun"))
    if not runs:
        states = ", ".join(f"{u.folder.name} ({u.state}: {u.reason})" for u in unfinished) or "no run folders"
        raise UserError(f"study={name}: no finished run in {folder}, only {states}; start or resume one")
    own, shared = arms([(run.method, str(run.results.get("tuning", "")), run.lang, run.config) for run in runs])
    labelled = [replace(run, arm=arm) for run, arm in zip(runs, own, strict=True)]
    return Study(name, folder, sorted(labelled, key=sort_key), unfinished, shared)


def _read_folder(path: Path) -> Sequence[Run | Unfinished]:
    try:
        status = _json_object(path / "status.json")
        state = status.get("state")
        if state == "failed":
            return [Unfinished(path, "failed", str(status.get("error") or "no error was recorded"))]
        if state != "done":
            place = f"stage {status.get('stage')}, step {status.get('step')} of {status.get('total_steps')}"
            place += f", {RunFolder(path).holder() or 'nobody'} works on it"
            return [Unfinished(path, "running" if state == "running" else f"state {state!r}", place)]
        results = _json_object(path / "results.json")
        config = _read_config(path / "config.yaml") | as_dict(results.get("asked"))  # of an evaluation of other prompts
        if "targets" not in results:
            return [_run(path, results, config, None)]
        return [_run(target_folder(path, code), own, config, path) for code, own in by_target(results).items()]
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        return [Unfinished(path, "broken", str(error))]


def _run(folder: Path, results: dict[str, Any], config: dict[str, str], within: Path | None) -> Run:
    _check_results(results)
    size, seed = int(results["data_size"]), int(results["seed"])
    return Run(folder, results, config, str(results["lang"]), size, str(results["method"]), seed, within=within)


def _json_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} holds no JSON object")
    return value


def _check_results(results: Mapping[str, Any]) -> None:
    for key in ("lang", "method", "data_size", "seed", "scores", "start"):
        if key not in results:
            raise ValueError(f"results.json lacks {key}")
    for when in ("scores", "start"):
        for side in SIDES:
            groups = as_dict(as_dict(results[when]).get(side))
            if not all(isinstance(group, dict) for group in groups.values()):
                raise ValueError(f"results.json lacks {when}.{side}")
            if not isinstance(as_dict(groups.get("all")).get("chrf"), int | float):
                raise ValueError(f"results.json lacks {when}.{side}.all.chrf")


def _read_config(path: Path) -> dict[str, str]:
    """Flat configuration; empty where the file is missing, since results.json alone is enough for a row."""
    import yaml

    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except yaml.YAMLError as error:
        raise ValueError(f"config.yaml is not valid YAML: {str(error).splitlines()[0]}") from error
    return _flatten(as_dict(tree))


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in tree.items():
        inner = isinstance(value, dict)
        flat |= (
            _flatten(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": "null" if value is None else str(value)}
        )
    return flat
