"""Files at Weights & Biases; nothing is imported until some are sent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path


def log_files(name: str, kind: str, paths: Sequence[Path], root: Path | None = None) -> None:
    """Add files to the open run as an artifact; those that are missing are left out.

    Args:
        name: of the artifact; signs that W&B does not take (the + of several targets) become hyphens.
        kind: its type.
        paths: the files.
        root: folder below which a file keeps its place; None puts all side by side.
    """
    import wandb

    assert wandb.run is not None
    artifact = wandb.Artifact(re.sub(r"[^A-Za-z0-9_.-]", "-", name), type=kind)
    for path in paths:
        if path.is_file():
            artifact.add_file(str(path), name=None if root is None else str(path.relative_to(root)))
    wandb.run.log_artifact(artifact)
