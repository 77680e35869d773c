"""Learning rates for any model, by its size and the method; all of them are assumed.

The larger a model, the lower the rate that public recipes take: supervised fine-tuning of all weights from 2e-5 (TRL's
SFTConfig; the Alpaca and Vicuna scripts at 7B) down to 5e-6 (allenai/open-instruct, scripts/train/tulu3),
preference training a tenth of that or less (5e-7 there and in huggingface/alignment-handbook,
recipes/zephyr-7b-beta/dpo). The CLO paper gives none; CRPO (arXiv 2608.23149, by the same lab) takes 8e-6 at 7B for
every method.
"""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

from omegaconf import OmegaConf

from clo.errors import UserError

SFT = ((0.4, 5e-5), (1.5, 2e-5), (5.0, 1e-5), (10.0, 8e-6), (float("inf"), 5e-6))
"""(billions of parameters up to which it is meant, peak rate); assumed."""
SECOND_STAGE = 0.1
"""What the second stage of sft_dpo takes of it; assumed."""
CAREFUL = 8.0
"""Billions of parameters of a model whose size nothing tells: a rate too low wastes time, one too high the model."""
_SIZE = re.compile(r"(?<![a-z\d.])(?:(\d+)x)?(\d+(?:[._]\d+)?)(b|m)(?![a-z])", re.IGNORECASE)


def rate(method: str, path: str, size: float | None = None) -> float:
    """Peak learning rate of a method.

    Args:
        method: its name.
        path: the model's hub id or folder.
        size: billions of parameters; None: by the name, else by the files.
    """
    billions = size or size_of(path) or CAREFUL
    peak = next(peak for most, peak in SFT if billions <= most)
    return float(f"{peak * SECOND_STAGE:.3g}") if method == "sft_dpo" else peak


def size_of(path: str) -> float | None:
    """Billions of parameters as the model's name tells (Qwen3-0.6B, 270m, 8x7B), else by its files at 2 bytes."""
    found = _SIZE.findall(Path(path).name)
    if found:
        experts, number, unit = found[-1]
        size = float(number.replace("_", ".")) * (int(experts) if experts else 1)
        return size / (1000 if unit.lower() == "m" else 1)
    folder = Path(path)
    weights = [*folder.glob("*.safetensors"), *folder.glob("*.bin")] if path and folder.is_dir() else []
    return sum(file.stat().st_size for file in weights) / 2e9 or None


def short_name(path: str) -> str:
    """A model's short name for folders and reports: the last part of its path in plain letters."""
    return re.sub(r"[^a-z0-9]+", "_", Path(path).name.lower()).strip("_") or "any"


def pick(number: int, *choices: object) -> object:
    """The choice whose turn it is: of three, the second one for 1, 4, 7 and so on."""
    return choices[number % len(choices)]


EMBEDDED = "embedded"
"""In a study: what it takes without a scale."""


def at(scale: str | None, values: dict[str, object]) -> object:
    """What a study takes at its scale, of what it says for each; ``embedded`` is for no scale at all.

    Raises:
        UserError: the study does not have this one.
    """
    name = EMBEDDED if scale is None else scale
    if name not in values:
        others = ", ".join(f"scale={one}" for one in values if one != EMBEDDED)
        raise UserError(
            f"scale={scale} is none of this study's; it has {others}" + " or no scale" * (EMBEDDED in values)
        )
    return values[name]


def by(choice: object, values: dict[str, object]) -> object:
    """What a study has for a setting's choice, of what it says for each, such as a rate for every loss.

    Raises:
        UserError: the study says nothing for this one.
    """
    name = choice.value if isinstance(choice, Enum) else choice
    if name not in values:
        raise UserError(f"this study has values for {', '.join(values)}, and none for {name}; choose one of them")
    return values[str(name)]


def register_rates() -> None:
    """Make them known to the files of ``conf/``."""
    OmegaConf.register_new_resolver("at", at, replace=True)
    OmegaConf.register_new_resolver("by", by, replace=True)
    OmegaConf.register_new_resolver("pick", pick, replace=True)
    OmegaConf.register_new_resolver("rate", rate, replace=True)
    OmegaConf.register_new_resolver("short_name", short_name, replace=True)
