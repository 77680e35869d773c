"""What tells the runs of one method apart: the configuration keys that vary, made into short labels."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

# Keys that decide no result (hardware, places) or that have their own place in the table.
_NOT_IN_LABEL = (
    "trainer", "logger", "study_name", "output_dir", "cache_dir", "jobs", "model.recipe",
    "lang", "method.name", "data_size", "seed",
)  # fmt: skip


def label_parts(runs: Sequence[tuple[tuple[str, str], Mapping[str, str]]]) -> list[tuple[str, ...]]:
    """Per run, ``key=value`` of the fewest keys that vary within its method and language.

    What only varies between methods (lam of sft and clo) belongs to the method, what only varies between
    languages (a data path) to the language; a key that splits no cell further than those before is left out.
    ``runs`` are ((method, language), flat configuration).
    """
    cells: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, (method_and_lang, _) in enumerate(runs):
        cells[method_and_lang].append(index)
    configs = [config for _, config in runs]
    chosen: list[str] = []
    seen: list[tuple[str, ...]] = [()] * len(runs)
    outside = tuple(f"{name}." for name in _NOT_IN_LABEL)
    keys = {key for config in configs for key in config if not f"{key}.".startswith(outside)}
    for key in sorted(keys, key=_key_rank):
        finer = [(*old, config.get(key, "")) for old, config in zip(seen, configs, strict=True)]
        if any(len({finer[i] for i in cell}) > len({seen[i] for i in cell}) for cell in cells.values()):
            chosen.append(key)
            seen = finer
    varying: dict[str, set[str]] = defaultdict(set)
    for (method, _), cell in cells.items():
        varying[method] |= {key for key in chosen if len({configs[i].get(key) for i in cell}) > 1}
    return [
        tuple(f"{_short(key, chosen)}={config.get(key, 'unset')}" for key in chosen if key in varying[method])
        for (method, _), config in runs
    ]


def _key_rank(key: str) -> tuple[bool, int, str]:
    """Names of groups before their details, methods before the rest."""
    groups = ("method", "tuning", "model", "data")
    group = key.partition(".")[0]
    return not key.endswith(".name"), groups.index(group) if group in groups else len(groups), key


def _short(key: str, keys: Sequence[str]) -> str:
    """``tuning.name`` -> ``tuning``, ``method.lam`` -> ``lam`` unless another key ends the same way."""
    group, _, last = key.rpartition(".")
    if last == "name":
        return group
    return last if sum(k.rpartition(".")[2] == last for k in keys) == 1 else key


def natural(part: str) -> tuple[str, float, str]:
    """Sort key that orders the values of a part as numbers where they are numbers."""
    key, _, value = part.partition("=")
    try:
        return key, float(value), ""
    except ValueError:
        return key, math.inf, value
