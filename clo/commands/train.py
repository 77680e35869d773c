"""``clo train``, which is ``python train.py``: compose, check, then one run here, or a grid with a process per cell."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import time
from collections.abc import Callable, Sequence

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from clo.commands.command import Command
from clo.config.effect import OF_A_GRID, check_effect, check_recipe, read_by, without_unread
from clo.config.messages import UNDER_NULL, one_sentence
from clo.config.parse import RunConfig, conf_dir, parse, register_schema
from clo.config.precision import told
from clo.config.targets import Known, with_targets
from clo.errors import UserError
from clo.study.cell import Cell
from clo.study.content import changed_since, local_files
from clo.study.grid import run_grid, show_known
from clo.study.known_grid import KnownGrid, place_of, recall, remember, seen
from clo.study.run import run_cell, run_path

MANY = 10
"""Cells after which a slow composing is told."""
GROUPS = ("model", "lang", "method", "tuning", "data", "evaluation", "trainer", "logger")


def main() -> None:
    """``python train.py``."""
    from clo.commands.cli import run

    run(COMMAND, sys.argv[1:])


def train(words: Sequence[str]) -> bool:
    """Train what the words ask for; whether every run is done.

    Raises:
        UserError: anything the user can mend.
    """
    place = place_of(words)
    if known := recall(place):
        show_known(known)
        return True
    runs, cells = compose(words)
    planned = [run for run in (*runs, *(cell.run for cell in cells)) if run.plan]
    if planned:
        from clo.study.plan_table import show_plans

        try:
            return show_plans(planned)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("of a plan nothing is kept") from None
    for run in runs:
        run_cell(run)
    files = {str(file): seen(file) for file in {file for cell in cells for file in local_files(cell.run)}}
    done = run_grid(cells, exit_as_cell) if cells else True
    if cells and done and place is not None and not any(changed_since(cell.run, cell.path) for cell in cells):
        study = cells[0].run
        remember(place, words, KnownGrid([str(cell.path) for cell in cells], study.study_name, study.output_dir, files))
    return done


def exit_as_cell(work: Callable[[], object]) -> None:
    """Do a cell's work and end its process as the command line does."""
    from clo.commands.cli import exit_after

    exit_after(work, COMMAND.stopped)


def compose(words: Sequence[str]) -> tuple[list[RunConfig], list[Cell]]:
    """What the words ask for: single runs, or the cells of a grid, each of them once. Nothing is trained yet.

    Hydra composes a grid without what it sweeps before it composes the cells: of ``study=tune_bed_sft_dpo
    method.sft_first.lr=1e-4``, which sweeps its method, the key lies under one that is null. It is laid into the cells.

    Raises:
        UserError: an override, a value or a combination is wrong, in any cell.
    """
    try:
        return _composed(words)
    except UserError as error:
        if UNDER_NULL not in str(error):
            raise
        try:
            return _composed([in_cells(word) for word in words])
        except UserError as other:  # of a single run, or of a cell whose option has the null too, it says nothing new
            raise (error if "choice(" in str(other) else other) from None


def in_cells(word: str) -> str:
    """``key=value`` as one that is swept over its one value; any other word as it is."""
    key, equal, value = word.partition("=")
    single = "." in key and not key.startswith(("hydra.", "+", "~", "-")) and not re.search(r"[,(]", value)
    return f"{key}=choice({value})" if equal and value and single else word


