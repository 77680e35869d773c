"""Every W&B sweep file gives a command line that our configuration takes: W&B's agent builds it, Hydra composes it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from composed import composed, run_of
from conftest import ROOT
from omegaconf import OmegaConf

from clo.config.parse import RunConfig, parse

SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))
CELLS = {"grid": 90, "data_efficiency": 60, "lambda_beta": 30, "lambda_beta_bayes": None, "learning_rate": 40}
"""Runs of every sweep; none where a search goes on for as long as it is let."""
STUDIES = {"grid": "main_grid", "data_efficiency": "data_efficiency"}
"""Sweeps whose runs are the cells of a study."""


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def values_of(parameter: dict[str, Any]) -> list[Any]:
    """What a parameter may be: all its values, or the ends and the middle of a distribution."""
    if "values" in parameter:
        return list(parameter["values"])
    low, high = float(parameter["min"]), float(parameter["max"])
    middle = {"uniform": (low + high) / 2, "log_uniform_values": math.sqrt(low * high)}
    return [low, middle[parameter["distribution"]], high]


def configurations(sweep: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Configurations in which every value of every parameter comes once."""
    axes = {key: values_of(parameter) for key, parameter in sweep["parameters"].items()}
    for k in range(max(map(len, axes.values()))):
        yield {key: values[k % len(values)] for key, values in axes.items()}


def rendered(sweep: dict[str, Any], given: dict[str, Any], monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    """The command with which W&B's agent would start the program for a configuration."""
    agents = pytest.importorskip("wandb.wandb_agent", reason="pip install 'clo[wandb]'")
    started: list[list[str]] = []

    class Process:
        def __init__(self, env: Any, command: list[str], forward_signals: bool) -> None:
            started.append(command)

    monkeypatch.setattr(agents, "AgentProcess", Process)
    for name, value in {"WANDB_DIR": str(folder), "WANDB_SWEEP_ID": "s", "WANDB_RUN_ID": "r"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", "")
    agent = agents.Agent(api=None, queue=None, sweep_id="s")
    agent._sweep_command = list(sweep["command"])
    args = {key: {"value": value} for key, value in given.items()}
    agent._command_run({"run_id": "r", "program": sweep["program"], "args": args})
    return started[0]


def leaf(run: RunConfig, key: str) -> Any:
    found: Any = run
    for name in key.split("."):
        found = getattr(found, name)
    return getattr(found, "code", getattr(found, "name", found))


def test_there_are_sweeps() -> None:
    assert {path.stem for path in SWEEPS} == set(CELLS)
    for path in SWEEPS:
        sweep, cells = load(path), CELLS[path.stem]
        assert sweep["method"] == ("bayes" if cells is None else "grid") and (ROOT / sweep["program"]).is_file()
        assert sweep["metric"] == {"name": "target/chrf", "goal": "maximize"}  # in every run's summary
        if cells is None:
            assert sweep["run_cap"] > 0
        else:
            assert math.prod(len(parameter["values"]) for parameter in sweep["parameters"].values()) == cells


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_value_arrives(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep, slugs = load(path), set()
    for given in configurations(sweep):
        *start, program = rendered(sweep, given, monkeypatch, tmp_path)[:3]
        assert (start, program) == (["/usr/bin/env", "python"], "train.py")
        cfg = composed(*rendered(sweep, given, monkeypatch, tmp_path)[3:])
        assert getattr(cfg.hydra.mode, "name", "RUN") == "RUN"  # one run in a process
        run = parse(OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"]))
        assert {key: leaf(run, key) for key in given} == given
        assert run.logger.name == "wandb"
        if path.stem in STUDIES:
            assert run.study_name == "paper_nano"
        else:
            assert run.study_name == f"sweep_{path.stem}"
            assert run.evaluation.split.name == "dev"  # the test rows choose nothing
        slugs.add(run.slug())
    assert len(slugs) == len(list(configurations(sweep)))


@pytest.mark.parametrize(("name", "study"), STUDIES.items())
def test_agents_run_the_cells_of_the_study(
    name: str, study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same axes, and the same run for the same values: a grid finds what agents have finished."""
    sweep = load(ROOT / "sweeps" / f"{name}.yaml")
    axes = {key: str(values).split(",") for key, values in composed(f"study={study}").hydra.sweeper.params.items()}
    swept = {key: [str(value) for value in one["values"]] for key, one in sweep["parameters"].items()}
    fixed = {key: [value] for key, _, value in (word.partition("=") for word in sweep["command"]) if key in axes}
    alone = {key for key, values in axes.items() if len(values) == 1}
    assert swept | fixed | {key: axes[key] for key in alone} == axes
    given = {key: parameter["values"][-1] for key, parameter in sweep["parameters"].items()}
    words = rendered(sweep, given, monkeypatch, tmp_path)[3:]
    cell = [f"{key}={given.get(key, values[0])}" for key, values in axes.items()]
    assert run_of(*words).slug() == run_of(f"study={study}", *cell).slug()


def test_no_two_configurations_share_a_folder() -> None:
    """Two agents of one sweep never write to the same place."""
    sweep = load(ROOT / "sweeps" / "lambda_beta.yaml")
    axes = {key: values_of(parameter) for key, parameter in sweep["parameters"].items()}
    some = list(itertools.product(*(values[:2] for values in axes.values())))
    names = {run_of("method=clo", *(f"{k}={v}" for k, v in zip(axes, values, strict=True))).slug() for values in some}
    assert len(names) == len(some)
