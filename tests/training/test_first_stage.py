"""A first stage that compares nothing is trained by one run, and taken by the others that begin with it."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import ATTENTION, DATA, LORA, fit, metrics, random_items, run_config, tuned

import clo.training.stages
from clo.config import SftStage
from clo.config.choices import Keep
from clo.config.parse import RunConfig
from clo.storage.run_folder import RunFolder
from clo.training.stages import fit_stages


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the stages that are trained, as they begin."""
    names: list[str] = []
    real = clo.training.stages._fit_stage

    def counted(run: RunConfig, model: Any, plan: Any, *rest: Any) -> Any:
        names.append(plan.name)
        return real(run, model, plan, *rest)

    monkeypatch.setattr(clo.training.stages, "_fit_stage", counted)
    return names


def sft(folder: Path, **trainer: Any) -> RunConfig:
    return run_config(folder, "sft", **trainer)


def sft_dpo(folder: Path, lr: float = 3e-3, **trainer: Any) -> RunConfig:
    return run_config(folder, "sft_dpo", method_changes={"lr": lr}, **trainer)


def kept(folder: Path) -> dict[str, bytes]:
    """Trained weights of a run's stages."""
    stages = (folder / "checkpoint").glob("*.safetensors")
    return {f"{path.stem} {name}": t.numpy().tobytes() for path in stages for name, t in load_file(path).items()}


def log(folder: Path) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl without what a clock says."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if "second" not in key and "mfu" not in key} for line in lines]


def test_methods_that_begin_alike_train_it_once(tmp_path: Path, trained: list[str]) -> None:
    """Also where the second stage has another rate, and the weights and the log are those of a run alone."""
    fit(tmp_path / "a", sft(tmp_path))
    fit(tmp_path / "b", sft_dpo(tmp_path))
    fit(tmp_path / "c", sft_dpo(tmp_path, lr=1e-3))
    assert trained == ["sft", "dpo", "dpo"]
    fit(tmp_path / "alone", sft_dpo(tmp_path / "elsewhere"))
    assert trained == ["sft", "dpo", "dpo", "sft", "dpo"]
    assert log(tmp_path / "b") == log(tmp_path / "alone")
    assert kept(tmp_path / "b") == kept(tmp_path / "alone") != {}


def test_the_first_to_train_may_be_the_longer_method(tmp_path: Path, trained: list[str]) -> None:
    fit(tmp_path / "b", sft_dpo(tmp_path))
    model = fit(tmp_path / "a", sft(tmp_path))
    assert trained == ["sft", "dpo"]
    other = fit(tmp_path / "alone", sft(tmp_path / "elsewhere"))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


