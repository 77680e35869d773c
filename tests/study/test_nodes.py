"""One run on two machines: two processes that know of each other by torchrun's or srun's variables alone."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from warm_runs import ENVIRONMENT, WarmRuns, tiny

from clo.storage.ranks import is_main, local_rank


def torchrun(asked: list[str], port: int, place: Path, warm: WarmRuns) -> None:
    """Its own launcher, on both machines."""
    processes = []
    for node in range(2):
        words = f"--nnodes=2 --node_rank={node} --nproc_per_node=1 --master_addr=127.0.0.1 --master_port={port}"
        command = [sys.executable, "-m", "torch.distributed.run", *words.split(), str(ROOT / "train.py"), *asked]
        log = (place / f"{node}.txt").open("w")
        processes.append(subprocess.Popen(command, cwd=place, env=ENVIRONMENT, stdout=log, stderr=log))
    codes = [process.wait(240) for process in processes]
    assert codes == [0, 0], [(place / f"{node}.txt").read_text() for node in range(2)]


def srun(asked: list[str], port: int, place: Path, warm: WarmRuns) -> None:
    """What SLURM's starter does: the same command with a task's variables."""
    nodes = []
    for node in range(2):
        number = {"PROCID": node, "NODEID": node, "LOCALID": 0, "NTASKS": 2, "NNODES": 2, "NTASKS_PER_NODE": 1}
        words = {f"SLURM_{name}": str(value) for name, value in number.items()}
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "SLURM_NODELIST": "localhost"}
        nodes.append({**words, **where, "SLURM_JOB_ID": "123", "SLURM_JOB_NAME": "clo"})
    ended = warm.run(asked, place, nodes=nodes)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize("starter", [torchrun, srun])
def test_two_nodes_train_one_run(tiny_folder: Path, tmp_path: Path, warm: WarmRuns, starter: Any) -> None:
    """The weights of one process, up to the order of two sums; the second node writes nothing and fails nothing."""
    from safetensors.torch import load_file

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    starter(tiny(tiny_folder, tmp_path / "two", "trainer.nodes=2", "trainer.strategy=ddp"), port, tmp_path, warm)
    alone = warm.run(tiny(tiny_folder, tmp_path / "one"), tmp_path)
    assert alone.code == 0, alone.err
    (a,), (b,) = (list((tmp_path / name).glob("outputs/runs/*/model/model.safetensors")) for name in ("one", "two"))
    assert a.parents[1].name == b.parents[1].name  # the number of machines is no part of a result
    first, second = load_file(a), load_file(b)
    assert max(float((first[k] - second[k]).abs().max()) for k in first) < 1e-5
    start, starts = (json.loads((m.parents[1] / "results.json").read_text())["start"] for m in (a, b))
    assert start == starts and a.parents[1].joinpath("start_samples.jsonl").read_bytes() == (
        b.parents[1].joinpath("start_samples.jsonl").read_bytes()
    )  # answered by both together
    (status,) = (tmp_path / "two").glob("outputs/runs/*/status.json")
    assert json.loads(status.read_text())["state"] == "done"


@pytest.mark.parametrize(
    ("variables", "main", "local"),
    [
        ({}, True, 0),
        ({"LOCAL_RANK": "1"}, False, 1),
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, False, 0),
        ({"RANK": "2", "LOCAL_RANK": "0"}, False, 0),
        ({"RANK": "0", "LOCAL_RANK": "0", "SLURM_PROCID": "3", "SLURM_NTASKS": "4"}, True, 0),
        ({"SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NTASKS": "4"}, False, 1),
        ({"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "4"}, True, 0),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "4", "SLURM_JOB_NAME": "bash"}, True, 0),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, True, 0),
    ],
)
def test_ranks(variables: dict[str, str], main: bool, local: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (is_main(), local_rank()) == (main, local)
