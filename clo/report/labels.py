"""What tells the arms of a study apart, in words: objective, the settings by which they differ, what trains.

Two runs whose records differ in anything that decides a result (``clo/config/identity.py``), but for language, size and
seed, never have the same label.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from clo.config.identity import MACHINE
from clo.report.arms import (
    Config,
    adapts,
    compares,
    has_both,
    number_of,
    objective,
    reads_nll,
    starts_with_sft,
    targets_of,
    weights,
    whole,
)


@dataclass(frozen=True)
class Arm:
    """What a run is beside its language, size and seed."""

    name: str = ""
    """Its objective, such as ``CLO, English comparison alone``."""
    settings: tuple[tuple[str, str], ...] = ()
    """(Words, value) of the settings by which arms of the study differ."""
    weights: str = ""
    """What trains; empty where all arms of the study train the same."""

    @property
    def label(self) -> str:
        """Such as ``CLO (λ .5, NLL per answer), attention``."""
        told = ", ".join(f"{words}{value}" for words, value in self.settings)
        return self.name + (f" ({told})" if told else "") + (f", {self.weights}" if self.weights else "")

    @property
    def order(self) -> tuple[object, ...]:
        """Sort key within an objective: what trains, then settings, numbers by their size."""
        return self.weights, tuple((words, *_natural(value)) for words, value in self.settings)


@dataclass(frozen=True)
class _Setting:
    """A setting that stands in a label wherever the arms that read it differ in it."""

    key: str
    words: str
    """Before the value."""
    read: Callable[[Config], bool]
    values: Mapping[str, str] | None = None
    """Recorded value -> as it is told; others are told shortly."""
    unit: str = ""
    """After the value."""


def _has_nll(config: Config) -> bool:
    return reads_nll(config) or starts_with_sft(config)


def _always(_: Config) -> bool:
    return True


def _smooths(config: Config) -> bool:
    return compares(config) and config.get("method.label_smoothing") != "null"


_SETTINGS = (
    _Setting("method.loss", "loss ", compares),
    _Setting("method.label_smoothing", "smoothing ", _smooths),
    _Setting("method.anchor", "", _always, {"none": "no anchor", "kl": "KL anchor", "replay": "replay"}),
    _Setting("method.lam", "λ ", has_both),
    _Setting("method.nll_reduction", "", _has_nll, {"token_sum": "NLL per answer", "token_mean": "NLL per token"}),
    _Setting("method.beta", "β ", compares),
    _Setting("method.pair_reduction", "", compares, {"mean": "mean of comparisons", "sum": "sum of comparisons"}),
    _Setting("method.steps", "", _always, {"null": "steps by epochs"}, " steps"),
    _Setting("batch_size", "batch ", _always),
    _Setting("trainer.keep", "", _always, {"last": "last checkpoint", "best": "best checkpoint"}),
    *(_Setting(f"tuning.lora.{key}", f"LoRA {key} ", adapts) for key in ("r", "alpha", "dropout", "dora")),
)
_USUAL = ("last checkpoint", "loss sigmoid", "no anchor")
"""Said where others stand beside it alone."""
_NOT_IN_LABEL = (*MACHINE, "lang", "data_size", "data.targets", "seed", "method.name", "tuning.name")
"""What decides no result, or has a place of its own in the table."""
_WITH_THE_SEED = {"model.path": "start models", "data.fold": "folds"}
"""What a study may change with the seed, so that an interval over seeds holds for it too."""


def arms(runs: Sequence[tuple[str, str, str, Config]]) -> tuple[list[Arm], list[str]]:
    """An arm per run, and what all arms of the study share, in words.

    Args:
        runs: (method, tuning, language, flat configuration), as recorded.
    """
    configs = [whole(method, tuning, config) for method, tuning, _, config in runs]
    trained = [weights(config) for config in configs]
    told = trained if len(set(trained)) > 1 else [""] * len(runs)
    found = [
        Arm(objective(config), (*_single(config), *targets), own)
        for config, targets, own in zip(configs, _targets(configs), told, strict=True)
    ]
    shared: list[str] = []
    for setting in _SETTINGS:
        values = [_value(setting, config) for config in configs]
        there = {value for value in values if value is not None}
        shared += [
            f"{setting.words}{value}" for value in there if len(there) == 1 and f"{setting.words}{value}" not in _USUAL
        ]
        if len(there) > 1:
            found = [
                arm if value is None else replace(arm, settings=(*arm.settings, (setting.words, value)))
                for arm, value in zip(found, values, strict=True)
            ]
    crossed = _crossed(configs)
    shared += [f"a seed takes one of {n} {_WITH_THE_SEED[key]}" for key, n in crossed.items()]
    shared += [f"{trained[0]} trained"] if len(set(trained)) == 1 else []
    places = [(arm.label, lang) for arm, (_, _, lang, _) in zip(found, runs, strict=True)]
    further = _further(places, [{k: v for k, v in config.items() if k not in crossed} for config in configs])
    return [replace(arm, settings=(*arm.settings, *own)) for arm, own in zip(found, further, strict=True)], shared


def _crossed(configs: Sequence[Config]) -> dict[str, int]:
    """Keys that the seed decides in the whole study, with the number of their values."""
    found = {}
    for key in _WITH_THE_SEED:
        by_seed: dict[str, set[str]] = defaultdict(set)
        for config in configs:
            by_seed[config.get("seed", "")].add(config.get(key, ""))
        values = {value for own in by_seed.values() for value in own}
        if len(values) > 1 and all(len(own) == 1 for own in by_seed.values()):
            found[key] = len(values)
    return found


def _single(config: Config) -> tuple[tuple[str, str], ...]:
    """λ of an arm that has one of CLO's two terms alone."""
    one = (
        not has_both(config) and not starts_with_sft(config) and objective(config) not in ("SFT", config["method.name"])
    )
    return (("λ ", "0" if compares(config) else "1"),) if one else ()


