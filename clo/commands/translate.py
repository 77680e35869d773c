"""``python -m clo.translate lang=sw data=oasst data_size=3200``: translate ahead of the runs that need it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from clo.errors import UserError

USAGE = """usage: python -m clo.translate lang=<code> data=<oasst|table> data_size=<rows> [key=value ...]

  The keys are those of train.py; a run with the same ones finds the rows, and makes them itself where they are missing.
  data.source.path=...          a local file instead of the hub's dataset
  data.translation.engine=...   m2m100 (default), nllb, chat
  data.translation.model=...    hub id, folder, or the server's name of a model

  Safe to stop: sentences are kept as they are made, and the same command goes on."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or {"-h", "--help"} & set(arguments):
        print(USAGE)
        sys.exit(0 if arguments else 1)
    try:
        translate(arguments)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on")


def translate(arguments: Sequence[str]) -> None:
    """Compose the configuration and make the rows.

    Raises:
        UserError: a wrong key or value, no source to translate, or the examples or the translator cannot be read.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from clo.config.parse import conf_dir, parse, register_schema

    register_schema()
    try:
        with initialize_config_dir(conf_dir(), version_base="1.3"):
            run = parse(compose("config", list(arguments)))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"{' '.join(str(error).split())[:300]}; `python train.py --help` lists the keys") from error
    if run.data.kind != "translated":
        raise UserError(f"data={run.data.name} is parallel already; translate data=oasst or data=table")
    from clo.training.loggers import quiet_libraries
    from clo.translate.ensure import translated_rows

    quiet_libraries()
    translated_rows(run)


if __name__ == "__main__":
    main()
