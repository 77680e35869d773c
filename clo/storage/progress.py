"""Progress of everything that takes long: a bar with time left, and status.json for a grid's parent process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clo.storage.claim import alone
from clo.storage.run_folder import RunFolder

Tick = Callable[..., None]
"""tick(done, total, note=""): tell how far a stage is."""


@contextmanager
def bar(name: str, shown: bool = True) -> Iterator[Tick]:
    """A bar with the time left, on a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console()
    columns = (TextColumn("{task.description:<26}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    more = (TextColumn("left"), TimeRemainingColumn(), TextColumn("[dim]{task.fields[note]}"))
    with Progress(*columns, *more, console=console, disable=not (shown and console.is_terminal)) as bars:
        task = bars.add_task(name, total=None, note="")
        yield lambda done, total, note="": bars.update(task, completed=done, total=total, note=note)


@contextmanager
def stage(folder: RunFolder, name: str) -> Iterator[Tick]:
    """Show one stage of a run, and tell its status; the bar is the main process's alone."""
    with bar(name, folder.main) as show:

        def tick(done: int, total: int, note: str = "") -> None:
            show(done, total, note)
            folder.status(stage=name, step=done, total_steps=total)

        folder.status(now=True, state="running", stage=name, step=0, total_steps=None, error=None)
        yield tick


@contextmanager
def shared(folder: RunFolder, lock: Path, name: str) -> Iterator[None]:
    """Make what several runs share: one process at a time, on any machine; the status says who is waited for.

    Args:
        folder: of this run.
        lock: see `alone`; look again whether the thing is there once it is held.
        name: of the thing.
    """
    if not folder.main:  # the first rank holds it for all
        yield
        return
    with alone(lock, waits_in(folder, name)):
        yield


def waits_in(folder: RunFolder, name: str) -> Callable[[str], None]:
    """Tells a run's status that it waits for ``name``, which another process makes."""

    def waits(holder: str) -> None:
        folder.status(now=True, stage=f"waits for {name} ({holder})", step=0, total_steps=None)

    return waits
