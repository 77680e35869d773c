"""``clo translate``: English examples translated ahead of the runs that need them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clo.commands.command import Command
from clo.errors import UserError

if TYPE_CHECKING:
    from clo.config.parse import RunConfig


def translate(words: Sequence[str]) -> None:
    """Compose the configuration and make the rows.

    Raises:
        UserError: a wrong key or value, no source to translate, the examples or the translator cannot be read, or there
            are too few examples for what was asked; the rows that there are stay.
    """
    from clo.commands.train import compose

    runs, cells = compose(words)
    asked = [one for run in (*runs, *(cell.run for cell in cells)) for one in run.alone()]
    for run in asked:
        if run.data.kind != "translated":
            raise UserError(f"data={run.data.name} is parallel already; translate data=oasst or data=table")
    from clo.training.loggers import quiet_libraries
    from clo.translate.ensure import translated_rows

    quiet_libraries()
    short = [lacking for run in asked if (lacking := _lacking(run, translated_rows(run)))]
    if short:
        raise UserError("; ".join(dict.fromkeys(short)))


def _lacking(run: RunConfig, path: Path) -> str:
    """What the file lacks of the rows that the run needs; nothing where it has them."""
    from clo.storage.jsonl import lines_of

    rows, needed = sum(1 for _ in lines_of(path)), run.data_size + 2 * run.data.held_out
    if rows >= needed:
        return ""
    most = rows - 2 * run.data.held_out
    mend = f"lower data_size to at most {most:,}" if most > 0 else "lower data.held_out and data_size"
    return (
        f"{path} has {rows:,} rows, fewer than the {needed:,} of data_size={run.data_size} and twice "
        f"data.held_out={run.data.held_out}: there are no more examples in the source; {mend}, or bring more examples"
    )


COMMAND = Command(
    name="translate",
    summary="English examples become parallel rows, ahead of the runs that need them",
    reads="English examples (OpenAssistant, a dataset of the hub, or your file) and a translator",
    writes="<cache_dir>/translations/: a file of rows with its card; a run with the same keys finds it",
    example="translate lang=sw data=oasst data_size=3200\n"
    "translate -m lang=sw,yo data=table data.source.path=english.jsonl data_size=800",
    run=translate,
    keys="""\
  All keys of `clo train` (a run with the same ones makes missing rows by itself), and above all:
  data.source.path=<file>        a local file instead of the hub's dataset
  data.translation.engine=...    m2m100 (default), nllb, chat
  data.translation.model=...     hub id, folder, or the server's name of a model""",
    stopped="sentences are kept as they are made, the same command goes on",
)
