from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import fit, run_config

from clo.config import LoggerConfig
from clo.storage.jsonl import read_lines
from clo.storage.run_folder import RunFolder
from clo.training.loggers import MetricsFile, stage_loggers, write_csv
from clo.training.tracking import finish


def steps(path: Path) -> list[tuple[Any, ...]]:
    return [(r["stage"], r["step"], *sorted(set(r) - {"stage", "step"})) for r in read_lines(path)]


def test_lines(tmp_path: Path) -> None:
    log = MetricsFile(tmp_path / "metrics.jsonl", "clo")
    log.log_metrics({"train/loss": 0.5, "epoch": 0.1}, 1)
    log.log_metrics({"val/nll_en": 1.25}, 1)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"stage": "clo", "step": 1, "train/loss": 0.5, "epoch": 0.1}
    assert json.loads(lines[1]) == {"stage": "clo", "step": 1, "val/nll_en": 1.25}


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_lines(path) == []
    path.write_text('{"stage": "clo", "step": 1}\n{"stage": "clo", "st')
    assert read_lines(path) == [{"stage": "clo", "step": 1}]


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


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    wandb = pytest.importorskip("wandb", reason="pip install 'clo[wandb]'")
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    return wandb


SECRET = "0123456789abcdef0123456789abcdef01234567"


def test_wandb_gets_what_the_file_gets_in_one_run(
    tmp_path: Path, offline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from pytorch_lightning.loggers import WandbLogger

    seen: list[tuple[str, dict[str, Any]]] = []
    config: dict[str, Any] = {}

    def log(self: Any, metrics: dict[str, Any], step: int | None = None) -> None:
        seen.append((self.experiment.id, {"stage": self._prefix, "step": step, **metrics}))
        config.update(self.experiment.config)

    monkeypatch.setattr(WandbLogger, "log_metrics", log)
    run = replace(run_config(tmp_path, "sft_dpo"), logger=LoggerConfig("wandb"))
    fit(tmp_path / "run", run)
    finish(failed=False)
    assert offline.run is None  # closed: what comes next goes elsewhere
    assert [line for _, line in seen] == read_lines(tmp_path / "run" / "metrics.jsonl")
    (name,) = {name for name, _ in seen}
    assert name.startswith(f"{run.slug()}-")
    fit(tmp_path / "run", run)  # the same folder goes on in its run,
    finish(failed=False)
    assert {other for other, _ in seen} == {name}
    fit(tmp_path / "other", replace(run, study_name="other"))  # another one has its own
    finish(failed=False)
    assert len({other for other, _ in seen}) == 2
    assert config["clo"] == run.science()


@pytest.mark.parametrize(("fails", "lang"), [(False, "sw"), (True, "sw"), (False, "[sw,de]")])
def test_a_whole_run_offline(
    fails: bool, lang: str, offline: Any, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Summary, heat map, answers and files are there; a failed run is closed as failed; no key is written anywhere."""
    from composed import run_of
    from warm_runs import tiny

    from clo.study.run import run_cell

    ends: list[tuple[int, dict[str, Any], list[str]]] = []
    usual = offline.finish

    def finish(exit_code: int) -> None:
        if offline.run is not None:
            logged = [path.name for path in Path(offline.run.dir).rglob("*") if path.is_file()]
            ends.append((exit_code, dict(offline.run.summary), logged))
        usual(exit_code)

    monkeypatch.setattr(offline, "finish", finish)
    run = run_of(*tiny(tiny_folder, tmp_path, "logger=wandb", f"lang={lang}"))
    if fails:
        monkeypatch.setattr("clo.study.outcome.save_model", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_cell(run)
    else:
        run_cell(run)
    ((code, summary, files),) = ends
    assert code == int(fails)
    several = "sw/" if "de" in lang else ""
    assert (f"{several}target/chrf" in summary and f"{several}en/chrf" in summary) != fails
    assert (
        any(name.endswith(".png") for name in files) and any(name.endswith(".table.json") for name in files)
    ) != fails
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in written)  # for `wandb sync` later
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]


def test_wandb_says_one_line(tiny_folder: Path, tmp_path: Path) -> None:
    """Where the run is, not forty lines about it."""
    from warm_runs import TRAIN, cold, tiny

    pytest.importorskip("wandb", reason="pip install 'clo[wandb]'")
    ended = cold([TRAIN, *tiny(tiny_folder, tmp_path, "logger=wandb")], tmp_path, WANDB_MODE="offline")
    assert ended.code == 0 and "wandb:" not in ended.out + ended.err, ended.err
    (line,) = [line for line in ended.out.splitlines() if "W&B" in line]
    assert line.startswith(f"W&B: kept in {tmp_path}") and "`wandb sync " in line


def test_wandb_without_a_login(tiny_folder: Path, tmp_path: Path) -> None:
    from warm_runs import TRAIN, cold, tiny

    pytest.importorskip("wandb", reason="pip install 'clo[wandb]'")
    home = {"WANDB_MODE": "online", "WANDB_API_KEY": "", "HOME": str(tmp_path), "NETRC": str(tmp_path / "none")}
    ended = cold([TRAIN, *tiny(tiny_folder, tmp_path, "logger=wandb")], tmp_path, **home)
    assert ended.code == 1 and ended.err.count("\n") == 1, ended.err
    assert ended.err.startswith("error: logger=wandb cannot open a run (No API key configured")