CHANGES: dict[str, Callable[[RunConfig], RunConfig]] = {
    "seed": lambda run: replace(run, seed=4),
    "batch": lambda run: replace(run, batch_size=7),
    "rate of the stage": lambda run: replace(run, method=replace(run.method, sft_first=SftStage(5e-3, 2.0))),
    "passes": lambda run: replace(run, method=replace(run.method, sft_first=SftStage(1e-2, 1.0))),
    "decay": lambda run: replace(run, optimizer=replace(run.optimizer, weight_decay=0.0)),
    "precision": lambda run: replace(run, trainer=replace(run.trainer, precision="bf16-mixed")),
    "threads": lambda run: replace(run, trainer=replace(run.trainer, threads=run.trainer.threads + 1)),
    "weights that train": lambda run: replace(run, tuning=LORA),
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_stage_is_not_taken(tmp_path: Path, trained: list[str], name: str) -> None:
    fit(tmp_path / "a", sft(tmp_path))
    fit(tmp_path / "b", CHANGES[name](sft_dpo(tmp_path)))
    assert trained == ["sft", "sft", "dpo"]


def test_other_rows_and_other_weights_are_not_taken(tmp_path: Path, trained: list[str]) -> None:
    fit(tmp_path / "a", sft(tmp_path))
    fit(tmp_path / "b", sft(tmp_path), data=replace(DATA, train=[*DATA.train[1:], DATA.train[0]]))
    fit(tmp_path / "c", sft(tmp_path), data=replace(DATA, val=random_items(3, seed=2)))
    fit(tmp_path / "d", sft(tmp_path), model=tuned(ATTENTION, model_seed=1))
    assert trained == ["sft"] * 4


def test_a_stage_that_compares_or_is_chosen_is_the_runs_own(tmp_path: Path, trained: list[str]) -> None:
    for name in ("a", "b"):
        fit(tmp_path / name, run_config(tmp_path))
        fit(tmp_path / f"best {name}", sft(tmp_path, keep=Keep.best))
    assert trained == ["clo", "sft", "clo", "sft"]
    assert not (tmp_path / "cache" / "stages").exists()


def test_what_is_gone_or_was_made_again_is_trained_anew(tmp_path: Path, trained: list[str]) -> None:
    fit(tmp_path / "a", sft(tmp_path))
    shutil.rmtree(tmp_path / "a")
    fit(tmp_path / "b", sft_dpo(tmp_path))
    assert trained == ["sft", "sft", "dpo"]
    shutil.rmtree(tmp_path / "b")  # the same folder, from other rows
    fit(tmp_path / "b", sft(tmp_path), data=replace(DATA, train=random_items(14, seed=5)))
    fit(tmp_path / "c", sft(tmp_path))
    assert trained == ["sft", "sft", "dpo", "sft", "sft"]
    (record,) = [p for p in (tmp_path / "cache" / "stages").glob("*.json") if str(tmp_path / "c") in p.read_text()]
    record.write_text("{", encoding="utf-8")
    fit(tmp_path / "d", sft(tmp_path))
    assert len(trained) == 6


def test_a_run_without_its_log_gives_no_stage(tmp_path: Path, trained: list[str]) -> None:
    fit(tmp_path / "a", sft(tmp_path))
    (tmp_path / "a" / "metrics.jsonl").unlink()
    fit(tmp_path / "b", sft_dpo(tmp_path))
    assert trained == ["sft", "sft", "dpo"] and metrics(tmp_path / "b")[0]["stage"] == "sft"


def test_a_broken_attempt_leaves_no_lines_behind(tmp_path: Path, trained: list[str]) -> None:
    """A run that was killed in its own first stage takes another's: the log holds every step once."""
    fit(tmp_path / "a", sft(tmp_path))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "metrics.jsonl").write_text('{"stage": "sft", "step": 1, "train/loss": 9.0}\n', encoding="utf-8")
    fit(tmp_path / "b", sft_dpo(tmp_path))
    steps = [line["step"] for line in metrics(tmp_path / "b") if line["stage"] == "sft"]
    assert steps == sorted(set(steps)) and metrics(tmp_path / "b")[0]["train/loss"] < 9


def test_what_it_cost_elsewhere_is_told(tmp_path: Path) -> None:
    run, made, taken = sft(tmp_path), RunFolder(tmp_path / "a"), RunFolder(tmp_path / "b")
    first = fit_stages(run, tuned(), DATA, made, memory=lambda: {"peak_memory_gb": 7.0})
    began = time.monotonic()
    second = fit_stages(run, tuned(), DATA, taken)
    assert first.spent["peak_memory_gb"] == second.spent["peak_memory_gb"] == 7.0
    assert second.spent["seconds"] > time.monotonic() - began  # taking it is faster than training it
    assert second.warnings == first.warnings
    for folder, before in ((made, first), (taken, second)):  # killed after its training, and run again
        again = fit_stages(run, tuned(), DATA, folder)
        assert again.spent["seconds"] >= before.spent["seconds"] and again.spent["peak_memory_gb"] == 7.0


def test_who_comes_meanwhile_waits(tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """And its status says for what."""
    counted = clo.training.stages._fit_stage
    inside, go_on = threading.Event(), threading.Event()

    def held(*arguments: Any) -> Any:
        inside.set()
        assert go_on.wait(60)
        return counted(*arguments)

    monkeypatch.setattr(clo.training.stages, "_fit_stage", held)
    maker = threading.Thread(target=fit, args=(tmp_path / "a", sft(tmp_path)))
    maker.start()
    assert inside.wait(60)
    waiter = threading.Thread(target=fit, args=(tmp_path / "b", sft(tmp_path)))
    waiter.start()
    status = tmp_path / "b" / "status.json"
    deadline = time.monotonic() + 60
    while not (status.is_file() and "waits for stage sft" in status.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "waits for stage sft" in status.read_text()
    go_on.set()
    maker.join(60)
    waiter.join(60)
    assert trained == ["sft"] and kept(tmp_path / "a") == kept(tmp_path / "b")
