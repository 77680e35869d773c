"""The LightningModule: glue between items, scores, objective and optimizer; it contains no formula.

One ``training_step`` is one optimizer step: the items are split into micro-batches under the token budget, and every
sum is divided by the step's own denominators, so neither the budget nor the number of ranks changes a gradient.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from clo.config import OptimizerConfig, TrainerConfig
from clo.config.choices import ReferenceMode
from clo.data.batch import Cell, balanced, every_cell
from clo.data.items import Item
from clo.errors import UserError
from clo.square.anchor import Likely, divergence, likely_of_all
from clo.square.objective import Objective, Terms, objective_terms, square_metrics
from clo.square.reference import swapped
from clo.square.scores import Scores, batch_of, groups_of, halved, packs, score, score_with_reference, score_within
from clo.training.checks import check_finite
from clo.training.layers import training_layers
from clo.training.optimizer import adamw, linear_schedule, trained
from clo.training.sharding import clip_gradients, gather_into, most_of_any_rank, norm, sharded_copy
from clo.training.stage_plan import Base, StagePlan
from clo.training.step_sums import StepSums, add_gradients_over_ranks
from clo.training.step_zero import check_step_zero, rounding, undrawn
from clo.training.strategy import ShardedStrategy
from clo.training.throughput import peak_flops, step_rates

OUT_OF_MEMORY = "out of memory with trainer.max_tokens={} on one of the devices; set a lower one, the run goes on"


class CLOModule(pl.LightningModule):
    """Trains one stage of any method.

    Logged names: ``train/`` ``loss``; ``nll``, ``pref``, ``anchor`` as weighted in it; ``grad_norm`` and each term's;
    ``lr``, ``response_tokens_per_second``, ``wasted_tokens``, ``mfu``, ``kl_en`` (nats per token); ``train/`` and
    ``val/`` ``margin_d``, ``accuracy_d``, ``chosen_change_d``, ``rejected_change_d`` (nats) for d in en, target,
    ``saturated``; ``val/nll_d``, ``val/logp_d_d`` (per token), ``val/right_language_d``.

    Args:
        model: the language model, already tuned (see :mod:`clo.model.tuning`).
        plan: the stage.
        optimizer: AdamW's values.
        trainer: the hardware side.
        base: the weights that the stage starts from, and what is known of them.
        look: (model, step) -> more metrics at every validation.
    """

    strict_loading = False  # checkpoints hold what trains only

    def __init__(
        self,
        model: Any,
        plan: StagePlan,
        optimizer: OptimizerConfig,
        trainer: TrainerConfig,
        base: Base,
        look: Callable[[Any, int], dict[str, float]] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.plan, self.options, self.hardware = model, plan, optimizer, trainer
        self.base, self._look = base, look
        self.references: dict[str, Tensor] = {}
        self.likely: dict[str, Likely] = {}
        self.max_tokens = trainer.max_tokens
        self.note, self.validations = "", list[tuple[int, dict[str, float]]]()
        self._rounded = 0.0
        self._open = ExitStack()
        self._whole: list[Any] = []  # the whole model, while this one is split over devices

    def setup(self, stage: str) -> None:
        """Make the references while the weights are still those of the stage's start."""
        self.model.to(self.trainer.strategy.root_device)
        with self.trainer.precision_plugin.forward_context():
            self.references = self.base.references(self) if self.base.references else {}
            self.likely = self.base.likely(self) if self.base.likely else {}

    def configure_model(self) -> None:
        """Split the model over the devices where the strategy does, and prepare its layers for training."""
        if isinstance(self.trainer.strategy, ShardedStrategy):
            assert self.device_mesh is not None
            self._whole = [self.model]
            self.model = sharded_copy(self.model, self.device_mesh["data_parallel"], self.hardware.precision)
        options = self.hardware
        self._open.enter_context(training_layers(self.model, options.gradient_checkpointing, options.compile))

    def on_fit_start(self) -> None:
        """Look at the attention of split weights once, all ranks together."""
        if self._whole:
            with self.trainer.precision_plugin.forward_context():
                packs(self.model, self.trainer.datamodule.val[0])  # type: ignore[attr-defined]

    def on_train_end(self) -> None:
        """Leave the trained weights in the model that was handed in."""
        self._open.close()
        for whole in self._whole:
            gather_into(trained(whole), self.trained())

    def on_train_start(self) -> None:
        """The held-out square before the first step."""
        if self.global_step == 0:
            self._validate()

    def trained(self) -> list[torch.nn.Parameter]:
        """The parameters that train."""
        return trained(self.model)

    def configure_optimizers(self) -> Any:
        """AdamW with a linear schedule."""
        optimizer = adamw(self.trained(), self.options, self.plan.lr)
        schedule = linear_schedule(optimizer, self.options.warmup, self.plan.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def transfer_batch_to_device(self, batch: list[Item], device: torch.device, dataloader_idx: int) -> list[Item]:
        """Items are token ids of plain Python; their tensors are made per micro-batch."""
        return batch

    def training_step(self, items: list[Item], _: int) -> None:
        """One optimizer step over all items of the batch."""
        began, step = time.perf_counter(), self.global_step
        optimizer: Any = self.optimizers()
        scheduler: Any = self.lr_schedulers()
        sums = self._within_memory(items, step % self.hardware.grad_norms_every == 0)
        metrics = sums.means()
        for name in ("loss", "grad_norm"):
            check_finite(metrics[name], name.replace("grad_norm", "gradient"), self.plan.name, step, self.plan.lr)
        if step == 0 and self.plan.objective.needs_reference():
            still = undrawn(self.model, metrics, lambda: self._terms(items[:1], self.plan.objective))
            check_step_zero(still, self._rounded, items, self.plan.objective.beta)
        metrics["lr"] = scheduler.get_last_lr()[0]
        clip_gradients(self.trained(), metrics["grad_norm"], self.options.clip)
        optimizer.step()
        scheduler.step()
        if step % self.hardware.log_every == 0 or step + 1 == self.plan.total_steps:
            metrics |= self._rates(items, time.perf_counter() - began)
            self.note = f"loss {metrics['loss']:.3f}"
            self._log("train", metrics, step + 1)
        # Here, not in Lightning's own loop: that comes after the checkpoint, and a run killed in between would lose it.
        if (step + 1) % self.plan.validate_every == 0 or step + 1 == self.plan.total_steps:
            self._validate()

    def _rates(self, items: Sequence[Item], seconds: float) -> dict[str, float]:
        peak = peak_flops(self.device, self.hardware.precision)
        peak = None if peak is None else peak * self.trainer.world_size
        return step_rates(self.model, items, self.plan.objective.cells(), self.max_tokens, seconds, peak)

    def _within_memory(self, items: Sequence[Item], measure: bool) -> StepSums:
        """The step's gradients; out of memory halves the token budget, says so and begins again."""
        while True:
            try:
                return self._gradients(items, measure)
            except torch.OutOfMemoryError:
                if self._in_lockstep():  # the other devices wait for this one's part: no step can be repeated alone
                    raise UserError(OUT_OF_MEMORY.format(self.max_tokens)) from None
                if self.max_tokens < max(item.longest() for item in items):
                    raise
            self.zero_grad(set_to_none=True)
            self.max_tokens = halved(self.max_tokens)

    def _gradients(self, items: Sequence[Item], measure: bool) -> StepSums:
        """Leave the step's gradients in the weights; returns what is logged of it, gradient norms included.

        Each term's own norm is measured by passes of its own, so that no second set of gradients is ever held.
        """
        denominators, norms = self.plan.objective.denominators(items), {}
        for name, part in self.plan.objective.parts().items() if measure else ():
            self._backward(items, part, denominators)
            norms[f"grad_norm_{name}"] = norm(p.grad for p in self.trained() if p.grad is not None)
        sums = self._backward(items, self.plan.objective, denominators)
        norms["grad_norm"] = norm(p.grad for p in self.trained() if p.grad is not None)
        for name, value in norms.items():
            sums.add(name, value)
        return sums

    def _backward(self, items: Sequence[Item], objective: Objective, denominators: Tensor) -> StepSums:
        """Gradients of one objective over all micro-batches and ranks."""
        self.zero_grad(set_to_none=True)
        self._seed()
        sums = StepSums()
        for group, weight in self._passes(items):
            terms = self._terms(group, objective)
            with torch.autocast(self.device.type, enabled=False):  # what the forward pass cast goes back as it came
                (weight * objective.loss(terms, denominators)).backward()
            sums.add_terms(terms.metrics, objective.weighted(terms, denominators), weight)
        for parameter in self.trained():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.trainer.world_size > 1:
            add_gradients_over_ranks(self.trained())
            sums.over_ranks()
        return sums

    def _passes(self, items: Sequence[Item]) -> list[tuple[list[Item], float]]:
        """This rank's micro-batches, each with weight 1.

        Ranks that split something meet in every pass: who has fewer micro-batches adds some of weight 0. So does a rank
        without items.
        """
        cells = self.plan.objective.cells()
        mine = balanced(items, cells, self.trainer.world_size)[self.global_rank]
        passes = [([mine[k] for k in group], 1.0) for group in groups_of(self.model, mine, cells, self.max_tokens)]
        most = most_of_any_rank(len(passes), self.device) if self._in_lockstep() else max(1, len(passes))
        return passes + [([items[0]], 0.0)] * (most - len(passes))

    def _in_lockstep(self) -> bool:
        return bool(self._whole)

    def _seed(self) -> None:
        """Dropout draws from the step's own seed: a resumed or repeated step draws the same."""
        step = self.global_step * self.trainer.world_size + self.global_rank
        torch.manual_seed(int(self.base.key[:12], 16) + step)

    def _terms(self, items: Sequence[Item], objective: Objective) -> Terms:
        """Score a micro-batch and its reference, and weigh the square."""
        batch = batch_of(self.model, items, objective.cells())
        start = likely_of_all([self.likely[item.key()] for item in items], self.device) if objective.anchor else None
        of_source, R_BLK = None if start is None else partial(divergence, start), None
        if objective.needs_reference() and self.hardware.reference is not ReferenceMode.cached:
            policy, reference = score_with_reference(self.model, batch, self._as_reference(), of_source)
            R_BLK = reference.S_BLK
        else:
            if objective.needs_reference():
                R_BLK = torch.stack([self.references[item.key()] for item in items]).to(self.device)
            policy = score(self.model, batch, of_source)
        return objective_terms(objective, policy.S_BLK, R_BLK, policy.count_BLK, policy.source, items)

    def _as_reference(self) -> Any:
        if self.hardware.reference is ReferenceMode.adapters_off:
            return self.model.disable_adapter()
        if self.hardware.reference is ReferenceMode.swapped:
            assert self.base.weights is not None
            return swapped(self.model, self.base.weights)
        return nullcontext()

    def _validate(self) -> None:
        """The whole held-out square: NLL and log-probs of every cell, margins of every direction."""
        torch.clear_autocast_cache()  # it holds casts of the weights before the step
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            metrics = self._held_out_metrics(self.trainer.datamodule.val)  # type: ignore[attr-defined]
            metrics |= self._look(self.model, self.global_step) if self._look else {}
        self.validations.append((self.global_step, metrics))
        self._log("val", metrics, self.global_step)

    def _held_out_metrics(self, items: list[Item]) -> dict[str, float]:
        objective = self.plan.objective
        cells = every_cell(items)
        scores = self._scored(items, cells)
        metrics = square_metrics(scores.S_BLK, scores.count_BLK, objective.codes)
        R_BLK = None
        if objective.needs_reference():
            if self.hardware.reference is ReferenceMode.cached:
                R_BLK = torch.stack([self.references[item.key()] for item in items])
            else:
                with self._as_reference():
                    R_BLK = self._scored(items, cells).S_BLK
        terms = objective_terms(objective, scores.S_BLK, R_BLK, scores.count_BLK, None, items)
        metrics |= {name: float(total / count) for name, (total, count) in terms.metrics.items() if count}
        if objective.needs_reference() and self.global_step == 0:
            self._rounded = rounding(self.model, items, cells)
            check_step_zero(metrics, self._rounded, items, objective.beta)
        return metrics

    def _scored(self, items: Sequence[Item], cells: Sequence[Cell]) -> Scores:
        """Scores without gradients; devices that meet in every pass stop together where one has no memory."""
        try:
            return score_within(self.model, items, cells, self.max_tokens, alone=not self._in_lockstep())[0]
        except torch.OutOfMemoryError:
            if self._in_lockstep():
                raise UserError(OUT_OF_MEMORY.format(self.max_tokens)) from None
            raise

    def _log(self, part: str, metrics: dict[str, float], step: int) -> None:
        record: dict[str, float] = {f"{part}/{name}": value for name, value in metrics.items()}
        record["epoch"] = step / self.plan.steps_per_epoch
        for logger in self.loggers:
            logger.log_metrics(record, step)

    def cpu(self) -> CLOModule:
        """Stay: Lightning would move the weights away at a stage's end, just before the next one or the evaluation."""
        return self

    def teardown(self, stage: str) -> None:
        """Drop the moments, which Lightning would copy to the CPU."""
        self.trainer.strategy.optimizers = []

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what trains only, and what it was trained from."""
        names = {f"model.{name}" for name, p in self.model.named_parameters() if p.requires_grad}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in names}
        checkpoint["clo_base"] = self.base.key
