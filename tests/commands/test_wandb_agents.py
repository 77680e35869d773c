"""``wandb sweep`` and two ``wandb agent`` of its result on one machine, against a stand-in for W&B's server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from warm_runs import ENVIRONMENT, TRAIN, tiny

CONFIGURATIONS = [{"lang": "sw", "method": "sft"}, {"lang": "sw", "method": "clo"}, {"lang": "ko", "method": "sft"}]

pytestmark = pytest.mark.slow  # three runs by two agents: a minute of both cores


@pytest.fixture(scope="module")
def swept(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, list[str]]:
    """A sweep of the repository with a tiny model and three configurations, done by two agents at a time."""
    pytest.importorskip("wandb", reason="pip install 'clo[wandb]'")
    from wandb_stand_in import StandIn

    place = tmp_path_factory.mktemp("sweep")
    sweep = yaml.safe_load((ROOT / "sweeps" / "learning_rate.yaml").read_text(encoding="utf-8"))
    sweep |= {"program": TRAIN, "parameters": {"lang": {"values": ["sw", "ko"]}, "method": {"values": ["sft", "clo"]}}}
    head, tail = sweep["command"][:3], sweep["command"][-2:]
    sweep["command"] = [*head, *tiny(tiny_folder, place, "study_name=swept"), *tail]
    (place / "sweep.yaml").write_text(yaml.safe_dump(sweep), encoding="utf-8")
    own = {"WANDB_MODE": "offline", "WANDB_API_KEY": "0" * 40, "HOME": str(place), "NETRC": str(place / "none")}
    path = f"{Path(sys.executable).parent}:{ENVIRONMENT['PATH']}"  # an agent starts `python`
    said = []
    with StandIn() as server:
        environment = {**ENVIRONMENT, **own, "PATH": path, "WANDB_BASE_URL": server.url}
        environment.pop("OMP_NUM_THREADS")  # how many threads a run takes is the run's own business

        def wandb(*words: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "wandb", *words]
            return subprocess.Popen(
                command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )

        made = wandb("sweep", "--entity", "me", "--project", "clo", "sweep.yaml")
        said.append(made.communicate(timeout=300)[0].decode())
        assert "me/clo/abcd1234" in said[0], said[0]
        server.waiting = list(CONFIGURATIONS)
        agents = [wandb("agent", "me/clo/abcd1234") for _ in range(2)]
        try:
            said += [agent.communicate(timeout=900)[0].decode() for agent in agents]
        finally:
            for agent in agents:
                agent.kill()
    return place, server, said


def test_every_configuration_is_run_once(swept: tuple[Path, Any, list[str]]) -> None:
    place, server, said = swept
    assert sorted(len(given) for given in server.given.values()) == [1, 2], said  # both agents worked
    found = [json.loads(path.read_text()) for path in place.glob("outputs/swept/*/results.json")]
    done = sorted((result["lang"], result["method"]) for result in found)
    assert done == sorted((given["lang"], given["method"]) for given in CONFIGURATIONS), said
    assert all(isinstance(result["scores"]["target"]["all"]["chrf"], float) for result in found)  # the sweeps' metric


def test_every_run_has_a_process_and_a_wandb_run_of_its_own(swept: tuple[Path, Any, list[str]]) -> None:
    place, _, said = swept
    status = [json.loads(path.read_text()) for path in place.glob("outputs/swept/*/status.json")]
    assert [one["state"] for one in status] == ["done"] * 3 and len({one["pid"] for one in status}) == 3
    runs = [path.name.rpartition("-")[2] for path in place.rglob("offline-run-*") if path.is_dir()]
    assert sorted(runs) == ["run1", "run2", "run3"], said  # the names that the sweep gave


def test_a_run_takes_the_threads_that_it_was_given(swept: tuple[Path, Any, list[str]]) -> None:
    """Two agents on two cores: one thread each, whatever the number of cores."""
    place, _, _ = swept
    for path in place.glob("outputs/swept/*/config.yaml"):
        assert yaml.safe_load(path.read_text())["trainer"]["threads"] == 1