def _composed(words: Sequence[str]) -> tuple[list[RunConfig], list[Cell]]:
    """As `compose`, with every word as it stands.

    A launcher of another kind than Hydra's own (submitit) calls the task on a machine of its choice: there the run
    happens in the task itself.

    Raises:
        UserError: an override, a value or a combination is wrong, in any cell.
    """
    register_schema()
    runs: list[RunConfig] = []
    cells: list[Cell] = []
    errors: list[UserError] = []
    typed: set[str] = set()
    read: set[str] = set()
    composed: list[DictConfig] = []
    notes: dict[str, None] = {}
    targets: Known = {}
    began = time.monotonic()

    @hydra.main(version_base="1.3", config_path=conf_dir(), config_name="config")
    def task(cfg: DictConfig) -> None:
        job = HydraConfig.get()
        here = job.mode == RunMode.RUN or job.launcher["_target_"].endswith("BasicLauncher")
        if len(cells) == MANY and time.monotonic() - began > 1:
            print("composing the cells of the grid ...", flush=True)
        try:
            for group in GROUPS:
                if group not in job.runtime.choices and group != "lang":  # Hydra lays options over each other
                    raise UserError(f"{group} needs one option; for a grid: python train.py -m {group}=<one>,<other>")
            cfg = with_targets(cfg, [*job.overrides.task, *_places(job.overrides.hydra)], job.runtime.choices, targets)
            run = parse(cfg)
            measured = told((cfg.trainer.precision, cfg.model.dtype), run.trainer, run.model)
            notes.update(dict.fromkeys(filter(None, [measured])))
            check_recipe(job.runtime.choices["model"], run.model)
            typed.update(job.overrides.task)
            own = read_by(run, cfg)
            read.update(own)
            composed[:] = composed or [cfg]
            if job.mode == RunMode.RUN:
                runs.append(run)
            elif here:
                dirs = [s.path for s in job.runtime.config_sources if s.provider == "command-line"]
                settled = [f"trainer.precision={run.trainer.precision}", f"model.dtype={run.model.dtype}"]
                overrides = [*(f"--config-dir={d}" for d in dirs), *without_unread(job.overrides.task, own)]
                overrides += settled if measured else []  # a cell that measured again might take another name
                path = run_path(run)
                cells.append(Cell(path.name, path, overrides, run))
            else:
                _join_tasks()
                run_cell(run)
        except UserError as error:
            if not here:
                raise  # on another machine: Hydra brings it back to the one that launched
            errors.append(error)

    said = io.StringIO()
    before, sys.argv = sys.argv, ["train.py", *words]
    try:
        with contextlib.redirect_stderr(said):
            task()
    except ValueError as error:  # flags of Hydra that exclude each other; all else ends in an exit
        raise UserError(f"{error}; `python train.py --help` tells more") from error
    except SystemExit as end:
        if end.code:
            raise UserError(one_sentence(said.getvalue(), words)) from None
        raise
    finally:
        sys.argv = before
    if errors:
        raise errors[0]
    for name in OF_A_GRID:
        if runs and any(word.startswith(f"{name}=") for word in typed):
            raise UserError(f"{name} has no effect here: a grid (-m) reads it; leave {name} out")
    if composed:
        check_effect(sorted(typed), read, composed[0])
    print(*notes, sep="\n", end="\n" if notes else "", flush=True)
    once = {cell.path: cell for cell in cells}
    if len(once) < len(cells):
        print(f"{len(cells)} cells are {len(once)} different run{'s' * (len(once) > 1)}; none is counted or run twice")
    return runs, list(once.values())


def _places(words: Sequence[str]) -> list[str]:
    """Those of Hydra's own overrides that say where files are found."""
    return [word for word in words if word.startswith("hydra.searchpath=")]


def _join_tasks() -> None:
    """Tell Lightning about the other tasks of a submitit job: one per device, all in this cell."""
    try:
        from submitit import JobEnvironment
        from submitit.helpers import TorchDistributedEnvironment

        tasks = JobEnvironment().num_tasks
    except (ImportError, RuntimeError):  # another launcher
        return
    if tasks > 1:
        TorchDistributedEnvironment().export(set_cuda_visible_devices=False)


COMMAND = Command(
    name="train",
    summary="train and evaluate one run, or a grid of runs with -m",
    reads="conf/ and the data, model and caches that it names",
    writes="outputs/<study_name>/<run>/: results.json, model/, metrics, samples; a grid prints one table",
    example="train lang=sw method=clo data_size=800\ntrain -m lang=ko,sw data_size=3200,6400",
    run=train,
    stopped="the same command goes on from the last checkpoint",
    explains_itself=True,
)
