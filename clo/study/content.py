"""What a run is made from, by content: the rows it uses, its local model, the rows of its benchmarks.

A path may hold other rows tomorrow. A run records its content in ``content.json``; the same command on other content is
refused, whether the run is finished (its result is of the old rows) or has begun to train (it would be a mix).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clo.config import BenchmarksConfig, DataConfig, EvaluationConfig, ModelConfig
from clo.config.parse import RunConfig
from clo.data.splits import Splits
from clo.errors import UserError
from clo.storage.digest import digest_of, files_digest, model_files
from clo.storage.files import write_json
from clo.storage.run_folder import RunFolder

NAME = "content.json"


def files_of(data: DataConfig, model: ModelConfig, benchmarks: BenchmarksConfig) -> dict[str, str]:
    """Setting -> content hash of the files behind it; a hub model's are those that were downloaded, if they are."""
    found = {}
    for key, paths in _paths(data, model, benchmarks):
        digest = files_digest(paths)
        if digest is not None:
            found[key] = digest
    return found


def _paths(data: DataConfig, model: ModelConfig, benchmarks: BenchmarksConfig) -> Iterator[tuple[str, Iterable[Path]]]:
    from clo.model.folder import adapter_base, local_folder

    for name in ("train", "dev", "test"):
        if data.kind == "files" and getattr(data, name) is not None:
            yield f"data.{name}", [Path(getattr(data, name))]
    if data.kind == "translated" and data.source is not None and data.source.path is not None:
        yield "data.source.path", [Path(data.source.path)]
    local = local_folder(model.path, model.revision)
    if local is not None:
        yield "model.path", model_files(local)
        base = adapter_base(local)
        below = None if base is None else local_folder(base, None)
        if below is not None:
            yield "model.path (base of the adapter)", model_files(below)
    if benchmarks.data is not None:
        for name in benchmarks.names:
            yield f"evaluation.benchmarks.data/{name}", Path(benchmarks.data, name).glob("*")


def rows_digest(rows: Splits, size: int, evaluation: EvaluationConfig) -> dict[str, str]:
    """Content hash of the rows that a run of ``size`` training rows uses, by what for."""
    used = {
        "train": rows.train[:size],
        "dev": rows.dev[: evaluation.val_items],
        "test": rows.evaluated(evaluation),
    }
    return {name: digest_of([[row.id, row.prompts, row.responses] for row in some]) for name, some in used.items()}


def check_content(run: RunConfig, folder: RunFolder) -> None:
    """Refuse a finished run whose folder was made from other content.

    Raises:
        UserError: what has changed, and which folder keeps the result of what it was.
    """
    before = recorded_content(folder.path)
    if before is None or folder.state() != "done":
        return
    now = files_of(run.data, run.model, run.evaluation.benchmarks)
    gone = [key for key in before["files"] if key.startswith("model.path") and key not in now]  # nothing is read of it
    changed = [key for key, digest in before["files"].items() if now.get(key) != digest and key not in gone]
    if changed and all(key.startswith("data.") for key in changed) and run.data.kind == "files":
        from clo.study.rows import rows_of

        if rows_digest(rows_of(run), run.data_size, run.evaluation) == before["rows"]:
            return  # other rows of the file changed, none that this run uses
    if changed:
        raise UserError(
            f"{' and '.join(changed)} changed after {folder.path} was made; that folder keeps the old result: set "
            "study_name= to another name for a new one, or delete the folder"
        )


def record_content(run: RunConfig, folder: RunFolder, rows: Splits) -> None:
    """Write ``content.json`` before the first step; what has trained already goes on with the same content only.

    Raises:
        UserError: a checkpoint is there, and it was made from other content.
    """
    now = {
        "files": files_of(run.data, run.model, run.evaluation.benchmarks),
        "rows": rows_digest(rows, run.data_size, run.evaluation),
    }
    before = recorded_content(folder.path)
    if before is not None and any((folder.path / "checkpoint").rglob("*.safetensors")):
        parts = [f"rows for {name}" for name, digest in before["rows"].items() if now["rows"].get(name) != digest]
        models = [key for key in {**before["files"], **now["files"]} if key.startswith("model.path")]
        parts += [key for key in models if before["files"].get(key) != now["files"].get(key)]
        if parts:
            raise UserError(
                f"{' and '.join(parts)} changed after {folder.path} began to train; going on would mix both: bring the "
                "old content back, or delete the folder to start anew"
            )
    if folder.main:
        write_json(folder.path / NAME, now)


def recorded_content(folder: Path) -> dict[str, Any] | None:
    """What a folder was made from; None where it does not say."""
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and all(isinstance(found.get(key), dict) for key in ("files", "rows"))
    return found if whole else None
