"""Progress of everything that takes long: a bar with time left, and status.json for a grid's parent process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clo.storage.run_folder import RunFolder

Tick = Callable[..., None]
"""tick(done, total, note=""): tell how far a stage is."""


@contextmanager
def stage(folder: RunFolder, name: str) -> Iterator[Tick]:
    """Show one stage of a run; the bar appears only on a terminal and only on the main process."""
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
    bar = Progress(*columns, *more, console=console, disable=not (folder.main and console.is_terminal))
    with bar:
        task = bar.add_task(name, total=None, note="")

        def tick(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total, note=note)
            folder.status(stage=name, step=done, total_steps=total)

        folder.status(now=True, state="running", stage=name, step=0, total_steps=None, error=None)
        yield tick
