"""A run with several targets on disk: the folder of each, and results.json as a run of one would have it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def target_folder(run: Path, code: str) -> Path:
    """Where the samples of one of several targets lie; its name is no other run's.

    In a run that was copied or renamed it is the one that is there, under the name that the run had.
    """
    own = run / f"{run.name}.{code}"
    return own if own.is_dir() else min((path for path in run.glob(f"*.{code}") if path.is_dir()), default=own)


def own_parts(results: Mapping[str, Any], code: str) -> dict[str, Any]:
    """Of results.json of several targets the parts that a run of one of them would have, as it would have them.

    Raises:
        LookupError: a part is missing; as TypeError and AttributeError, a part is something else.
    """
    found = {part: results[part]["targets"][code] for part in ("scores", "start", "oracle") if part in results}
    if "last" in results:
        found["last"] = {**results["last"], "scores": results["last"]["scores"]["targets"][code]}
    if "benchmarks" in results:
        found["benchmarks"] = results["benchmarks"]["targets"][code]
    if "rivals" in results:
        found["rivals"] = {name: {"asked": r["asked"], **r["targets"][code]} for name, r in results["rivals"].items()}
    return found
