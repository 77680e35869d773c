"""``clo translate``: English examples translated ahead of the runs that need them."""

from __future__ import annotations

from collections.abc import Sequence

from clo.commands.command import Command
from clo.errors import UserError


def translate(words: Sequence[str]) -> None:
    """Compose the configuration and make the rows.

    Raises:
        UserError: a wrong key or value, no source to translate, or the examples or the translator cannot be read.
    """
    from clo.commands.train import compose

    runs, cells = compose(words)
    asked = [*runs, *(cell.run for cell in cells)]
    for run in asked:
        if run.data.kind != "translated":
            raise UserError(f"data={run.data.name} is parallel already; translate data=oasst or data=table")
    from clo.training.loggers import quiet_libraries
    from clo.translate.ensure import translated_rows

    quiet_libraries()
    for run in asked:
        translated_rows(run)


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
