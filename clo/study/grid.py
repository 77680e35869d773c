"""A grid of runs: every cell in a process of its own, as many at a time as cores or GPUs carry, one table at the end.

No torch here: the parent only starts processes and reads run folders.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from clo.config.parse import RunConfig
from clo.errors import UserError
from clo.storage.files import read_object
from clo.storage.run_folder import RunFolder
from clo.study.lifeline import Lifeline
from clo.study.rebuild import has_model
from clo.study.slots import slots_of
from clo.study.table import print_table


@dataclass
class Cell:
    """One run of the grid."""

    name: str
    path: Path
    overrides: list[str]
    run: RunConfig
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    log: IO[bytes] | None = field(default=None, repr=False)
    gpus: str | None = None
    """The only GPUs that its process sees, where it runs on some."""

    def start(self, lifeline: Lifeline) -> None:
        """Start the cell's process, which ends with this one; what it prints goes to log.txt in its folder."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.log = (self.path / "log.txt").open("ab")
        except OSError as error:
            raise UserError(
                f"cannot write the run folder {self.path} ({error.strerror}); set output_dir to a writable place"
            ) from error
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "clo", "train", *self.overrides, "hydra.mode=RUN"]
        tied = lifeline.handed_on()
        tied["env"]["PYTHONPATH"] = path
        if self.gpus is not None:
            tied["env"]["CUDA_VISIBLE_DEVICES"] = self.gpus
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT, **tied)

    def status(self) -> dict[str, Any]:
        """status.json, empty while there is none."""
        try:
            return read_object(self.path / "status.json")
        except (OSError, ValueError):
            return {}

    def reason(self) -> str:
        """Why the cell failed, in one line."""
        status = self.status()
        if status.get("state") == "failed" and status.get("error"):
            return str(status["error"])
        lines = (self.path / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = lines[-1].removeprefix("error: ") if lines else "no output"
        code = self.process.returncode if self.process else None
        return f"{last} (exit code {code})"


def run_grid(cells: Sequence[Cell]) -> bool:
    """Run all cells that are not done, each another run; a failed one is named at once and the others go on.

    Returns whether every cell is done.
    """
    todo = [cell for cell in cells if RunFolder(cell.path).state() != "done"]
    study = cells[0].run
    slots = slots_of(study.jobs, study.trainer)
    print(f"{len(cells)} cells, {len(cells) - len(todo)} done already, {len(slots)} at a time", flush=True)
    failed = _run_all(todo, slots)
    done = [cell.path for cell in cells if cell not in failed]
    if done:
        print_table(done)
        place = "" if study.output_dir == "outputs" else f" output_dir={study.output_dir}"
        print(f"report: clo report study={study.study_name}{place}")
    bare = [path for path in done if not has_model(path)]
    if bare:
        print(f"{len(bare)} of them without model/, the first {bare[0]}; its own command, not a grid's, makes it again")
    for cell in failed:
        print(f"failed: {cell.name}: {cell.reason()}", file=sys.stderr)
    return not failed


def _work(cell: Cell) -> float:
    """Items that a cell trains on, each as often as it comes."""
    run = cell.run
    items = sum(run.sizes().values())
    return items * run.method.epochs if run.method.steps is None else run.batch_size * run.method.steps


def _run_all(todo: Sequence[Cell], slots: Sequence[str | None]) -> list[Cell]:
    """Start cells as places get free, show their progress; returns the failed ones."""
    # The longest first: no core is idle while the last one ends.
    waiting = sorted(todo, key=_work, reverse=True)
    running: list[Cell] = []
    failed: list[Cell] = []
    free = list(slots)
    lifeline = Lifeline()
    with _Board(len(todo)) as board:
        try:
            while waiting or running:
                while waiting and free:
                    cell = waiting.pop(0)
                    cell.gpus = free.pop(0)
                    cell.start(lifeline)
                    running.append(cell)
                    board.started(cell)
                time.sleep(0.2)
                for cell in list(running):
                    assert cell.process is not None and cell.log is not None
                    if cell.process.poll() is None:
                        board.moved(cell)
                        continue
                    running.remove(cell)
                    free.append(cell.gpus)
                    cell.log.close()
                    ok = cell.process.returncode == 0
                    if not ok:
                        failed.append(cell)
                    board.finished(cell, ok)
        finally:
            _stop(running)
            lifeline.close()
    return failed


def _stop(cells: Sequence[Cell]) -> None:
    """End processes and see them end: the same command right afterwards finds their folders free."""
    processes = [cell.process for cell in cells if cell.process is not None]
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class _Board:
    """Progress of the running cells: bars with time left on a terminal, a line per start and end elsewhere."""

    def __init__(self, cells: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.console = Console()
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[stage]:<24}"))
        more = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self.bars = Progress(*columns, *more, console=self.console, disable=not self.console.is_terminal)
        self.whole = self.bars.add_task("all cells", total=cells, stage="")
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Board:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def started(self, cell: Cell) -> None:
        """A cell's process began."""
        self.tasks[cell.name] = self.bars.add_task(cell.name, total=None, stage="start")
        if not self.console.is_terminal:
            print(f"started {cell.name}", flush=True)

    def moved(self, cell: Cell) -> None:
        """Read the cell's status."""
        status, task = cell.status(), self.bars.tasks[self.bars.task_ids.index(self.tasks[cell.name])]
        if status.get("stage") and status["stage"] != task.fields["stage"]:
            self.bars.reset(task.id, total=status.get("total_steps"), stage=status["stage"])
        self.bars.update(task.id, completed=status.get("step") or 0, total=status.get("total_steps"))

    def finished(self, cell: Cell, ok: bool) -> None:
        """A cell's process ended."""
        self.bars.remove_task(self.tasks.pop(cell.name))
        self.bars.advance(self.whole)
        word = "[green]done[/]" if ok else "[red]failed[/]"
        self.bars.console.print(word, cell.name, highlight=False)
        if not ok:
            self.bars.console.print(f"  {cell.reason()}\n  log: {cell.path}/log.txt", markup=False, highlight=False)
