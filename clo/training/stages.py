"""A run's training: one or two stages over the same items, each resumable to the bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from clo.config import EvaluationConfig, MethodConfig
from clo.config.choices import Anchor, Cells, Keep, Prompts, ReferenceMode
from clo.config.method import places_against
from clo.config.parse import RunConfig
from clo.data.datamodule import SquareDataModule, stage_steps, steps_per_epoch
from clo.data.items import Item
from clo.evaluation.watch import Look
from clo.square.further import further_comparisons
from clo.square.objective import Objective, is_lone
from clo.square.reference import snapshot, weights_key
from clo.storage.jsonl import read_lines
from clo.storage.progress import stage
from clo.storage.ranks import ALONE, Ranks
from clo.storage.run_folder import RunFolder
from clo.training.budget import Budget
from clo.training.checkpoint import (
    StageCheckpoint,
    Trained,
    drop_older,
    load_trained,
    newest_checkpoint,
    save_trained,
    step_of,
)
from clo.training.drift import drift
from clo.training.first_stage import first_stage
from clo.training.keep import BestWeights, kept_of, last_weights
from clo.training.loggers import MetricsFile, stage_loggers
from clo.training.module import CLOModule
from clo.training.references import stage_likely, stage_references
from clo.training.spent import Spent
from clo.training.stage_plan import Base, StageData, StagePlan
from clo.training.trainer import lightning_trainer


def plan_stages(
    method: MethodConfig,
    evaluation: EvaluationConfig,
    batch_size: int,
    train: Sequence[Item],
    codes: Sequence[str] = (),
) -> list[StagePlan]:
    """The stages of a method, in order; ``codes`` are of the items' languages, where some are named or told apart."""
    items, languages = len(train), len(train[0].prompts)
    per_epoch = steps_per_epoch(items, batch_size)
    terms = method.beta, method.nll_reduction, method.pair_reduction
    plans: list[StagePlan] = []

    def add(name: str, objective: Objective, lr: float, steps: int) -> None:
        # Rows of a mixture in the source language alone have nothing but their NLL.
        lone = objective.nll is Cells.target and any(item.task and is_lone(item) for item in train)
        told = replace(objective, codes=tuple(codes) if len(codes) > 2 else (), lone=lone)
        plans.append(StagePlan(name, told, lr, steps, per_epoch, max(1, steps // evaluation.validations)))

    before, steps = _steps(method, items, batch_size)
    if method.sft_first is not None:
        first = Objective(languages, Cells.diagonal, Prompts.none, 1.0, *terms)
        add("sft", first, method.sft_first.lr, before)
    between, further = further_comparisons(method, languages)
    weighed = Objective(languages, method.nll, between, method.lam, *terms)
    main = replace(
        weighed,
        loss_name=method.loss,
        margin=method.margin or 0.0,
        penalty=method.penalty or 0.0,
        label_smoothing=method.label_smoothing or 0.0,
        anchor=method.anchor_weight if method.anchor is Anchor.kl else 0.0,
        replay=method.anchor_weight if method.anchor is Anchor.replay else 0.0,
        against=places_against(method.against, codes),
        further=further,
    )
    name = method.name if method.sft_first is None else method.name.removeprefix("sft_") or method.name
    add(name, main, method.lr, steps)
    return plans


def _steps(method: MethodConfig, items: int, batch_size: int) -> tuple[int, int]:
    """Steps of the first stage, 0 where there is none, and of the main one."""
    first = method.sft_first
    if method.steps is None:
        before = 0 if first is None else stage_steps(items, batch_size, first.epochs)
        return before, stage_steps(items, batch_size, method.epochs)
    before = 0 if first is None else min(method.steps - 1, max(1, round(method.steps * first.share)))
    return before, method.steps - before


@dataclass(frozen=True)
class Fitted:
    """What is to be told of a training."""

    warnings: list[str]
    """What the held-out square says against what is kept of the last stage, in words."""
    max_tokens: int | None
    """Token budget that all ranks had memory for; none where it was not tried."""
    spent: dict[str, float] = field(default_factory=dict)
    """What it cost, see :mod:`clo.training.spent`; a stage that another run has trained costs what it did there."""


def fit_stages(
    run: RunConfig,
    model: Any,
    data: StageData,
    folder: RunFolder,
    ranks: Ranks = ALONE,
    memory: Callable[[], dict[str, float]] = dict,
) -> Fitted:
    """Train all stages; a finished stage's weights are loaded, a broken one resumes, another run's first one is taken.

    With ``trainer.keep=best`` the rule holds for the last stage: its file holds what is kept, the model what came last.

    Args:
        run: the configuration.
        model: the start model, tuned.
        data: what it is trained and looked at on.
        folder: of the run.
        ranks: the processes of the run.
        memory: the most that tensors took since this process began.

    Raises:
        UserError: a checkpoint of another base, a loss that is not finite, a reference that is not the start model.
    """
    plans = plan_stages(run.method, run.evaluation, run.batch_size, data.train, run.lang.codes())
    budgets, spent = list[Budget](), Spent(folder, memory)
    for number, plan in enumerate(plans, 1):
        done = folder.path / "checkpoint" / f"{number}-{plan.name}.safetensors"
        ends = run if plan is plans[-1] else replace(run, trainer=replace(run.trainer, keep=Keep.last))
        key = weights_key(model, run.trainer.precision)
        fit = partial(_fit_stage, ends, model, plan, data, spent)
        if done.is_file():
            load_trained(model, done, key)
        elif number == 1 and (first := first_stage(ends, plan, data.train, data.val, key)):
            with first.taken(ends, folder, done, ranks, spent.now) as cost:
                if cost:
                    load_trained(model, done, key)
                    spent.add(cost)
                else:
                    budgets.append(fit(Trained(done, key, first.digest)))
        else:
            budgets.append(fit(Trained(done, key)))
        spent.keep()
    lines = validations(folder, plans[-1])
    if run.trainer.keep is Keep.best and folder.main:  # other ranks may read before the first one has written
        step = kept_of(lines, run.trainer.keep_tolerance).step
        lines = [line for line in lines if line["step"] <= step]
    tried = min((budget.max_tokens for budget in budgets if budget.said), default=None)
    return Fitted(drift(lines), tried, spent.now())


def validations(folder: RunFolder, plan: StagePlan) -> list[dict[str, Any]]:
    """A stage's lines of metrics.jsonl that hold validations, the start's first."""
    lines = read_lines(folder.path / "metrics.jsonl")
    return [line for line in lines if line.get("stage") == plan.name and "val/nll_en" in line]


def _fit_stage(run: RunConfig, model: Any, plan: StagePlan, data: StageData, spent: Spent, file: Trained) -> Budget:
    """Train one stage."""
    done, key, folder = file.path, file.base, spent.folder
    needs_reference = plan.objective.needs_reference()
    start = snapshot(model) if needs_reference and run.trainer.reference is ReferenceMode.swapped else None
    cached = needs_reference and run.trainer.reference is ReferenceMode.cached
    references = partial(stage_references, Path(run.cache_dir) / "reference", data, folder) if cached else None
    likely = partial(stage_likely, Path(run.cache_dir) / "reference", data, run.method.anchor_top)
    anchor = likely if plan.objective.anchor else None
    watched = MetricsFile(folder.path / "watched.jsonl", plan.name)
    look = None if data.watch is None else partial(_look, data.watch, watched if folder.main else None)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    best = BestWeights(done.with_suffix(""), key, names, run.trainer.keep_tolerance)
    keeps_best = run.trainer.keep is Keep.best
    trainer = _trainer(run, plan, folder, done.with_suffix(""), [spent, *([best] if keeps_best else [])])
    module = CLOModule(model, plan, run.optimizer, run.trainer, Base(key, references, anchor, start), look)
    per_step = max(1, round(run.method.anchor_share * run.batch_size))
    replayed = (data.replayed, per_step) if plan.objective.replay else ((), 0)
    datamodule = SquareDataModule(data.train, data.val, run.batch_size, plan.total_steps, run.seed, replayed)
    if run.data.temperature > 1:
        datamodule.by_temperature(run.data.temperature)
    checkpoint = newest_checkpoint(done.with_suffix(""), key)
    for logger in (*trainer.loggers, watched):
        if isinstance(logger, MetricsFile) and folder.main:
            logger.rewind(0 if checkpoint is None else step_of(checkpoint))
    try:
        trainer.fit(module, datamodule, ckpt_path=None if checkpoint is None else str(checkpoint))
    finally:
        module.close()
        trainer.strategy.checkpoint_io.wait()  # type: ignore[attr-defined]  # SafetensorsIO
    if trainer.global_step != plan.total_steps:
        raise RuntimeError(f"stage {plan.name} stopped at step {trainer.global_step} of {plan.total_steps}")
    if trainer.is_global_zero:
        save_trained(model, file, last_weights(done) if keeps_best else None)
        drop_older(done.with_suffix(""))
        if keeps_best:
            best.finish(done)
    return module.budget


def _look(watch: Look, file: MetricsFile | None, module: CLOModule) -> dict[str, float]:
    """Ask the watched prompts, keep the answers, and return the rates."""
    metrics, answers = watch(module.model, module.budget.share)
    step = module.global_step
    if file is not None:
        for answer in answers:
            file.log_metrics(answer, step)
    return metrics


def _trainer(
    run: RunConfig, plan: StagePlan, folder: RunFolder, checkpoints: Path, callbacks: Sequence[Callback]
) -> pl.Trainer:
    """A Lightning trainer for one stage: one pass over the stage's sampler."""
    save = StageCheckpoint(checkpoints, max(1, plan.total_steps // run.trainer.checkpoints))
    loggers = stage_loggers(run, folder, plan.name)
    return lightning_trainer(run.trainer, plan.total_steps, [save, *callbacks, _Bar(folder, plan)], loggers)


class _Bar(Callback):
    """Shows the stage's progress."""

    def __init__(self, folder: RunFolder, plan: StagePlan) -> None:
        self._open = ExitStack()
        self.folder, self.plan = folder, plan

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.tick = self._open.enter_context(stage(self.folder, f"train {self.plan.name}"))

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(module, CLOModule)
        self.tick(trainer.global_step, self.plan.total_steps, module.note)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._open.close()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, error: BaseException) -> None:
        self._open.close()
