"""What a run is made from, by content: the rows it uses, its local model, the rows of its benchmarks.

A path may hold other rows tomorrow. A run records its content in ``content.json``; the same command on other content is
refused, whether the run is finished (its result is of the old rows) or has begun to train (it would be a mix).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clo.config.parse import RunConfig
from clo.data.rows import Row
from clo.data.splits import Splits
from clo.errors import UserError
from clo.storage.digest import digest_of, files_digest, model_files
from clo.storage.files import write_json
from clo.storage.run_folder import RunFolder
from clo.study.layer_choice import NAME as LAYERS

if TYPE_CHECKING:
    from clo.study.rows import Items

NAME = "content.json"


def files_of(run: RunConfig) -> dict[str, str]:
    """Setting -> content hash of the files behind it; a hub model's are those that were downloaded, if they are."""
    return _digests(_paths(run))


def local_files(run: RunConfig) -> list[Path]:
    """Local files that a run is made from."""
    return [path for _, paths in _paths(run) for path in paths]


def _digests(places: Iterable[tuple[str, Iterable[Path]]]) -> dict[str, str]:
    found = {key: files_digest(paths) for key, paths in places}
    return {key: digest for key, digest in found.items() if digest is not None}


def _paths(run: RunConfig) -> Iterator[tuple[str, Iterable[Path]]]:
    from clo.model.folder import adapter_base, local_folder

    for name in ("train", "dev", "test"):
        if run.data.kind == "files" and getattr(run.data, name) is not None:
            files = dict.fromkeys(run.data.file(name, code) for code in run.lang.codes()[1:])
            yield f"data.{name}", [Path(file) for file in files if file is not None]
    if run.data.kind == "translated" and run.data.source is not None and run.data.source.path is not None:
        yield "data.source.path", [Path(run.data.source.path)]
    for task in run.tasks.values() if run.mixture.name else ():
        if task.path is not None:
            yield f"tasks.{task.name}.path", list(task.files(run.lang.codes()))
    if run.data.replay.path is not None:
        yield "data.replay.path", [Path(run.data.replay.path)]
    model = local_folder(run.model.path, run.model.revision)
    if model is not None:
        yield "model.path", model_files(model)
        base = adapter_base(model)
        below = None if base is None else local_folder(base, None)
        if below is not None:
            yield "model.path (base of the adapter)", model_files(below)
    yield from _benchmark_paths(run)


def _benchmark_paths(run: RunConfig) -> Iterator[tuple[str, Iterable[Path]]]:
    asked = run.evaluation.benchmarks
    if asked.data is not None:
        for name in dict.fromkeys((*asked.names, *asked.harness)):
            paths = Path(asked.data, name).glob("*")
            languages = run.lang.codes()
            yield f"evaluation.benchmarks.data/{name}", [p for p in paths if p.name.partition(".")[0] in languages]
    if asked.harness_folder is not None:
        yield "evaluation.benchmarks.harness_folder", Path(asked.harness_folder).rglob("*")


def benchmark_files(run: RunConfig) -> dict[str, str]:
    """Setting -> content hash of the local files that benchmarks are asked from."""
    return _digests(_benchmark_paths(run))


Reach = dict[str, dict[str, int]]
"""What rows are for -> task -> how many of its rows were looked at: up to the last that an item was made of.

Rows that are too long are passed over, so the number of items says less."""


def reach_of(rows: Splits, items: Items) -> Reach:
    """How far the items of a run reach into its rows."""
    parts = {"train": (rows.train, items.train), "dev": (rows.dev, items.val), "replay": (rows.replay, items.replayed)}
    found: Reach = {}
    for name, (there, made) in parts.items():
        used, seen, own = {item.id for item in made}, Counter[str](), {}
        for row in there:
            seen[row.task] += 1
            if row.id in used:
                own[row.task] = seen[row.task]
        found |= {name: own} if own else {}
    return found


def rows_digest(run: RunConfig, rows: Splits, reach: Reach) -> dict[str, str]:
    """Content hash of the rows that a run uses, by what for; those of ``reach`` and the test rows."""
    from clo.study.rows import tested_rows

    parts: dict[str, Sequence[Row]] = {"train": rows.train, "dev": rows.dev, "replay": rows.replay}
    used = {name: list(_within(parts[name], own)) for name, own in reach.items()} | {"test": tested_rows(run, rows)}
    return {name: digest_of([_content(row) for row in some]) for name, some in used.items()}


