"""A run with several targets as one run of each: what the tables show beside runs of one target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from clo.storage.several import own_parts


def by_target(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Code of a target -> results.json as a run of it alone would have it.

    Raises:
        LookupError: a part is missing; as TypeError and AttributeError, a part is something else.
    """
    found = {}
    for code, own in results["targets"].items():
        view = {**results, **own, "lang": code, **own_parts(results, code)}
        if "square" in results:
            view["square"] = _square(results["square"], code)
        view["confusion"] = {"before": results["start"]["confusion"], "after": results["scores"]["confusion"]}
        found[code] = view
    return found


def _square(whole: Mapping[str, Any], code: str) -> dict[str, Any]:
    """The source's and the target's rows and columns."""
    places = [0, whole["languages"].index(code)]
    cut = {when: [[whole[when][i][j] for j in places] for i in places] for when in ("before", "after")}
    return {"languages": [whole["languages"][i] for i in places], **cut}


def course_of(lines: Iterable[Mapping[str, Any]], code: str) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl with a target's own values where those of all targets together stand."""
    return [{key: line.get(key.replace("target", code), value) for key, value in line.items()} for line in lines]


def confusion_tables(found: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """(``before`` or ``after``, headings, cells as text) of how many prompts in a language got answers in which."""
    tables = []
    for when, table in found.items():
        heads = [f"{when}: asked in", *(name for name in next(iter(table.values()), {}))]
        tables.append((when, heads, [[code, *map(str, row.values())] for code, row in table.items()]))
    return tables
