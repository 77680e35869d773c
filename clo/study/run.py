"""One run from start to end; a finished one is shown, a broken one resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from clo.config import ROWS
from clo.config.choices import Keep
from clo.config.parse import RunConfig, plain
from clo.data.items import absences
from clo.errors import UserError, was_stopped
from clo.storage.ranks import is_main
from clo.storage.run_folder import RunFolder
from clo.study.content import check_content, record_content
from clo.study.finished import recorded
from clo.study.rebuild import has_model, rebuild_model
from clo.study.table import print_table

if TYPE_CHECKING:
    from clo.data.splits import Splits
    from clo.study.rows import Items
    from clo.study.session import Session


def run_path(run: RunConfig) -> Path:
    """The run's folder; one that version 0.1 made for the same science is found under its name of then."""
    study = Path(run.output_dir) / run.study_name
    path, first = study / run.slug(), study / run.first_slug()
    if not path.exists() and (first / "config.yaml").is_file() and recorded(first).science() == run.science():
        return first
    return path


def run_cell(run: RunConfig) -> None:
    """Train and evaluate one run, and show its result.

    Raises:
        InUse: another process works in its folder.
        UserError: anything else that the user can mend.
    """
    folder = RunFolder(run_path(run), main=is_main())
    check_content(run, folder)
    if _shown(run, folder):
        return
    folder.acquire(OmegaConf.to_yaml(OmegaConf.create(plain(run))))
    if folder.state() == "done":  # another worker has finished it just now
        folder.release()
        _shown(run, folder)
        return
    failed = True
    try:
        folder.status(now=True, state="running", stage="load", error=None)
        train(run, folder)
        folder.status(now=True, state="done", stage="done")
        failed = False
        if folder.main:
            print_table([folder.path])
    except BaseException as error:
        if was_stopped(error):
            folder.status(now=True, state="failed", error="stopped")
            raise KeyboardInterrupt from error
        text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        folder.status(now=True, state="failed", error=text)
        raise
    finally:
        try:
            if run.logger.name == "wandb" and folder.main:
                from clo.training.tracking import close

                close(folder, failed)
        finally:
            folder.release()


def _shown(run: RunConfig, folder: RunFolder) -> bool:
    """Show a finished run, and make its model again where somebody has deleted it; whether it is one.

    Raises:
        UserError: the model is gone, and so is what it could be made from.
    """
    if folder.state() != "done":
        return False
    print(f"{folder.path} is done already; delete it to run again")
    print_table([folder.path])
    if lacking := _lacking_rivals(run, folder):
        asked = f"'evaluation.rivals.names=[{','.join(lacking)}]'"
        print(f"it has no scores of these rivals: clo evaluate run={folder.path} {asked} adds them")
    if folder.main and not has_model(folder.path):
        rebuild_model(run, folder.path)
        print(f"{folder.path / 'model'} was missing; it is made again from {folder.path / 'checkpoint'}")
    return True


def _lacking_rivals(run: RunConfig, folder: RunFolder) -> list[str]:
    """Rivals that are asked for and that a finished run was not: they are no part of its name."""
    there = {name.split("_")[0] for name in folder.results().get("rivals", {})}
    return [name for name in run.evaluation.rivals.names if name.split("_")[0] not in there]


def train(run: RunConfig, folder: RunFolder) -> None:
    """Rows, items, start model and its scores, stages, scores of the end, results."""
    from clo.model.load import load_model
    from clo.model.tuning import apply_tuning
    from clo.study.data_card import write_data_card
    from clo.study.kept import kept_scores
    from clo.study.layer_choice import settled_tuning
    from clo.study.mixture import list_rows
    from clo.study.outcome import Ends, write_outcome
    from clo.study.own_answers import planned_own, with_own_answers
    from clo.study.plan_choice import with_choice
    from clo.study.rivals import rivals_of
    from clo.study.rows import absent_lines, items_of, rows_of, tested_rows
    from clo.study.scores import Tested, start_scores
    from clo.study.session import open_session
    from clo.study.task_results import task_results
    from clo.training.checks import check_places
    from clo.training.join import join

    check_places(run.logger.name, run.cache_dir)
    rows = rows_of(run)
    if folder.main:
        print(rows.told(), *(f"{line}\n" for line in absent_lines(run, rows)), _fewer(run, rows), sep="", end="")
    session = open_session(run, folder)
    items = items_of(run, session.renderer, rows)
    if folder.main:
        write_data_card(folder.path, run, rows, items, session.renderer)
    listed = list_rows(folder.path, run, rows.train, items.train) if run.mixture.name and folder.main else ""
    run, choice = with_choice(run, planned_own(run, items).train)
    session = replace(session, run=run, ranks=join(run.trainer))
    if choice and folder.main:
        print(choice, flush=True)
    test = tested_rows(run, rows)
    model = _start_model(session, items)
    start = start_scores(session, model, test, items.val)
    items = with_own_answers(session, model, rows, items)
    if items.own and folder.main:
        write_data_card(folder.path, run, rows, items, session.renderer)
    record_content(run, folder, rows, items)
    tuning = settled_tuning(session, model, items.train)
    model = apply_tuning(model, tuning, run.seed)
    fitted = _fit(session, model, rows, items)
    trained = session.ranks.mains(lambda: fitted)
    session = session.within(trained.get("max_tokens"))
    model.to(session.device)  # where the stages leave it already
    end, last = kept_scores(session, model, Tested(test, items.val, start.likely), trained)
    rivals = rivals_of(session, model, test, tuning, lambda: load_model(run.model))
    if folder.main:
        tasks = task_results(run, test, start.samples, end.samples, listed) if listed else None
        write_outcome(session, model, Ends(start, end, last, rivals, tasks), trained)