def _within(rows: Iterable[Row], reach: Mapping[str, int]) -> Iterator[Row]:
    seen: Counter[str] = Counter()
    for row in rows:
        seen[row.task] += 1
        if seen[row.task] <= reach.get(row.task, 0):
            yield row


def _content(row: Row) -> list[Any]:
    return [row.id, row.prompts, row.responses, *(part for part in (row.rejected, row.gold) if part)]


def check_content(run: RunConfig, folder: RunFolder) -> None:
    """Refuse a finished run whose folder was made from other content.

    Raises:
        UserError: what has changed, and which folder keeps the result of what it was.
    """
    changed = changed_since(run, folder.path) if folder.state() == "done" else []
    if changed:
        raise UserError(
            f"{' and '.join(changed)} changed after {folder.path} was made; that folder keeps the old result: set "
            "study_name= to another name for a new one, or delete the folder"
        )


def changed_since(run: RunConfig, path: Path) -> list[str]:
    """Settings whose files hold other content than when the run's folder was made; what is gone is not changed."""
    before = recorded_content(path)
    if before is None:
        return []
    now = files_of(run)
    changed = [key for key, digest in before["files"].items() if now.get(key, digest) != digest]
    if changed and all(key.startswith("data.") for key in changed) and run.data.kind == "files":
        from clo.study.rows import rows_of

        if before.get("reach") and rows_digest(run, rows_of(run), before["reach"]) == before["rows"]:
            return []  # other rows of the file changed, none that this run uses
    return changed


def record_content(run: RunConfig, folder: RunFolder, rows: Splits, items: Items) -> None:
    """Write ``content.json`` before the first step; what has trained already goes on with the same content only.

    Layers that were chosen from other rows (``tuning.layers=auto``) are to be chosen again.

    Raises:
        UserError: a checkpoint is there, and it was made from other content.
    """
    reach = reach_of(rows, items)
    now: dict[str, dict[str, Any]] = {"files": files_of(run), "rows": rows_digest(run, rows, reach), "reach": reach}
    before, begun = recorded_content(folder.path), any((folder.path / "checkpoint").rglob("*.safetensors"))
    if before is not None and begun:
        parts = [f"rows for {name}" for name, digest in before["rows"].items() if now["rows"].get(name) != digest]
        models = [key for key in {**before["files"], **now["files"]} if key.startswith("model.path")]
        parts += [key for key in models if before["files"].get(key) != now["files"].get(key)]
        if parts:
            raise UserError(
                f"{' and '.join(parts)} changed after {folder.path} began to train; going on would mix both: bring the "
                "old content back, or delete the folder to start anew"
            )
    if folder.main:
        if before is not None and not begun and any(before[part] != now[part] for part in ("files", "rows")):
            (folder.path / LAYERS).unlink(missing_ok=True)
        write_json(folder.path / NAME, now)


def with_benchmarks(run: RunConfig, folder: RunFolder, content: dict[str, Any]) -> dict[str, Any]:
    """The part ``content`` of results.json after benchmarks were asked again; what other rows replace is said.

    Args:
        run: with the benchmarks that were asked.
        folder: of the finished run; its ``content.json`` moves along where the run's own command asks them too.
        content: the part as it was.
    """
    now, files = benchmark_files(run), content.get("files", {})
    changed = [key for key, digest in now.items() if files.get(key, digest) != digest]
    if changed:
        print(f"{' and '.join(changed)} changed since {folder.path} was asked; its scores are those of the new rows")
    own = recorded_content(folder.path)
    if own is not None and any(key in own["files"] for key in changed):
        own["files"] |= {key: now[key] for key in changed if key in own["files"]}
        write_json(folder.path / NAME, own)
    return {**content, "files": {**files, **now}} if now else content


def recorded_content(folder: Path) -> dict[str, Any] | None:
    """What a folder was made from; None where it does not say."""
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and all(isinstance(found.get(key), dict) for key in ("files", "rows"))
    return found if whole else None
