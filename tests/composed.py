"""Configurations composed from conf/ as the command line does it, without a process."""

from __future__ import annotations

import copy
import functools
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from clo.config.parse import RunConfig, conf_dir, parse, register_schema
from clo.config.targets import with_targets


def composed(*overrides: str) -> Any:
    """The configuration, the caller's own; the files of ``conf/`` are taken to be as they were."""
    if any("searchpath" in word for word in overrides):  # a test's own files, which it may change
        return _compose(overrides)
    return copy.deepcopy(_once(overrides))


@functools.cache
def _once(overrides: tuple[str, ...]) -> Any:
    return _compose(overrides)


def _compose(overrides: tuple[str, ...]) -> Any:
    register_schema()
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("config", list(overrides), return_hydra_config=True)
        return with_targets(cfg, overrides, cfg.hydra.runtime.choices)


def run_of(*overrides: str) -> RunConfig:
    cfg = composed(*overrides)
    return parse(OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"]))
