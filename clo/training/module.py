"""The LightningModule: Lightning's hooks and the names of the log; one ``training_step`` is one optimizer step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import pytorch_lightning as pl
import torch

from clo.config import OptimizerConfig, TrainerConfig
from clo.data.items import Item
from clo.square.attention import packed, unpacked
from clo.square.scores import packs
from clo.training.budget import Trial, agreed
from clo.training.checks import check_finite
from clo.training.engine import engine_of
from clo.training.gradients import Gradients
from clo.training.held_out import held_out_metrics, rounding_at_start
from clo.training.layers import training_layers
from clo.training.optimizer import adamw, scheduled, trained
from clo.training.stage_plan import Base, StagePlan
from clo.training.step_zero import check_step_zero, undrawn
from clo.training.terms import Scorer
from clo.training.throughput import peak_flops, step_rates


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
        look: of this module, makes more metrics at every validation.
    """

    strict_loading = False  # checkpoints hold what trains only

    def __init__(
        self,
        model: Any,
        plan: StagePlan,
        optimizer: OptimizerConfig,
        trainer: TrainerConfig,
        base: Base,
        look: Callable[[CLOModule], dict[str, float]] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.plan, self.options, self.hardware = model, plan, optimizer, trainer
        self.base, self._look = base, look
        self.note, self.validations = "", list[tuple[int, dict[str, float]]]()
        self._rounded = 0.0
        self._open = ExitStack()

    def setup(self, stage: str) -> None:
        """All that the first step needs, while the weights are still those of the stage's start."""
        data, options = self.trainer.datamodule, self.hardware  # type: ignore[attr-defined]
        whole = self.model.to(self.trainer.strategy.root_device)

        def prepare() -> Scorer:
            scorer = Scorer(engine_of(whole, self.trainer, options.precision), options.reference, self.base.weights)
            packs(scorer.model, data.val[0])  # all ranks together
            return scorer

        trial = Trial(prepare, self._layers, self.plan.objective, data.train, options.budget(), data.batch_size)
        with self.trainer.precision_plugin.forward_context():
            self.scorer, self.budget = agreed(trial)
            if self.budget.said and self.trainer.is_global_zero:
                print(self.budget.said, flush=True)
            self.engine, self.model = self.scorer.engine, self.scorer.model
            self.gradients = Gradients(self.engine, self.scorer, self.base.key, self.budget.max_tokens)
            if packs(self.model, data.val[0]):
                self._open.enter_context(packed(self.model))
            self.scorer.references = self.base.references(self) if self.base.references else {}
            self.scorer.likely = self.base.likely(self) if self.base.likely else {}

    @contextmanager
    def _layers(self, model: Any) -> Iterator[None]:
        """Prepare a model's layers for training."""
        item = self.trainer.datamodule.val[0]  # type: ignore[attr-defined]
        options = self.hardware
        with (
            packed(model) if packs(model, item) else nullcontext(),
            training_layers(model, bool(options.gradient_checkpointing), options.compile),
        ):
            yield

    def configure_model(self) -> None:
        """Prepare the layers for training; Lightning asks for this hook where weights are split."""
        self._open.enter_context(self._layers(self.model))

    def close(self) -> None:
        """Leave the model as it was handed in, trained or not."""
        self._open.close()

    def on_train_end(self) -> None:
        """Leave the trained weights in the model that was handed in."""
        self.close()
        self.engine.finish()

    def on_train_start(self) -> None:
        """The held-out square before the first step."""
        if self.global_step == 0:
            self._validate()

    def trained(self) -> list[torch.nn.Parameter]:
        """The parameters that train."""
        return trained(self.model)

    def configure_optimizers(self) -> Any:
        """AdamW and its schedule."""
        optimizer = adamw(self.trained(), self.options, self.plan.lr)
        schedule = scheduled(optimizer, self.options, self.plan.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def transfer_batch_to_device(self, batch: list[Item], device: torch.device, dataloader_idx: int) -> list[Item]:
        """Items are token ids of plain Python; their tensors are made per micro-batch."""
        return batch

    def training_step(self, items: list[Item], _: int) -> None:
        """One optimizer step over all items of the batch."""
        began, step = time.perf_counter(), self.global_step
        optimizer: Any = self.optimizers()
        scheduler: Any = self.lr_schedulers()
        measure = step % self.hardware.grad_norms_every == 0
        metrics = self.gradients.of(items, self.plan.objective, step, measure).means()
        for name in ("loss", "grad_norm"):
            check_finite(metrics[name], name.replace("grad_norm", "gradient"), self.plan.name, step, self.plan.lr)
        if step == 0 and self.plan.objective.needs_reference():
            still = undrawn(self.model, metrics, lambda: self.scorer.terms(items[:1], self.plan.objective))
            check_step_zero(still, self._rounded, items, self.plan.objective.beta)
        metrics["lr"] = scheduler.get_last_lr()[0]
        self.engine.step(optimizer, metrics["grad_norm"], self.options.clip)
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
        return step_rates(self.model, items, self.plan.objective.cells(), self.gradients.max_tokens, seconds, peak)

    def _validate(self) -> None:
        """The whole held-out square: NLL and log-probs of every cell, margins of every direction."""
        torch.clear_autocast_cache()  # it holds casts of the weights before the step
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            metrics = self._held_out()
            with unpacked(self.model):
                metrics |= self._look(self) if self._look else {}
        self.validations.append((self.global_step, metrics))
        self._log("val", metrics, self.global_step)

    def _held_out(self) -> dict[str, float]:
        items, objective = self.trainer.datamodule.val, self.plan.objective  # type: ignore[attr-defined]
        metrics = held_out_metrics(self.scorer, objective, items, self.gradients.max_tokens, self._trained_columns())
        if objective.needs_reference() and self.global_step == 0:
            self._rounded = rounding_at_start(self.scorer, objective, items, metrics)
        return metrics

    def _trained_columns(self) -> set[tuple[str, int]]:
        """Of a mixture."""
        train = self.trainer.datamodule.train  # type: ignore[attr-defined]
        return {(item.task, place) for item in train if item.task for place in item.languages()}

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
