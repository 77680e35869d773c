"""What decides a result, and is therefore part of a run's name; what does not, and why.

A setting is *science* unless it stands in ``MACHINE``: there it changes no number beyond rounding, or no number at all.
``tests/config/test_identity.py`` runs both values of what a machine may choose and holds the losses together.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from clo.config.mixture import MixtureConfig
from clo.config.sources import ReplayConfig

_ORDER = "sums in another order: rounding"
_WRITTEN = "what is written and when, not what is computed"
_PLAN = "for plan=true alone"
_PLACE = "a place; what lies there decides, not where"
_SERVER = "how a server is reached; the engine, the model and the beams decide"

MACHINE = {
    "trainer.accelerator": "the same arithmetic on another device: rounding",
    "trainer.devices": _ORDER,
    "trainer.nodes": _ORDER,
    "trainer.strategy": _ORDER,
    "trainer.max_tokens": "the step's denominators are those of all its micro-batches: rounding",
    "trainer.threads": f"{_ORDER}, bit-equal only at the same number",
    "trainer.gradient_checkpointing": "the same activations, made twice",
    "trainer.reference": "the same log-probs, kept or made again: rounding",
    "trainer.checkpoints": _WRITTEN,
    "trainer.log_every": _WRITTEN,
    "trainer.grad_norms_every": _WRITTEN,
    "trainer.memory_gb": _PLAN,
    "trainer.tflops": _PLAN,
    "logger": _WRITTEN,
    "evaluation.max_tokens": "generation batches of another size: rounding",
    "evaluation.benchmarks.data": "a place; the rows are hashed where they are used",
    "evaluation.benchmarks.harness_folder": "a place; the rows are hashed where they are used",
    "data.bad_rows": "a file that both read gives the same rows; the rows themselves are hashed",
    "data.poor_rows": "whether rows are refused or said, not which rows are used",
    "data.translation.base_url": _SERVER,
    "data.translation.parallel": _SERVER,
    "data.translation.timeout": _SERVER,
    "data.translation.max_tokens": "batches of another size: rounding",
    "model.oracle": "one more measure of the start model",
    "evaluation.rivals": "measures of other models beside the run's; clo evaluate adds them",
    "model.size": "for a recipe's rates; what a method took of them stands in its own settings",
    "model.recipe": "defaults; what a method took of them stands in its own settings",
    "method.own_tuning": "for names alone; the tuning itself decides",
    "scale": "which group of settings was loaded; what they set decides",
    "study_name": _PLACE,
    "output_dir": _PLACE,
    "cache_dir": _PLACE,
    "jobs": "cells at a time; each is a process of its own",
    "retries": "a cell that is tried again goes on to the same result",
    "plan": _PLAN,
}
"""Setting -> why it is no part of a result."""

SCIENCE = {
    "trainer.precision": "bf16-mixed rounds every product to 8 bits: losses differ from the third digit on",
    "trainer.compile": "fused kernels round elsewhere: an 8B model's first loss in bfloat16 moved by 3e-4 of it (H200)",
    "trainer.keep": "other weights are scored and left",
    "trainer.keep_tolerance": "likewise",
}
"""What could be taken for the machine's and is not."""

LATER: dict[str, Any] = {
    "model.template_kwargs": {},
    "model.date": None,
    "method.steps": None,
    "data.fold": 0,
    "data.resample": False,
    "method.sft_first.share": 0.67,
    "trainer.keep": "last",
    "trainer.keep_tolerance": 0.02,
    "method.loss": "sigmoid",
    "method.margin": None,
    "method.penalty": None,
    "method.label_smoothing": None,
    "method.anchor": "none",
    "method.anchor_weight": 1.0,
    "method.anchor_top": 32,
    "method.anchor_share": 0.25,
    "data.replay": asdict(ReplayConfig()),
    "tuning.auto_items": 16,
    "tuning.auto_share": 0.5,
    "method.against": "all",
    "lang.further": [],
    "data.targets": "together",
    "data.temperature": 1.0,
    "method.rejected": "translation",
    "method.own_prompts": "target",
    "method.own_in_language": "leave_out",
    "method.own_temperature": 0.0,
    "method.own_seed": 0,
    "method.own_tokens": None,
    "method.ranking": None,
    "data.source.pairs": False,
    "data.source.rejected": None,
    "data.replay.pairs": False,
    "data.replay.rejected": None,
    "optimizer.schedule": "linear",
    "mixture": asdict(MixtureConfig()),
    "tasks": {},
}
"""Setting that came later -> its default, at which it is no part of a name: runs keep theirs."""


def science_of(tree: dict[str, Any]) -> dict[str, Any]:
    """The part of a configuration that decides the result.

    Args:
        tree: the whole configuration as plain values.
    """
    return _without(tree, set(MACHINE))


def _is_default(key: str, value: Any) -> bool:
    return key in LATER and value == LATER[key]


def _without(tree: dict[str, Any], keys: set[str], path: str = "") -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in tree.items():
        if f"{path}{key}" not in keys and not _is_default(f"{path}{key}", value):
            kept[key] = _without(value, keys, f"{path}{key}.") if isinstance(value, dict) else value
    return kept


def name_of(tree: dict[str, Any]) -> str:
    """A run's name: model, method, tuning where it is not the method's own, language, size, seed, and a hash.

    ASCII without ``=``; the hash is 8 hex digits of the science part.
    """
    method, tuning = tree["method"], tree["tuning"]["name"]
    parts = [tree["model"]["name"], method["name"], *([] if tuning == method["own_tuning"] else [tuning])]
    return "-".join([*parts, *_cell(tree), _digest(science_of(tree))])


FIRST_MACHINE = (
    *("trainer", "logger", "study_name", "output_dir", "cache_dir", "jobs", "plan", "model.recipe"),
    *("evaluation.benchmarks.data", "evaluation.benchmarks.harness_folder"),
)
SINCE_FIRST = (
    "method.own_tuning",
    "model.oracle",
    "lang.identify",
    "model.size",
    "data.bad_rows",
    "data.poor_rows",
    "evaluation.rivals",
    "scale",
    "retries",
    *LATER,
)
"""Settings that version 0.1 did not have."""


MOST_CODES = 8
"""Targets that a name spells out; of more it has the first, and how many others."""


def first_name_of(tree: dict[str, Any]) -> str:
    """The name that version 0.1 gave to this run; it may be that of a run in another precision."""
    science = _without(tree, {*FIRST_MACHINE, *SINCE_FIRST})
    return "-".join([tree["method"]["name"], *_cell(tree), _digest(science)])


def _cell(tree: dict[str, Any]) -> list[str]:
    codes = [tree["lang"]["code"], *(one["code"] for one in tree["lang"].get("further", ()))]
    langs = "+".join(codes if len(codes) <= MOST_CODES else [codes[0], str(len(codes) - 1)])
    size, mixture = tree["data_size"], tree.get("mixture") or {}
    if mixture.get("name"):  # it names its languages, or the hash does
        langs = "-".join([mixture["name"], "+".join(mixture["tasks"])])
    return [langs, str(sum(size.values()) if isinstance(size, dict) else size), f"s{tree['seed']}"]


def _digest(science: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(science, sort_keys=True).encode()).hexdigest()[:8]
