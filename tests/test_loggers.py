from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import fit, run_config

from clo.loggers import MetricsFile, finish_loggers, read_metrics, stage_loggers, write_csv
from clo.run_folder import RunFolder
from clo.settings import LoggerConfig


def steps(path: Path) -> list[tuple[Any, ...]]:
    return [(r["stage"], r["step"], *sorted(set(r) - {"stage", "step"})) for r in read_metrics(path)]


def test_lines(tmp_path: Path) -> None:
    log = MetricsFile(tmp_path / "metrics.jsonl", "clo")
    log.log_metrics({"train/loss": 0.5, "epoch": 0.1}, 1)
    log.log_metrics({"val/nll_en": 1.25}, 1)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"stage": "clo", "step": 1, "train/loss": 0.5, "epoch": 0.1}
    assert json.loads(lines[1]) == {"stage": "clo", "step": 1, "val/nll_en": 1.25}


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    path.write_text('{"stage": "clo", "step": 1}\n{"stage": "clo", "st')
    assert read_metrics(path) == [{"stage": "clo", "step": 1}]


def test_csv_has_every_name_once(tmp_path: Path) -> None:
    log = MetricsFile(tmp_path / "metrics.jsonl", "clo")
    log.log_metrics({"train/loss": 0.5}, 1)
    log.log_metrics({"val/nll_en": 1.25}, 1)
    write_csv(RunFolder(tmp_path))
    with (tmp_path / "metrics.csv").open() as file:
        assert list(csv.reader(file)) == [
            ["stage", "step", "train/loss", "val/nll_en"],
            ["clo", "1", "0.5", ""],
            ["clo", "1", "", "1.25"],
        ]


def test_which_loggers_there_are(tmp_path: Path) -> None:
    run = run_config(tmp_path)
    (only,) = stage_loggers(run, RunFolder(tmp_path), "sft")
    assert isinstance(only, MetricsFile) and (only.version, only.path) == ("sft", tmp_path / "metrics.jsonl")
    assert stage_loggers(run, RunFolder(tmp_path, main=False), "sft") == []
    finish_loggers(run)


def test_wandb_offline_gets_what_the_file_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    from dataclasses import replace

    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    seen: list[tuple[str, dict[str, Any]]] = []
    config: dict[str, Any] = {}
    from pytorch_lightning.loggers import WandbLogger

    def log(self: Any, metrics: dict[str, Any], step: int | None = None) -> None:
        seen.append((self.experiment.id, {"step": step, **metrics}))
        config.update(self.experiment.config)

    monkeypatch.setattr(WandbLogger, "log_metrics", log)
    base = run_config(tmp_path, "sft_dpo")
    run = replace(base, logger=LoggerConfig("wandb"))
    fit(tmp_path / "run", run)
    assert wandb.run is None  # closed: what comes next goes elsewhere
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    wanted = [(f"{run.slug()}-{r['stage']}", {k: v for k, v in r.items() if k != "stage"}) for r in lines]
    assert seen == wanted
    assert config["clo"] == run.science()
    assert {name for name, _ in seen} == {f"{run.slug()}-sft", f"{run.slug()}-dpo"}