def _targets(configs: Sequence[Config]) -> list[tuple[tuple[str, str], ...]]:
    """How many targets each run trained together, where these are several: which, where that varies; and how."""
    found = [targets_of(config) for config in configs]
    told: list[tuple[tuple[str, str], ...]] = []
    for own, config in zip(found, configs, strict=True):
        same = {other for other in found if len(other) == len(own)}
        which = f": {', '.join(own)}" if len(same) > 1 else ""
        apart = ", one an item" if config["data.targets"] == "apart" else ""
        told.append((("", f"{len(own)} targets{apart}{which}"),) if len(own) > 1 else ())
    return told


def _value(setting: _Setting, config: Config) -> str | None:
    """As it is told; None where the record lacks it, or the arm does not read it."""
    recorded = config.get(setting.key) if setting.read(config) else None
    if recorded is None:
        return None
    return (setting.values or {}).get(recorded) or f"{short(recorded)}{setting.unit}"


def _further(places: Sequence[tuple[str, str]], configs: Sequence[Config]) -> list[tuple[tuple[str, str], ...]]:
    """Per run, (``key=``, value) of the fewest other keys that vary within its (label, language).

    What varies between languages alone (a data path) belongs to the language; a key that splits no cell further than
    those before it is left out.
    """
    cells: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, place in enumerate(places):
        cells[place].append(index)
    chosen: list[str] = []
    seen: list[tuple[str, ...]] = [()] * len(configs)
    outside = tuple(f"{name}." for name in _NOT_IN_LABEL)
    keys = {key for config in configs for key in config if not f"{key}.".startswith(outside)}
    for key in sorted(keys, key=_key_rank):
        finer = [(*old, config.get(key, "")) for old, config in zip(seen, configs, strict=True)]
        if any(len({finer[i] for i in cell}) > len({seen[i] for i in cell}) for cell in cells.values()):
            chosen.append(key)
            seen = finer
    varying: dict[str, set[str]] = defaultdict(set)
    for (label, _), cell in cells.items():
        varying[label] |= {key for key in chosen if len({configs[i].get(key) for i in cell}) > 1}
    return [
        tuple((f"{_short(key, chosen)}=", config.get(key, "unset")) for key in chosen if key in varying[label])
        for (label, _), config in zip(places, configs, strict=True)
    ]


def _key_rank(key: str) -> tuple[bool, int, str]:
    """Names of groups before their details, methods before the rest."""
    groups = ("method", "tuning", "model", "data")
    group = key.partition(".")[0]
    return not key.endswith(".name"), groups.index(group) if group in groups else len(groups), key


def _short(key: str, keys: Sequence[str]) -> str:
    """``model.name`` -> ``model``, ``method.lr`` -> ``lr`` unless another key ends the same way."""
    group, _, last = key.rpartition(".")
    if last == "name":
        return group
    return last if sum(k.rpartition(".")[2] == last for k in keys) == 1 else key


def short(value: str) -> str:
    """A number without the zero before its point; other text as it is."""
    number = number_of(value)
    if number is None or not math.isfinite(number):
        return value
    text = f"{number:g}"
    return text.removeprefix("0") if text.startswith("0.") else text


def _natural(value: str) -> tuple[float, str]:
    """Numbers by their size, before text."""
    number = number_of(value.split(" ")[0])
    return (math.inf, value) if number is None else (number, value)
