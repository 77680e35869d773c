"""tuning.layers=auto in a run: chosen once, said, recorded, and read again by whatever goes on with the run."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from composed import run_of
from safetensors import safe_open
from warm_runs import WarmRuns, tiny

from clo.errors import UserError
from clo.study.layer_choice import recorded_tuning

CHOOSING = {"at": "clo.training.layer_shares:choose_layers", "call": 1}
AUTO = ("tuning.layers=auto", "tuning.auto_items=5")


def trained_layers(run: Path) -> set[int]:
    with safe_open(next((run / "checkpoint").glob("1-*.safetensors")), "pt") as file:
        return {int(name.split(".layers.")[1].split(".")[0]) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize("tuning", ["attention", "attention_lora"])
def test_the_choice_is_made_once(tuning: str, warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    """A killed run goes on with the layers it began with, and so does a model that is made again."""
    words = tiny(tiny_folder, tmp_path, f"tuning={tuning}", *AUTO)
    step = {"at": "clo.training.module:CLOModule.training_step", "call": 4}
    assert warm.run(words, tmp_path, kill=step).code == -signal.SIGKILL
    (run,) = tmp_path.glob("outputs/runs/*")
    record: dict[str, Any] = json.loads((run / "layers.json").read_text())
    assert record["items"] == 5 and sum(record["shares"]) == pytest.approx(1.0) and len(record["shares"]) == 2
    first, last = record["layers"]
    assert f"layers {first} to {last} train" in (tmp_path / "stdout").read_text()
    ended = warm.run(words, tmp_path, kill=CHOOSING)
    assert ended.code == 0, ended.err
    assert json.loads((run / "results.json").read_text())["train"]["layers"] == record
    assert trained_layers(run) == set(range(first, last + 1)) != {0, 1}
    shutil.rmtree(run / "model")
    ended = warm.run(words, tmp_path, kill=CHOOSING)
    assert ended.code == 0 and "it is made again" in ended.out, ended.err


def test_a_record_that_is_gone_is_said(tmp_path: Path) -> None:
    run = run_of(*AUTO)
    for content in (None, "{", '{"layers": [1]}', '{"layers": ["a", "b"]}'):
        if content is not None:
            (tmp_path / "layers.json").write_text(content)
        with pytest.raises(UserError, match=r"cannot read which layers train from .*layers\.json; "):
            recorded_tuning(run, tmp_path)
    (tmp_path / "layers.json").write_text('{"layers": [1, 2]}')
    assert recorded_tuning(run, tmp_path).layers == [1, 2]
    assert recorded_tuning(run_of("tuning.layers=upper"), tmp_path).layers == "upper"


def test_a_plan_takes_all_layers_for_the_most_it_can_be(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    found = [warm.run(tiny(tiny_folder, tmp_path, "plan=true", *more), tmp_path) for more in ((), AUTO)]
    assert [ended.code for ended in found] == [0, 0], found[1].err
    assert not list(tmp_path.glob("outputs/*"))
