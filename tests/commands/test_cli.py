"""The command line: quick answers, and what a finished run's folder is good for."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from warm_runs import TRAIN, Ended, WarmRuns, cold, tiny

METHODS = ("sft", "sft_en", "sft_target", "sft_dpo", "clo", "clo_en_nll")


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["method.betta=1"]])
def test_answers_before_anything_heavy_is_imported(arguments: list[str], tmp_path: Path, record_property: Any) -> None:
    began = time.monotonic()
    ended = cold([TRAIN, *arguments], tmp_path)
    seconds = time.monotonic() - began
    record_property("seconds", seconds)
    assert seconds < 6, f"{arguments} took {seconds:.1f} s; 2 s is the aim"
    assert not list(tmp_path.iterdir())
    if arguments == ["--help"]:
        assert ended.code == 0
        assert all(method in ended.out for method in METHODS)
        assert "data_size=3200,6400" in ended.out and "study=data_efficiency" in ended.out
    elif arguments == ["--cfg", "job"]:
        assert ended.code == 0
        assert "data_size: 400" in ended.out and "hydra:" not in ended.out
    else:
        assert ended.code == 1 and ended.out == ""
        assert ended.err == (
            "error: Could not override 'method.betta'; Key 'betta' not in 'MethodConfig'; "
            "`python train.py --cfg job` lists the keys there are\n"
        )


@pytest.mark.parametrize("module", ["clo.commands.evaluate", "clo.report"])
def test_the_other_commands_explain_themselves(module: str, tmp_path: Path) -> None:
    ended = cold(["-m", module, "--help"], tmp_path)
    assert ended.code == 0 and f"python -m {module}" in ended.out
    ended = cold(["-m", module, "nonsense=1"], tmp_path)
    assert ended.code != 0 and "Traceback" not in ended.err
    assert ended.err.count("\n") == 1 and "nonsense" in ended.err


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table_row(ended: Ended) -> list[str]:
    (line,) = (line for line in ended.out.splitlines() if line.startswith("│"))
    return [cell.strip() for cell in line.split("│")[1:-1]]


def test_a_finished_run_is_shown_and_not_trained_again(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    command = tiny(tiny_folder, tmp_path)
    first = warm.run(command, tmp_path)
    assert first.code == 0, first.err
    (run,) = tmp_path.glob("outputs/runs/*")
    before = files(tmp_path / "outputs")
    trained = {"at": "clo.commands.train:_train_and_evaluate", "call": 1}
    again = warm.run(command, tmp_path, kill=trained)
    assert again.code == 0 and again.out.startswith(f"{run} is done already; delete it to run again\n")
    assert table_row(again) == table_row(first)
    assert files(tmp_path / "outputs") == before
    (run / "results.json").unlink()  # what a run is for is gone: it is not done, though it says so
    assert warm.run(command, tmp_path, kill=trained).code == -signal.SIGKILL
    assert warm.run(command, tmp_path).code == 0
    after = files(tmp_path / "outputs")
    name = str((run / "results.json").relative_to(tmp_path / "outputs"))
    old, new = json.loads(before[name]), json.loads(after[name])
    for results in (old, new):
        results["train"].pop("seconds")
    assert new == old


def test_a_finished_run_is_evaluated_again_and_compared(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    assert warm.run(tiny(tiny_folder, tmp_path), tmp_path).code == 0
    (run,) = tmp_path.glob("outputs/runs/*")
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    (run / "samples.jsonl").write_text("")
    ended = warm.run([f"run={run}", "max_tokens=100"], tmp_path, program="clo.commands.evaluate")
    assert ended.code == 0, ended.err
    after = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    for name in ("samples.jsonl", "config.yaml", "metrics.jsonl", "start_samples.jsonl"):
        assert after[name] == before[name], name
    assert json.loads(after["results.json"]) == json.loads(before["results.json"])
    ended = warm.run([f"run={run}", f"against={run}"], tmp_path, program="clo.commands.evaluate")
    assert ended.code == 0 and ended.out.count(" 0.500 to 0.500 ") == 2  # against itself: all ties


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run=nowhere"], "nowhere is not the folder of a finished run"),
        (["run=nowhere", "against=nowhere"], "nowhere"),
        (["against=nowhere"], "run=<folder> is missing"),
        (["run=a", "max_tokens=many"], "max_tokens=many is not a number"),
    ],
)
def test_wrong_arguments_of_evaluate(warm: WarmRuns, arguments: list[str], said: str, tmp_path: Path) -> None:
    ended = warm.run(arguments, tmp_path, program="clo.commands.evaluate")
    assert ended.code == 1 and ended.err.startswith("error: ") and ended.err.count("\n") == 1, ended.err
    assert said in ended.err
