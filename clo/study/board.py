"""What a grid shows while it works: a live table with time left on a terminal, a line per event elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clo.study.cell import Cell

if TYPE_CHECKING:
    from rich.table import Table

QUEUED, HERE, THERE, AGAIN, DONE, FAILED = "queued", "running", "elsewhere", "again", "done", "failed"
PAUSE = 0.5
"""Seconds between two looks at the running cells."""


class Board:
    """The states of all cells that were not done.

    Args:
        cells: those.
        slots: how many run here at a time.
    """

    def __init__(self, cells: Sequence[Cell], slots: int) -> None:
        from rich.console import Console
        from rich.live import Live

        self.console = Console()
        self.live = Live(console=self.console, auto_refresh=False, transient=True) if self.console.is_terminal else None
        self.states = {cell.name: QUEUED for cell in cells}
        self.cells, self.slots = {cell.name: cell for cell in cells}, slots
        self._began: dict[str, float] = {}
        self._stages: dict[str, tuple[str, float, int]] = {}
        self._crowded = False
        self._spent = self._worked = self._shown = 0.0

    def __enter__(self) -> Board:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def started(self, cell: Cell) -> None:
        """A cell's process began."""
        self._now(cell, HERE)
        if self.live is None:
            print(f"started {cell.name}", flush=True)

    def crowded(self) -> None:
        """Cells wait, and other grids on this machine have its cores or GPUs."""
        if not self._crowded:
            self.console.print("other grids of yours on this machine have its cores or GPUs; cells wait for them")
        self._crowded = True

    def passed(self, cell: Cell) -> None:
        """Another worker has it."""
        if self.states[cell.name] != THERE and self.live is None:
            print(f"passed over {cell.name}: {cell.elsewhere or 'another process'} works on it", flush=True)
        self._now(cell, THERE)

    def again(self, cell: Cell) -> None:
        """It failed and will be tried again."""
        self._now(cell, AGAIN)
        self._say("[yellow]failed once, tried again[/]", cell)
        self._quote(cell.reason())

    def finished(self, cell: Cell) -> None:
        """It is done, here or elsewhere."""
        began = self._began.get(cell.name)
        if began is not None:
            self._spent, self._worked = self._spent + time.monotonic() - began, self._worked + cell.work()
        elsewhere = "" if began is not None else f" by {cell.elsewhere or 'another process'}"
        self._now(cell, DONE)
        self._say("[green]done[/]", cell, elsewhere + self._line_of_rest())

    def failed(self, cell: Cell) -> None:
        """It failed for good."""
        self._now(cell, FAILED)
        self._say("[red]failed[/]", cell)
        self._quote(cell.reason(), f"log: {cell.path}/log.txt")

    def moved(self) -> None:
        """Look at what runs here, and show it."""
        if self.live is None or time.monotonic() < self._shown + PAUSE:
            return
        self._shown = time.monotonic()
        self.live.update(self._table(), refresh=True)

    def left(self) -> float | None:
        """Seconds until all is done, as far as the cells that were finished here tell; None before the first."""
        if not self._worked:
            return None
        now, each = time.monotonic(), self._spent / self._worked
        running = [max(0.0, self.cells[name].work() * each - (now - self._began[name])) for name in self._in(HERE)]
        waiting = [self.cells[name].work() * each for name in self._in(QUEUED, THERE, AGAIN)]
        workers = self.slots + len(self._in(THERE))
        return max([*running, (sum(running) + sum(waiting)) / workers])

    def _now(self, cell: Cell, state: str) -> None:
        self.states[cell.name] = state
        self._stages.pop(cell.name, None)
        self._began.pop(cell.name, None)
        if state == HERE:
            self._began[cell.name] = time.monotonic()

    def _in(self, *states: str) -> list[str]:
        return [name for name, state in self.states.items() if state in states]

    def _say(self, word: str, cell: Cell, more: str = "") -> None:
        self.console.print(word, f"{cell.name}{more}", highlight=False)

    def _quote(self, *lines: str) -> None:
        for line in lines:
            self.console.print(f"  {line}", markup=False, highlight=False)

    def _line_of_rest(self) -> str:
        left, rest = self.left(), len(self.states) - len(self._in(DONE, FAILED))
        return f", {rest} to go, about {told(left)} left" if rest and left is not None else ""

    def _table(self) -> Table:
        from rich.table import Table

        left = self.left()
        counts = ", ".join(
            f"{n} {state}" for state in (DONE, HERE, THERE, QUEUED, AGAIN, FAILED) if (n := len(self._in(state)))
        )
        end = "" if left is None else f"; about {told(left)} left"
        table = Table(title=f"{counts}{end}", title_justify="left", box=None, pad_edge=False)
        for name in ("cell", "state", "stage", "step", "left"):
            table.add_column(name, overflow="fold")
        for name in self._in(HERE, THERE):
            table.add_row(name, *self._row(self.cells[name]))
        for name in self._in(AGAIN, FAILED):
            table.add_row(name, self.states[name], "", "", "")
        return table

    def _row(self, cell: Cell) -> list[str]:
        """State, stage, step and time left of a running cell, by its status.json."""
        status = cell.status()
        stage, step, total = str(status.get("stage") or "start"), status.get("step") or 0, status.get("total_steps")
        where = HERE if self.states[cell.name] == HERE else f"at {cell.elsewhere or 'another process'}"
        known = self._stages.get(cell.name)
        if known is None or known[0] != stage or step < known[2]:
            known = self._stages[cell.name] = (stage, time.monotonic(), step)
        gone = step - known[2]
        left = told((time.monotonic() - known[1]) / gone * (total - step)) if gone and total else ""
        return [where, stage, f"{step} of {total}" if total else "", left]


def told(seconds: float) -> str:
    """A duration as one says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
