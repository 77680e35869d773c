"""A grid on a cluster: the submitit launcher's local executor stands in for SLURM."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from warm_runs import WarmRuns, cold, tiny

pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install 'clo[cluster]'")
from conftest import ROOT

from clo.study.export import export

LAUNCHER = ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"]


def train(place: Path, *arguments: str) -> tuple[int, str]:
    place.mkdir(parents=True, exist_ok=True)
    ended = cold([str(ROOT / "train.py"), *arguments], place)
    return ended.code, ended.err


def test_cells_are_jobs_and_a_failure_comes_back(tiny_folder: Path, tmp_path: Path) -> None:
    cells = ["-m", *LAUNCHER, *tiny(tiny_folder, tmp_path, "lang=ko,sw")]
    code, said = train(tmp_path, *cells)
    assert code == 0, said
    assert len(list(tmp_path.glob("outputs/runs/*/results.json"))) == 2
    code, said = train(tmp_path, *cells, "data_size=99999")
    assert code == 1 and said.startswith("error: data_size=99999 is beyond") and "Traceback" not in said


@pytest.mark.slow  # two nodes are tested with other launchers (test_nodes.py)
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_tasks_train_one_cell(tiny_folder: Path, tmp_path: Path, warm: WarmRuns, strategy: str) -> None:
    """The same weights as one process, up to the order of two sums, in a model folder that serves."""
    from safetensors.torch import load_file

    alone = warm.run(tiny(tiny_folder, tmp_path / "one"), tmp_path)
    tasks = ["hydra.launcher.tasks_per_node=2", f"trainer.strategy={strategy}", "trainer.devices=2"]
    both = train(tmp_path / "two", "-m", *LAUNCHER, *tasks, *tiny(tiny_folder, tmp_path / "two"))
    assert (alone.code, both[0]) == (0, 0), alone.err + both[1]
    (a,), (b,) = (list((tmp_path / name).glob("outputs/runs/*/model/model.safetensors")) for name in ("one", "two"))
    first, second = load_file(a), load_file(b)
    assert max(float((first[k] - second[k]).abs().max()) for k in first) < 1e-5
    start, starts = (json.loads((m.parents[1] / "results.json").read_text())["start"] for m in (a, b))
    assert start == starts
    export(b.parents[1], tmp_path / "served")
    assert (tmp_path / "served" / "model.safetensors").read_bytes() == b.read_bytes()
    (status,) = (tmp_path / "two").glob("outputs/runs/*/status.json")
    assert json.loads(status.read_text())["state"] == "done"
