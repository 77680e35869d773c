"""results.json of a run with several targets, as runs of one would have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
