"""A cell of a grid: one run in a process of its own, forked from one that has done the imports."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from clo.config.parse import RunConfig
from clo.errors import InUse, UserError
from clo.storage.files import read_object
from clo.storage.run_folder import RunFolder
from clo.study.lifeline import end_with_parent
from clo.study.run import run_cell
from clo.study.slots import Place

Ends = Callable[[Callable[[], object]], None]
"""Calls a function and ends the process with its exit code, as the command line does."""
CONTEXT = "forkserver"
"""How processes are started, see :mod:`multiprocessing`."""
BUSY = 75
"""Exit code of a cell whose folder another process holds."""
TAIL = 12
"""Lines of a failed cell's log that are shown."""


@dataclass
class Cell:
    """One run of the grid."""

    name: str
    path: Path
    overrides: list[str]
    run: RunConfig
    process: BaseProcess | None = field(default=None, repr=False)
    place: Place | None = None
    """Where it runs, while it does."""
    tries: int = 0
    """Times that it was begun, here or by another worker that failed."""
    look: float = 0.0
    """When it may be begun, or looked at again, on the clock of time.monotonic."""
    elsewhere: str | None = None
    """The other worker that it was last seen with."""

    def start(self, ends: Ends) -> None:
        """Start the cell's process, which ends with this one; what it prints goes to log.txt in its folder.

        Raises:
            UserError: the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / "log.txt").open("ab").close()
        except OSError as error:
            raise UserError(
                f"cannot write the run folder {self.path} ({error.strerror}); set output_dir to a writable place"
            ) from error
        context: Any = multiprocessing.get_context(CONTEXT)
        if CONTEXT == "forkserver":
            context.set_forkserver_preload(["clo.study.preload"])
            # The server looks for modules as a program of its own does.
            root = str(Path(__file__).resolve().parents[2])
            there = os.environ.get("PYTHONPATH", "").split(os.pathsep)
            os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(filter(None, [root, *there])))
        place = self.place
        threads = self.run.trainer.threads if place is None else place.threads
        trainer = replace(self.run.trainer, threads=threads)
        run = replace(self.run, trainer=trainer, jobs=None, retries=RunConfig.retries)  # the grid's
        words, gpus = [*self.overrides, f"trainer.threads={threads}"], None if place is None else place.gpus
        self.process = context.Process(target=_work, args=(run, words, self.path / "log.txt", gpus, ends))
        self.process.start()

    def work(self) -> float:
        """Items that it trains on, each as often as it comes."""
        method, items = self.run.method, sum(self.run.sizes().values())
        return items * method.epochs if method.steps is None else self.run.batch_size * method.steps

    def state(self) -> str:
        """As of its folder."""
        return RunFolder(self.path).state()

    def status(self) -> dict[str, Any]:
        """status.json, empty while there is none."""
        try:
            return read_object(self.path / "status.json")
        except (OSError, ValueError):
            return {}

    def code(self) -> int | None:
        """The exit code of its process; None while it works, or where it never did here."""
        return None if self.process is None else self.process.exitcode

    def reason(self) -> str:
        """Why the cell failed, in one line."""
        status = self.status()
        if status.get("state") == "failed" and status.get("error"):
            return str(status["error"])
        last = [line for line in self.tail() if line.strip()]
        return f"{last[-1].removeprefix('error: ') if last else 'no output'} (exit code {self.code()})"

    def tail(self) -> list[str]:
        """The last lines of its log."""
        try:
            return (self.path / "log.txt").read_text(encoding="utf-8", errors="replace").rstrip().splitlines()[-TAIL:]
        except OSError:
            return []


def _work(run: RunConfig, overrides: list[str], log: Path, gpus: str | None, ends: Ends) -> None:
    """The life of a cell's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's, which sends SIGTERM
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    written = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(written, 1)
    os.dup2(written, 2)
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus
    # Lightning starts further ranks by this process's own command.
    sys.argv = ["clo", "train", *overrides, "hydra.mode=RUN"]
    sys.modules["__main__"] = importlib.import_module("clo.__main__")
    end_with_parent()
    ends(lambda: _run(run))


def _run(run: RunConfig) -> None:
    try:
        run_cell(run)
    except InUse as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BUSY)