def _fewer(run: RunConfig, rows: Splits) -> str:
    """A line where other rows are tested on than all of them, or than were asked for."""
    evaluation, there = run.evaluation, len(rows.held_out(run.evaluation))
    if run.mixture.name:
        most = evaluation.rows or ROWS
        languages = ", ".join(run.lang.codes())
        return f"asked: the first {most} rows of {evaluation.split.name} of each task, in {languages}\n"
    split, used = evaluation.split.name, len(rows.evaluated(evaluation))
    if evaluation.rows is None and used < there:
        return f"tested on the first {used} of {there} rows of {split}; evaluation.rows={there} takes all\n"
    if (evaluation.rows or 0) <= used:
        return ""
    return f"evaluation.rows={evaluation.rows} is beyond the {used} rows of {split}; all of them are used\n"


def _of_targets(run: RunConfig, items: Items) -> dict[str, Any]:
    """With several targets: training items by target, and how many of all lack each."""
    if not run.lang.further:
        return {}
    lacking = dict(zip(run.lang.codes(), absences(items.train)[1], strict=False))
    return {"sizes": run.sizes(), "absent": {code: lacking[code] for code in run.sizes()}}


def _start_model(session: Session, items: Items) -> Any:
    from clo.model.load import check_precision, load_model
    from clo.training.checks import check_vocabulary

    run = session.run
    on_device = session.device if session.device.type == "cuda" else None
    model = load_model(run.model, on_device, session.ranks).to(session.device)
    check_precision(model, run.trainer.precision)
    check_vocabulary([*items.train, *items.val], model.get_input_embeddings().num_embeddings)
    said = session.renderer.said_of_ends(getattr(model.generation_config, "eos_token_id", None))
    if said and session.folder.main:
        print(said, flush=True)
    return model


def _fit(session: Session, model: Any, rows: Splits, items: Items) -> dict[str, Any]:
    """Train all stages; returns facts about the training, for results.json."""
    from clo.data.batch import response_tokens
    from clo.evaluation.watch import watch
    from clo.model.tuning import ledger
    from clo.study.layer_choice import layer_record
    from clo.training.checks import check_frozen, frozen_key
    from clo.training.keep import kept_of
    from clo.training.stage_plan import StageData
    from clo.training.stages import fit_stages, plan_stages, validations
    from clo.training.throughput import peak_memory_gb

    run, folder = session.run, session.folder
    book, plans = ledger(model), plan_stages(run.method, run.evaluation, run.batch_size, items.train, run.lang.codes())
    if folder.main:
        steps = " then ".join(f"{plan.name} {plan.total_steps} steps" for plan in plans)
        head = f"{folder.path.name}: {len(items.train)} items ({items.too_long} longer ones left out), {steps}"
        print(head, *book.lines(), sep="\n  ")
    look = watch(session.renderer, rows.dev, run.lang, run.evaluation) if run.evaluation.watch else None
    memory = peak_memory_gb(session.device)
    frozen = frozen_key(model)
    data = StageData(items.train, items.val, look, items.replayed)
    fitted = fit_stages(run, model, data, folder, session.ranks, memory)
    kept = {}
    if run.trainer.keep is Keep.best and folder.main:
        kept["kept"] = kept_of(validations(folder, plans[-1]), run.trainer.keep_tolerance).record()
        print("kept: step {step} of {of}, {rule}".format(**kept["kept"]))
    if folder.main:
        check_frozen(frozen, frozen_key(model))
        print("".join(f"warning: {sentence}\n" for sentence in fitted.warnings), end="")
    return {
        **fitted.spent,
        "steps": sum(plan.total_steps for plan in plans),
        **kept,
        **({} if fitted.max_tokens is None else {"max_tokens": fitted.max_tokens}),
        **({"warnings": fitted.warnings} if fitted.warnings else {}),
        **({"layers": chosen} if (chosen := layer_record(run, folder.path)) else {}),
        "items": len(items.train),
        "items_too_long": items.too_long,
        **_of_targets(run, items),
        **({"replayed_rows": len(items.replayed)} if items.replayed else {}),
        **({"rows_refused": list(rows.refused)} if rows.refused else {}),
        **({"own_answers": items.own} if items.own else {}),
        "poor_rows": [poor.record() for poor in rows.poor],
        "response_tokens": response_tokens(items.train, plans[-1].objective.cells()),
        "trainable": book.trains(),
        "parameters": book.total,
    }
