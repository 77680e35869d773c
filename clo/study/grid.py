"""A grid of runs: every cell in a process of its own, as many at a time as cores or GPUs carry, one table at the end.

Several grids over one folder, of this machine or others, divide the cells: one that another works on is passed over and
looked at again later. No torch here: the parent only starts processes and reads run folders.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from clo.errors import UserError
from clo.storage.run_folder import RunFolder
from clo.study.board import Board
from clo.study.cell import BUSY, Cell, Ends
from clo.study.content import check_content
from clo.study.known_grid import KnownGrid
from clo.study.rebuild import has_model
from clo.study.slots import Places, slots_of
from clo.study.table import print_table

LOOK = 2.0
"""Seconds until a cell that another worker has is looked at again."""


def run_grid(cells: Sequence[Cell], ends: Ends) -> bool:
    """Run all cells that are not done, each another run; a failed one is tried again, then named; the others go on.

    Args:
        cells: all of them.
        ends: how a cell's process ends.

    Returns whether every cell is done.
    """
    todo = [cell for cell in cells if cell.state() != "done"]
    study = cells[0].run
    slots = slots_of(study.jobs, study.trainer) if todo else []
    most = f", {len(slots)} at a time" if todo else ""
    if slots and len(slots) < (study.jobs or 0):
        most += f" (the cores carry no more than that of jobs={study.jobs})"
    print(f"{len(cells)} cells, {len(cells) - len(todo)} done already{most}", flush=True)
    for cell in cells:
        if cell not in todo:
            _say_changed(cell)
    for cell in todo:
        RunFolder(cell.path).queue()
    failed = _Grid(todo, Places(slots, study.trainer), ends).work() if todo else []
    done = [cell.path for cell in cells if cell not in failed]
    if done:
        show_done(done, study.study_name, study.output_dir)
    for cell in failed:
        print(
            f"failed: {cell.name}: {cell.reason()}", *(f"  | {line}" for line in cell.tail()), sep="\n", file=sys.stderr
        )
    return not failed


def _say_changed(cell: Cell) -> None:
    """A finished cell that was made from other rows or another model keeps its result, and says so."""
    try:
        check_content(cell.run, RunFolder(cell.path))
    except UserError as error:
        print(f"warning: {error}", file=sys.stderr, flush=True)


def show_known(known: KnownGrid) -> None:
    """What `run_grid` shows of a grid that is finished."""
    paths = [Path(path) for path in known.paths]
    print(f"{len(paths)} cells, {len(paths)} done already", flush=True)
    show_done(paths, known.study, known.output_dir)


def show_done(paths: Sequence[Path], study: str, output_dir: str) -> None:
    """The table of finished runs, and what can be done next."""
    print_table(paths)
    place = "" if output_dir == "outputs" else f" output_dir={output_dir}"
    print(f"report: clo report study={study}{place}")
    bare = [path for path in paths if not has_model(path)]
    if bare:
        print(f"{len(bare)} of them without model/, the first {bare[0]}; its own command, not a grid's, makes it again")


class _Grid:
    """The cells that are not done, and who works on them."""

    def __init__(self, todo: Sequence[Cell], places: Places, ends: Ends) -> None:
        # The longest first: no core is idle while the last one ends.
        self.waiting = sorted(todo, key=lambda cell: cell.work(), reverse=True)
        self.running: list[Cell] = []
        self.failed: list[Cell] = []
        self.places, self.ends = places, ends
        self.board = Board(todo, len(places.free))

    def work(self) -> list[Cell]:
        """Start cells as places get free, show their progress; returns the failed ones."""
        with self.board:
            try:
                while self.waiting or self.running:
                    self._fill()
                    time.sleep(0.2)
                    self.board.moved()
                    for cell in [cell for cell in self.running if cell.code() is not None]:
                        self._ended(cell)
            finally:
                _stop(self.running)
        return self.failed

    def _fill(self) -> None:
        """Start what can be started now."""
        while self.places.free and (cell := self._next()):
            cell.place = self.places.take()
            if cell.place is None:
                self.waiting.insert(0, cell)
                self.board.crowded()
                return
            cell.tries += 1
            cell.start(self.ends)
            self.running.append(cell)
            self.board.started(cell)

    def _next(self) -> Cell | None:
        """The first cell that waits and that nobody else works on; those that others have finished leave the list."""
        now = time.monotonic()
        for cell in [cell for cell in self.waiting if cell.look <= now]:
            if cell.state() == "done":
                self.waiting.remove(cell)
                self.board.finished(cell)
            elif holder := RunFolder(cell.path).holder():
                cell.look, cell.elsewhere = now + LOOK, holder
                self.board.passed(cell)
            elif not self._failed_elsewhere(cell):
                self.waiting.remove(cell)
                return cell
        return None

    def _failed_elsewhere(self, cell: Cell) -> bool:
        """Whether another worker has failed at it, and that was its last try."""
        status, seen = cell.status(), cell.elsewhere
        cell.elsewhere = None
        if seen is None or status.get("state") != "failed" or status.get("error") == "stopped":
            return False
        cell.tries += 1
        if self._again(cell):
            return False
        self.waiting.remove(cell)
        self.failed.append(cell)
        self.board.failed(cell)
        return True

    def _ended(self, cell: Cell) -> None:
        self.running.remove(cell)
        if cell.place is not None:
            self.places.give_back(cell.place)
        if cell.code() == 0:
            self.board.finished(cell)
        elif cell.code() == BUSY:  # another worker was faster
            cell.tries -= 1
            cell.look, cell.elsewhere = time.monotonic() + LOOK, RunFolder(cell.path).holder()
            self.waiting.append(cell)
            self.board.passed(cell)
        elif self._again(cell):
            self.waiting.append(cell)  # what disturbed it may be over by then
            self.board.again(cell)
        else:
            self.failed.append(cell)
            self.board.failed(cell)

    def _again(self, cell: Cell) -> bool:
        return cell.tries <= cell.run.retries


def _stop(cells: Sequence[Cell]) -> None:
    """End processes and see them end: the same command right afterwards finds their folders free."""
    processes = [cell.process for cell in cells if cell.process is not None]
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(10)
        if process.exitcode is None:
            process.kill()
            process.join()
