"""Content hashes of values, files and model folders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

WHOLE = 64 << 20
"""Bytes up to which a file is hashed whole; of a larger one its size and SAMPLES pieces, evenly spaced."""
SAMPLES, PIECE = 64, 1 << 20
MODEL_FILES = (".json", ".safetensors", ".bin", ".model", ".jinja", ".txt")
"""Ends of the names of files that a model folder is read from: weights, configuration, tokenizer, template."""
RECORDS = (
    "measured.json",
    *("trainer_state.json", "training_args.bin", "all_results.json", "train_results.json", "eval_results.json"),
)
"""Files that tell of a model (of an embedded start, of transformers' trainer); none is read to compute with it."""


def digest_of(value: Any) -> str:
    """Content hash of what JSON can hold; of anything else in it its text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:32]


def file_digest(path: Path) -> str:
    """Content hash of a file; of one over 64 MiB a hash of its size and 64 pieces of 1 MiB."""
    stat = path.stat()
    return _file_digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _file_digest(path: Path, size: int, _changed: int) -> str:
    """The cells of a grid share their files: each is read once while it stays as it is."""
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        starts = [0] if size <= WHOLE else [k * (size - PIECE) // (SAMPLES - 1) for k in range(SAMPLES)]
        for start in starts:
            file.seek(start)
            digest.update(file.read(WHOLE if size <= WHOLE else PIECE))
    return digest.hexdigest()[:32]


def files_digest(paths: Iterable[Path]) -> str | None:
    """Content hash of several files with their names; None where none of them is there."""
    there = sorted(path for path in paths if path.is_file())
    parts = "".join(f"{path.name} {file_digest(path)}\n" for path in there)
    return hashlib.sha256(parts.encode()).hexdigest()[:32] if there else None


def model_files(folder: Path) -> list[Path]:
    """The files of a model folder that decide what it computes."""
    files = folder.iterdir() if folder.is_dir() else []
    return [path for path in files if path.suffix in MODEL_FILES and path.name not in RECORDS]
