"""The command line in processes of their own, forked from one that has imported torch already (seconds saved per run).

A run may be told to kill itself (SIGKILL, so nothing is tidied up) at the n-th call of a function, which makes tests
of kill-and-resume exact where a stopwatch would be flaky.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TRAIN = str(ROOT / "train.py")
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
# The grids of other tests on this machine do not count.
ENVIRONMENT["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="clo-tests-")
atexit.register(shutil.rmtree, ENVIRONMENT["XDG_RUNTIME_DIR"], ignore_errors=True)
for _name in ("HYDRA_FULL_ERROR", "WANDB_RUN_ID", "LOCAL_RANK"):
    ENVIRONMENT.pop(_name, None)


@dataclass
class Ended:
    """How a process ended and what it said."""

    code: int
    out: str
    err: str


_LR = {"sft": 1e-3, "sft_en": 1e-3, "sft_target": 1e-3, "sft_dpo": 3e-5, "clo": 1e-3, "clo_en_nll": 2e-3}
_LR |= {"crpo": 1e-3, "sft_dpo_pairs": 1e-3}
NANO = (
    *("model.name=nano", "model.template=chat", "model.dtype=float32", "model.recipe.nll_reduction=token_sum"),
    *(f"model.recipe.lr.{method}={rate}" for method, rate in _LR.items()),
)
"""The settings of conf/model/nano.yaml, for a model that is as small."""


def tiny(model: Path, place: Path, *more: str) -> list[str]:
    """Arguments of a run that takes a second: a random model, six test rows, all files below ``place``."""
    own_rate = any(word.startswith("method.lr=") for word in more)  # no rate of the recipe is read then
    return [
        "model=any",
        f"model.path={model}",
        *(word for word in NANO if not (own_rate and word.startswith("model.recipe.lr."))),
        "model.max_length=200",
        "evaluation.rows=6",
        "evaluation.val_items=6",
        "evaluation.max_new_tokens=4",
        "batch_size=4",
        "data_size=16",
        f"output_dir={place}/outputs",
        f"cache_dir={place}/cache",
        *more,
    ]


def cold(arguments: list[str], cwd: Path, timeout: float = 120, **environment: str) -> Ended:
    """One real ``python train.py …``, imports and all."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env={**ENVIRONMENT, **environment}, capture_output=True, timeout=timeout
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


class WarmRuns:
    """Starts runs from a warm process."""

    def __enter__(self) -> WarmRuns:
        command = [sys.executable, str(ROOT / "tests" / "warm_server.py")]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(60)

    def run(
        self,
        arguments: list[str],
        cwd: Path,
        kill: dict[str, Any] | Sequence[dict[str, Any]] | None = None,
        missing: str = "",
        command: str = "train",
        nodes: Sequence[dict[str, str]] = ({},),
        before: str = "",
    ) -> Ended:
        """Run ``clo train`` (or another command) with these arguments to its end.

        Args:
            arguments: the command line.
            cwd: where it runs.
            kill: ``{"at": "module:name", "call": n}``: SIGKILL (or ``"by"``) at the n-th call; ``"tear": [glob, text]``
                first leaves ``text`` at the end of the matching file, as a write that got no further; with
                ``"whom": "parent"`` a cell kills the grid that it belongs to. Of several the first that comes.
            missing: name of a package that cannot be imported in this run.
            command: the word after ``clo``; or ``train_tiny``, of train_tiny.py.
            nodes: what the environment has besides, for each of the processes that run it together.
            before: ``"module:name"`` of a function that the process calls first.
        """
        self.start(arguments, cwd, kill, missing, command, nodes, before)
        return self.wait(cwd)

    def start(
        self,
        arguments: list[str],
        cwd: Path,
        kill: dict[str, Any] | Sequence[dict[str, Any]] | None = None,
        missing: str = "",
        command: str = "train",
        nodes: Sequence[dict[str, str]] = ({},),
        before: str = "",
    ) -> int:
        """Start it and return the process id, of the first where there are several."""
        job = {"arguments": arguments, "cwd": str(cwd), "kill": kill, "missing": missing, "command": command}
        return int(self._ask(**job, nodes=list(nodes), before=before))

    def wait(self, cwd: Path) -> Ended:
        """Wait for the run that was started last; of several processes the first that failed tells the exit code."""
        return Ended(int(self._ask(wait=True)), (cwd / "stdout").read_text(), (cwd / "stderr").read_text())

    def _ask(self, **job: Any) -> str:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps(job).encode() + b"\n")
        self._server.stdin.flush()
        return self._server.stdout.readline().decode()
