"""``python train.py``: compose, check, then one run here, or a grid with a process per cell."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from clo.config.messages import one_sentence
from clo.config.parse import RunConfig, conf_dir, parse, plain, register_schema
from clo.errors import UserError, was_stopped
from clo.storage.run_folder import RunFolder
from clo.study.grid import Cell, run_grid


def main() -> None:
    """The command line: exit code 0 when everything asked for is done, 1 otherwise."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's end is Ctrl-C: no cell outlives the grid
    try:
        runs, cells = _compose()
        planned = [run for run in (*runs, *(cell.run for cell in cells)) if run.plan]
        if planned:
            sys.exit(0 if show_plans(planned) else 1)
        for run in runs:
            run_cell(run)
        ok = run_grid(cells) if cells else True
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from the last checkpoint")
    sys.exit(0 if ok else 1)


def _compose() -> tuple[list[RunConfig], list[Cell]]:
    """What the command line asks for: single runs, or the cells of a grid. Nothing is trained yet.

    A launcher of another kind than Hydra's own (submitit) calls the task on a machine of its choice: there the run
    happens in the task itself.

    Raises:
        UserError: an override, a value or a combination is wrong, in any cell.
    """
    register_schema()
    runs: list[RunConfig] = []
    cells: list[Cell] = []
    errors: list[UserError] = []

    @hydra.main(version_base="1.3", config_path=conf_dir(), config_name="config")
    def task(cfg: DictConfig) -> None:
        job = HydraConfig.get()
        here = job.mode == RunMode.RUN or job.launcher["_target_"].endswith("BasicLauncher")
        try:
            for group in ("model", "lang", "method", "tuning", "data", "evaluation", "trainer", "logger"):
                if group not in job.runtime.choices:  # a list of options: Hydra lays them over each other
                    raise UserError(f"{group} needs one option; for a grid: python train.py -m {group}=<one>,<other>")
            run = parse(cfg)
            if job.mode == RunMode.RUN:
                runs.append(run)
            elif here:
                dirs = [s.path for s in job.runtime.config_sources if s.provider == "command-line"]
                overrides = [*(f"--config-dir={d}" for d in dirs), *job.overrides.task]
                cells.append(Cell(run.slug(), run_path(run), overrides, run))
            else:
                _join_tasks()
                run_cell(run)
        except UserError as error:
            if not here:
                raise  # on another machine: Hydra brings it back to the one that launched
            errors.append(error)

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            task()
    except ValueError as error:  # flags of Hydra that exclude each other; all else ends in an exit
        raise UserError(f"{error}; `python train.py --help` tells more") from error
    except SystemExit as end:
        if end.code:
            raise UserError(one_sentence(said.getvalue(), sys.argv[1:])) from None
        raise
    if errors:
        raise errors[0]
    return runs, cells


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


def run_path(run: RunConfig) -> Path:
    """The run's folder."""
    return Path(run.output_dir) / run.study_name / run.slug()


def run_cell(run: RunConfig) -> None:
    """One run from start to end; a finished one is shown, a broken one resumes.

    Raises:
        UserError: anything the user can mend.
    """
    folder = RunFolder(run_path(run), main=os.environ.get("LOCAL_RANK", "0") == "0")
    if folder.state() == "done":
        print(f"{folder.path} is done already; delete it to run again")
        _show(folder)
        return
    folder.acquire(OmegaConf.to_yaml(OmegaConf.create(plain(run))))
    failed = True
    try:
        folder.status(now=True, state="running", stage="load", error=None)
        _train_and_evaluate(run, folder)
        folder.status(now=True, state="done", stage="done")
        failed = False
        if folder.main:
            _show(folder)
    except BaseException as error:
        if was_stopped(error):
            folder.status(now=True, state="failed", error="stopped")
            raise KeyboardInterrupt from error
        text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        folder.status(now=True, state="failed", error=text)
        raise
    finally:
        if run.logger.name == "wandb" and folder.main:
            from clo.training.tracking import close

            close(folder, failed)
        folder.release()


def _train_and_evaluate(run: RunConfig, folder: RunFolder) -> None:
    """The whole wiring: rows, items, model, training, evaluation, results."""
    from clo.training.checks import check_places

    check_places(run.logger.name, run.cache_dir)
    renderer, splits, train, val, too_long = _items(run)
    _train_on(run, folder, renderer, splits, train, val, too_long)


def _items(run: RunConfig) -> tuple[Any, Any, Any, Any, int]:
    """Renderer, rows, training items, held-out items, and how many rows were too long."""
    from clo.data.items import build_items
    from clo.data.prompt import Renderer
    from clo.model.load import load_tokenizer
    from clo.training.checks import check_items

    _check_size(run, splits := _splits(run))
    languages = [run.lang.source, run.lang.code]
    renderer = Renderer(load_tokenizer(run.model), run.model.template, run.model.end_of_turn)
    encode = (languages, renderer, run.model.max_length, run.data.length_policy)
    train, counts = build_items(splits.train, *encode, limit=run.data_size)
    val, _ = build_items(splits.dev, *encode, limit=run.evaluation.val_items)
    if len(train) < run.data_size:
        raise UserError(
            f"only {len(train)} rows fit model.max_length={run.model.max_length}, fewer than data_size={run.data_size} "
            f"({counts.too_long} are longer, the first is {counts.first_too_long}); lower it or raise model.max_length"
        )
    check_items([*train, *val], renderer)
    return renderer, splits, train, val, counts.too_long


