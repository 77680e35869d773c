"""Read the run folders of one study; a broken folder is told with its reason and never stops the report."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clo.errors import UserError
from clo.report.labels import label_parts, natural

METHOD_ORDER = ("sft_en", "sft_target", "sft", "sft_dpo", "clo", "clo_en_nll")


@dataclass(frozen=True)
class Run:
    """One finished run."""

    folder: Path
    results: dict[str, Any]
    config: dict[str, str]
    """Dotted key of config.yaml -> value as text."""
    parts: tuple[str, ...] = ()
    """``key=value`` of the configuration keys that tell this run from others of its method."""

    @property
    def lang(self) -> str:
        """Code of the target language."""
        return str(self.results["lang"])

    @property
    def size(self) -> int:
        """Training items."""
        return int(self.results["data_size"])

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.results["method"])

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return int(self.results["seed"])

    @property
    def label(self) -> str:
        """Method name and what sets the run apart, such as ``clo lam=0.3``."""
        return " ".join((self.method, *self.parts))

    @property
    def base(self) -> tuple[str, str]:
        """Model and data: runs that share them share a start model and a test set."""
        return str(self.results.get("model", "")), str(self.results.get("data", ""))

    def score(self, side: str, key: str, group: str = "all", when: str = "scores") -> float | None:
        """One number of results.json, None where it is absent, null or not finite."""
        value = self.results[when].get(side, {}).get(group, {}).get(key)
        usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return float(value) if usable else None

    def samples(self, name: str = "samples.jsonl") -> list[dict[str, Any]]:
        """Generated test answers of the run, or of its start model (``start_samples.jsonl``)."""
        return read_lines(self.folder / name)


@dataclass(frozen=True)
class Unfinished:
    """A folder without usable results, and why."""

    folder: Path
    state: str
    """failed, running, broken, or what status.json says."""
    reason: str


@dataclass(frozen=True)
class Study:
    """All runs of ``outputs/<name>``."""

    name: str
    folder: Path
    runs: list[Run]
    unfinished: list[Unfinished] = field(default_factory=list)

    @property
    def langs(self) -> list[str]:
        """Target languages, sorted by code."""
        return sorted({run.lang for run in self.runs})

    @property
    def labels(self) -> list[str]:
        """Labels of the runs in the order of the tables."""
        return list(dict.fromkeys(run.label for run in sorted(self.runs, key=sort_key)))


def sort_key(run: Run) -> tuple[Any, ...]:
    """Language, size, method in the order of METHOD_ORDER, then settings by value, then seed."""
    rank = METHOD_ORDER.index(run.method) if run.method in METHOD_ORDER else len(METHOD_ORDER)
    return run.lang, run.size, rank, run.method, tuple(natural(part) for part in run.parts), run.seed


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Objects of a JSONL file; a missing file is empty, a line cut off by a crash is skipped."""
    objects: list[dict[str, Any]] = []
    if not path.is_file():
        return objects
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            objects.append(value)
    return objects


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
    runs: list[Run] = []
    unfinished: list[Unfinished] = []
    for path in sorted(p for p in folder.iterdir() if p.is_dir()):
        if not any((path / file).is_file() for file in ("status.json", "config.yaml", "results.json")):
            continue
        found = _read_run(path)
        runs.append(found) if isinstance(found, Run) else unfinished.append(found)
    if not runs:
        states = ", ".join(f"{u.folder.name} ({u.state}: {u.reason})" for u in unfinished) or "no run folders"
        raise UserError(f"study={name}: no finished run in {folder}, only {states}; start or resume one")
    parts = label_parts([((run.method, run.lang), run.config) for run in runs])
    labelled = [Run(r.folder, r.results, r.config, p) for r, p in zip(runs, parts, strict=True)]
    return Study(name, folder, sorted(labelled, key=sort_key), unfinished)


def _read_run(path: Path) -> Run | Unfinished:
    try:
        status = _json_object(path / "status.json")
        state = status.get("state")
        if state == "failed":
            return Unfinished(path, "failed", str(status.get("error") or "no error was recorded"))
        if state != "done":
            place = f"stage {status.get('stage')}, step {status.get('step')} of {status.get('total_steps')}"
            return Unfinished(path, "running" if state == "running" else f"state {state!r}", place)
        results = _json_object(path / "results.json")
        _check_results(results)
        return Run(path, results, _read_config(path / "config.yaml"))
    except (OSError, ValueError, TypeError) as error:
        return Unfinished(path, "broken", str(error))


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
    int(results["data_size"]), int(results["seed"])
    for when in ("scores", "start"):
        for side in ("target", "en"):
            groups = results[when].get(side) if isinstance(results[when], dict) else None
            if not isinstance(groups, dict) or not all(isinstance(group, dict) for group in groups.values()):
                raise ValueError(f"results.json lacks {when}.{side}")
            if not isinstance(groups.get("all", {}).get("chrf"), int | float):
                raise ValueError(f"results.json lacks {when}.{side}.all.chrf")


def _read_config(path: Path) -> dict[str, str]:
    """Flat configuration; empty where the file is missing, since results.json alone is enough for a row."""
    import yaml

    if not path.is_file():
        return {}
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"config.yaml is not valid YAML: {str(error).splitlines()[0]}") from error
    return dict(_flatten(tree, "")) if isinstance(tree, dict) else {}


def _flatten(tree: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", "null" if value is None else str(value)
