"""Configurations composed from conf/ as the command line does it, without a process."""

from __future__ import annotations

from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from clo.config.parse import RunConfig, conf_dir, parse, register_schema
from clo.config.targets import with_targets


def composed(*overrides: str) -> Any:
    register_schema()
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        return with_targets(compose("config", list(overrides), return_hydra_config=True), overrides)


def run_of(*overrides: str) -> RunConfig:
    cfg = composed(*overrides)
    return parse(OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"]))