def _splits(run: RunConfig) -> Any:
    """The run's rows; translations are made if they are not there yet, and guessed for a plan."""
    from clo.data.splits import load_splits

    if run.data.kind != "translated":
        return load_splits(run.data, run.lang.source, run.lang.code)
    if run.plan:
        from clo.translate.estimate import planned_splits

        return planned_splits(run)
    from clo.translate.ensure import translated_rows

    return load_splits(run.data, run.lang.source, run.lang.code, translated_rows(run))


def show_plans(runs: Sequence[RunConfig]) -> bool:
    """Print what every run would need; whether all of them fit their device.

    Raises:
        UserError: a run's data or model cannot be read.
    """
    from clo.study.plan import plan_run, show
    from clo.training.loggers import quiet_libraries

    quiet_libraries()
    read = [(run, *_items(run)[1:3]) for run in runs]
    return show([plan_run(run, train, [*splits.dev, *splits.test, *splits.train]) for run, splits, train in read])


def _check_size(run: RunConfig, splits: Any) -> None:
    if run.data_size > len(splits.train):
        raise UserError(
            f"data_size={run.data_size} is beyond the {len(splits.train)} training rows of data={run.data.name} for "
            f"{run.lang.code}; lower data_size or bring more rows"
        )


def _train_on(
    run: RunConfig, folder: RunFolder, renderer: Any, splits: Any, train: Any, val: Any, too_long: int
) -> None:
    import time

    from clo.model.load import check_precision, load_model, mixed, prepare_processor, run_device
    from clo.model.tuning import apply_tuning, ledger
    from clo.square.reference import weights_key
    from clo.study.outcome import evaluate_model, evaluate_start, mean_square, save_model, watch_of, write_results
    from clo.study.run_benchmarks import benchmark_marks, start_marks, with_start
    from clo.training.checks import check_frozen, check_vocabulary, frozen_key
    from clo.training.loggers import quiet_libraries, write_csv
    from clo.training.stages import StageData, fit_stages, plan_stages

    quiet_libraries()
    test, device = splits.evaluated(run.evaluation), run_device(run.trainer.accelerator)
    prepare_processor(run.trainer.threads, run.trainer.precision, device)
    model = load_model(run.model).to(device)
    check_precision(model, run.trainer.precision)
    check_vocabulary([*train, *val], model.get_input_embeddings().num_embeddings)
    with mixed(run.trainer.precision, device):
        start_key = weights_key(model, run.trainer.precision)
        start, start_samples = evaluate_start(run, model, renderer, test, folder, start_key)
        before = mean_square(run, model, val)
        marks_before = start_marks(run, model, renderer, folder, start_key)
    model = apply_tuning(model, run.tuning, run.seed)
    book = ledger(model)
    plans = plan_stages(run, len(train))
    if folder.main:
        steps = " then ".join(f"{plan.name} {plan.total_steps} steps" for plan in plans)
        print(f"{run.slug()}: {len(train)} items ({too_long} longer ones left out), {steps}", *book.lines(), sep="\n  ")
    frozen, began = frozen_key(model), time.monotonic()
    fit_stages(run, model, StageData(train, val, watch_of(run, renderer, splits.dev)), folder)
    if not folder.main:
        return
    check_frozen(frozen, frozen_key(model))
    seconds = time.monotonic() - began
    model.to(device)  # Lightning leaves it on the CPU
    with mixed(run.trainer.precision, device):
        scores, samples = evaluate_model(run, model, renderer, test, folder, "evaluate")
        after = mean_square(run, model, val)
        marks = benchmark_marks(run, model, renderer, folder, folder.path / "benchmarks", run.slug())
    tokens = sum(len(item.responses[j]) for item in train for _, j in plans[-1].objective.cells())
    results = {
        "scores": scores,
        "start": start,
        "square": {"languages": [run.lang.source, run.lang.code], "before": before, "after": after},
        "train": {
            "seconds": seconds,
            "steps": sum(plan.total_steps for plan in plans),
            "items": len(train),
            "items_too_long": too_long,
            "response_tokens": tokens,
            "trainable": book.trains(),
            "parameters": book.total,
        },
    }
    if marks:
        results["benchmarks"] = with_start(marks, marks_before)
    save_model(run, model, renderer, folder, results)
    write_csv(folder)
    from clo.storage.run_folder import write_jsonl

    write_jsonl(folder.path / "start_samples.jsonl", start_samples)
    write_results(run, folder, results, samples)


def _show(folder: RunFolder) -> None:
    """The run's result in the terminal."""
    from clo.study.grid import print_table

    print_table([folder.path])


if __name__ == "__main__":
    main()
