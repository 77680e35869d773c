"""What the recorded configuration of a run says of its arm: objective, weights, and which settings it reads."""

from __future__ import annotations

import re
from collections.abc import Mapping

from clo.config.identity import LATER

Config = Mapping[str, str]
"""Dotted key of config.yaml -> value as text."""

FAMILIES = {
    "sft_en": "English NLL alone", "sft_target": "target NLL alone", "sft": "SFT", "sft_dpo": "SFT+DPO",
    "clo": "CLO", "clo_en_nll": "CLO, NLL on English too",
}  # fmt: skip
"""Method file -> the objective that it has unless told otherwise, in the order of the tables."""
_FIELDS = {
    "sft_en": ("source", "none", "null"), "sft_target": ("target", "none", "null"),
    "sft": ("diagonal", "none", "null"), "sft_dpo": ("none", "both", "recorded"),
    "clo": ("target", "both", "null"), "clo_en_nll": ("diagonal", "both", "null"),
}  # fmt: skip
"""Method file -> its NLL cells, its comparisons, its first stage: for records that lack them."""
_TRAINS = {"attention": "attention", "mlp": "MLP", "both": "attention and MLP", "full": "all weights"}
_LAYERS = {
    "auto": "the layers of most gradient",
    "lower": "the lower third",
    "middle": "the middle third",
    "upper": "the upper third",
}


def whole(method: str, tuning: str, config: Config) -> dict[str, str]:
    """A configuration with what its record lacks: later settings at their defaults, the fields of the method's file.

    Args:
        method: name, as results.json has it.
        tuning: likewise.
        config: flat, maybe empty.
    """
    inner = {key: {"": value} if not isinstance(value, dict) else value for key, value in LATER.items()}
    flat = {f"{key}.{name}".removesuffix("."): value for key, own in inner.items() for name, value in own.items()}
    later = {key: "null" if value is None else str(value) for key, value in flat.items()}
    nll, preference, first = _FIELDS.get(method, ("target", "both", "null"))
    base = {"method.nll": nll, "method.preference": preference, "tuning.trains": tuning}
    base |= {} if any(key.startswith("method.sft_first.") for key in config) else {"method.sft_first": first}
    return later | base | dict(config) | {"method.name": method}


def reads_nll(config: Config) -> bool:
    """Whether the last stage has an NLL term."""
    return config["method.nll"] != "none" and number_of(config.get("method.lam")) != 0


def compares(config: Config) -> bool:
    """Whether the last stage has comparisons."""
    return config["method.preference"] != "none" and number_of(config.get("method.lam")) != 1


def has_both(config: Config) -> bool:
    """Whether the last stage weighs an NLL term against comparisons."""
    return reads_nll(config) and compares(config)


def starts_with_sft(config: Config) -> bool:
    """Whether a stage of plain SFT comes first."""
    return config.get("method.sft_first") != "null"


def adapts(config: Config) -> bool:
    """Whether adapters train."""
    return any(key.startswith("tuning.lora.") for key in config)


def objective(config: Config) -> str:
    """In words, whatever the method's file was; a method of the user's own is told by its name."""
    if config["method.name"] not in FAMILIES:
        return config["method.name"]
    sides = {"source": ", English comparison alone", "target": ", target comparison alone"}
    alone = sides.get(config["method.preference"], "")
    if starts_with_sft(config):
        return "SFT+DPO" + alone
    if not compares(config):
        return {"diagonal": "SFT", "source": "English NLL alone", "target": "target NLL alone"}[config["method.nll"]]
    if not reads_nll(config):
        return "comparisons alone" if not alone else alone.removeprefix(", ")
    cells = {"diagonal": ", NLL on English too", "source": ", NLL on English alone"}.get(config["method.nll"], "")
    return f"CLO{cells}{alone}"


def weights(config: Config) -> str:
    """What trains, in words."""
    words = _TRAINS.get(config["tuning.trains"], config["tuning.trains"])
    words = f"LoRA on {words}" if adapts(config) else words
    layers = config.get("tuning.layers", "null")
    return words if layers == "null" else f"{words} of {_LAYERS.get(layers, f'layers {layers}')}"


def tuning(config: Config) -> tuple[str, ...]:
    """What decides which weights train and how: equal for runs that train the same weights."""
    return tuple(f"{k}={v}" for k, v in sorted(config.items()) if k.startswith("tuning.") and k != "tuning.name")


def targets_of(config: Config) -> tuple[str, ...]:
    """Codes of the targets that were trained together, with their sizes where these differ."""
    codes = (config.get("lang.code", ""), *re.findall("'code': '([^']+)'", config["lang.further"]))
    return tuple(" ".join(filter(None, [code, config.get(f"data_size.{code}")])) for code in codes)


def family(label: str) -> str | None:
    """The method file whose objective a label names, None for another objective."""
    fits = [method for method, name in FAMILIES.items() if label == name or label.startswith((f"{name} (", f"{name},"))]
    return max(fits, key=lambda method: len(FAMILIES[method]), default=None)


def number_of(value: str | None) -> float | None:
    """The number that a recorded value is, if it is one."""
    try:
        return float(value or "")
    except ValueError:
        return None
