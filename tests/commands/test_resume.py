"""Killed at any moment, the same command again gives the very result of a run that was left alone."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from warm_runs import WarmRuns, tiny

TIMINGS = ("seconds", "train/response_tokens_per_second", "train/mfu")
# 150 items are three blocks of the reference cache; 10 steps of SFT, then 5 of DPO.
SIZE = ["method=sft_dpo", "data_size=150", "batch_size=30", "trainer.checkpoints=4", "trainer.grad_norms_every=3"]

MOMENTS: dict[str, dict[str, Any]] = {
    "start model": {"at": "clo.evaluation.evaluate:generate", "call": 2},
    "first stage": {"at": "clo.training.module:CLOModule.training_step", "call": 8},
    "torn metrics line": {
        "at": "clo.training.module:CLOModule.training_step",
        "call": 4,
        "tear": ["outputs/runs/*/metrics.jsonl", '{"stage": "sft", "st'],
    },
    "first stage's weights": {"at": "clo.training.checkpoint:snapshot", "call": 1},
    "reference fill, torn": {
        "at": "clo.square.reference:ReferenceCache._append",
        "call": 3,
        "tear": ["cache/reference/*.jsonl", '\n{"block": "0123", "scores": [[-1.5, -'],
    },
    "validation": {"at": "clo.training.held_out:square_metrics", "call": 3},
    "second stage": {"at": "clo.training.module:CLOModule.training_step", "call": 14},
    "evaluation": {"at": "clo.evaluation.evaluate:generate", "call": 4},
    "model folder": {"at": "clo.study.outcome:model_card", "call": 1},
    "results": {"at": "clo.study.outcome:write_together", "call": 1},
}


@dataclass
class Outcome:
    """What must be equal."""

    model: str
    steps: list[tuple[str, int, bool]]
    metrics: list[dict[str, Any]]
    samples: list[Any]
    results: dict[str, Any]


def outcome(place: Path) -> Outcome:
    (run,) = (place / "outputs" / "runs").iterdir()
    assert json.loads((run / "status.json").read_text())["state"] == "done"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [(line["stage"], line["step"], "train/loss" in line) for line in lines]
    results = json.loads((run / "results.json").read_text())
    results["train"].pop("seconds")
    metrics = [{k: v for k, v in line.items() if k not in TIMINGS} for line in lines]
    samples = [
        json.loads(line)
        for name in ("samples", "start_samples")
        for line in (run / f"{name}.jsonl").read_text().splitlines()
    ]
    weights = hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()
    assert not [path.name for path in run.rglob("*.tmp")]
    return Outcome(weights, steps, metrics, samples, results)


@pytest.fixture(scope="module")
def alone(warm: WarmRuns, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    place = tmp_path_factory.mktemp("alone")
    ended = warm.run(tiny(tiny_folder, place, *SIZE), place)
    assert ended.code == 0, ended.err
    return outcome(place)


def test_an_uninterrupted_run_logs_every_step_once(alone: Outcome) -> None:
    trained = [(stage, step) for stage, step, is_train in alone.steps if is_train]
    assert trained == [("sft", k) for k in range(1, 11)] + [("dpo", k) for k in range(1, 6)]
    validated = [(stage, step) for stage, step, is_train in alone.steps if not is_train]
    assert validated[0] == ("sft", 0) and validated[-1] == ("dpo", 5)
    assert len(set(validated)) == len(validated)


def same(found: Outcome, wanted: Outcome) -> None:
    assert found.steps == wanted.steps
    assert found.metrics == wanted.metrics
    assert found.samples == wanted.samples
    assert found.results == wanted.results
    assert found.model == wanted.model


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_run_again(moment: str, alone: Outcome, warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    command = tiny(tiny_folder, tmp_path, *SIZE)
    killed = warm.run(command, tmp_path, kill=MOMENTS[moment])
    assert killed.code == -signal.SIGKILL, killed.err
    (run,) = (tmp_path / "outputs" / "runs").iterdir()
    assert json.loads((run / "status.json").read_text())["state"] == "running"
    ended = warm.run(command, tmp_path)
    assert ended.code == 0, ended.err
    same(outcome(tmp_path), alone)


def test_killed_from_outside(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    """As a scheduler or a user would: kill -9 from another process, at whatever moment that hits."""
    size = ["data_size=120", "batch_size=2", "trainer.grad_norms_every=1", "trainer.checkpoints=100"]
    command = tiny(tiny_folder, tmp_path, *size)
    child = warm.start(command, tmp_path)
    deadline = time.monotonic() + 60
    while len(metrics_lines(tmp_path)) < 15:
        assert time.monotonic() < deadline, (tmp_path / "stderr").read_text()
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    assert warm.wait(tmp_path).code == -signal.SIGKILL
    last = json.loads(metrics_lines(tmp_path)[-2])["step"]
    assert last < 120
    assert list(tmp_path.glob("outputs/runs/*/checkpoint/1-clo/step*.safetensors"))
    ended = warm.run(command, tmp_path)
    assert ended.code == 0, ended.err
    trained = [step for _, step, is_train in outcome(tmp_path).steps if is_train]
    assert trained == list(range(1, 121))


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_hand(end: signal.Signals, warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    command = tiny(tiny_folder, tmp_path, "method.epochs=10000")
    child = warm.start(command, tmp_path)
    deadline = time.monotonic() + 60
    while len(metrics_lines(tmp_path)) < 15:
        assert time.monotonic() < deadline, (tmp_path / "stderr").read_text()
        time.sleep(0.005)
    os.kill(child, end)
    ended = warm.wait(tmp_path)
    assert ended.err.endswith("stopped; the same command goes on from the last checkpoint\n")
    assert ended.code == 130 and "Traceback" not in ended.err
    (status,) = tmp_path.glob("outputs/runs/*/status.json")
    found = json.loads(status.read_text())
    assert (found["state"], found["error"]) == ("failed", "stopped")


def metrics_lines(place: Path) -> list[bytes]:
    found = list(place.glob("outputs/runs/*/metrics.jsonl"))
    return found[0].read_bytes().splitlines() if found else []
