"""Every W&B sweep file names values that our configuration takes: misspelt keys fail here, not in an agent."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from hydra import compose, initialize_config_dir
from tiny_runs import fit, metrics, run_config

from clo.config.parse import RunConfig, conf_dir, parse, register_schema

SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))
CELLS = {"lambda_beta": 30, "learning_rate": 40}


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def rendered(sweep: dict[str, Any], cell: dict[str, Any]) -> list[str]:
    """The arguments that an agent starts the program with."""
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils", reason="pip install 'clo[wandb]'")
    formats = utils.create_sweep_command_args({"args": {key: {"value": value} for key, value in cell.items()}})
    arguments: list[str] = []
    for part in sweep["command"]:
        if part in ("${env}", "${interpreter}", "${program}"):
            assert not arguments
        elif part.startswith("${"):
            arguments += formats[part[2:-1]]
        else:
            arguments.append(part)
    return arguments


def test_there_are_sweeps() -> None:
    assert {path.stem for path in SWEEPS} == set(CELLS)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_value_composes(path: Path) -> None:
    sweep = load(path)
    assert (ROOT / sweep["program"]).is_file()
    assert sweep["method"] == "grid" and sweep["metric"]["goal"] == "minimize"
    axes = {key: parameter["values"] for key, parameter in sweep["parameters"].items()}
    assert math.prod(len(values) for values in axes.values()) == CELLS[path.stem]
    first = {key: values[0] for key, values in axes.items()}
    slugs = set()
    for key, values in axes.items():
        for value in values:
            run = composed(rendered(sweep, first | {key: value}))
            assert run.logger.name == "wandb" and run.study_name == f"sweep_{path.stem}"
            assert run.evaluation.split.name == "dev"  # the test rows choose nothing
            slugs.add(run.slug())
            leaf: Any = run
            for name in key.split("."):
                leaf = getattr(leaf, name)
            assert value in (leaf, getattr(leaf, "name", None), getattr(leaf, "code", None))
    assert len(slugs) == 1 + sum(len(values) - 1 for values in axes.values())


def composed(overrides: list[str]) -> RunConfig:
    register_schema()
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        return parse(compose("config", overrides))


def test_the_metric_is_one_that_every_method_logs(tmp_path: Path) -> None:
    wanted = {load(path)["metric"]["name"] for path in SWEEPS}
    for name in ("clo", "sft", "sft_dpo"):
        fit(tmp_path / name, run_config(tmp_path / name, name))
        assert all(wanted <= set(line) for line in metrics(tmp_path / name, "val"))
