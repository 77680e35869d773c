"""What a run will need, before anything is spent: ``python train.py plan=true ...``.

Lengths are those of the real items, weights those of the real architecture (built on the meta device, nothing is
loaded); what they cost is arithmetic, and what is assumed is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from clo.config import ModelConfig, TrainerConfig, TuningConfig
from clo.config.choices import Keep, Loss, ReferenceMode
from clo.config.parse import RunConfig
from clo.data.batch import packed_tokens
from clo.data.items import Item
from clo.data.rows import Row
from clo.study.plan_choice import chosen, device_here, memory_limit, told, widest
from clo.study.plan_memory import memory_of, on_cpu, peak_memory

if TYPE_CHECKING:
    from clo.training.stage_plan import StagePlan

ASSUMED_MFU = 0.45
"""Share of a GPU's peak that steps and references reach; assumed (Llama-3-8B on an H200: 0.50 and 0.45)."""
CPU_MFU = 0.5
"""The same of a CPU's peak in float32 (Gemma 3 270M: 0.50 to 0.57)."""
CPU_PER_WEIGHT = 1.5e-8
"""Seconds per trained weight and step on a CPU that wait for its memory: AdamW (some twenty passes over 4 bytes), and
as many again to clear, add up and measure the gradient."""
CPU_HALF = 2.0
"""Times as fast as in float32 that a step in bfloat16 is on a CPU at most, whatever its units can do: the head's
softmax, norms and attention are no products (1.8 on Gemma 3 270M, 2.5 to 2.9 on the shapes of docs/speed.md)."""


@dataclass(frozen=True)
class Plan:
    """One cell's needs."""

    name: str
    items: int
    tokens: int
    """Tokens of the packed rows of one epoch."""
    steps: int
    memory: dict[str, float]
    """Bytes by part."""
    limit: float | None
    """Bytes of the device; none where it is not known."""
    hours: float | None
    """Training and references, without evaluation; none where the device's peak is not known."""
    disk: float
    """Bytes of the run folder."""
    translation: Sequence[tuple[str, float | None]]
    """Files of translated rows that are still to be made, and the hours that takes, where they can be known."""
    advice: str | None
    """What would make it fit; none where it does."""
    spared: tuple[str, float | None] | None = None
    """Loss that needs no reference, and the hours that scoring one would take."""
    choice: str = ""
    """What the settings leave open, as it was chosen for this device."""

    def needs(self) -> float:
        """Peak memory, bytes."""
        return peak_memory(self.memory)


def plan_run(run: RunConfig, train: Sequence[Item], rows: Sequence[Row] = ()) -> Plan:
    """The needs of one run.

    Args:
        run: the cell.
        train: its training items.
        rows: all its rows; what is not translated yet is planned too.

    Raises:
        UserError: the model's configuration cannot be read, or the tuning matches nothing.
    """
    from clo.model.load import shape_only
    from clo.model.tuning import apply_tuning, ledger
    from clo.training.stages import plan_stages

    tuning = widest(run.tuning)
    model = apply_tuning(shape_only(run.model), tuning)
    stages = plan_stages(run.method, run.evaluation, run.batch_size, train, run.lang.codes())
    lengths = [packed_tokens(item, stages[-1].objective.cells()) for item in train]
    limit = memory_limit(run.trainer)
    trainer = chosen(run.trainer, model, lengths, limit)
    choice = told(run.trainer, trainer)
    if not any(stage.objective.needs_reference() for stage in stages):
        trainer = replace(trainer, reference=ReferenceMode.cached)  # no reference: no start weights are kept
    book = ledger(model)
    peak, share = _peak(trainer), run.method.anchor_share
    saved = sum(p.numel() * p.element_size() for p in model.parameters() if run.tuning.lora is None or p.requires_grad)
    hours = None if peak is None else _seconds(trainer, model, stages, train, peak, share) / 3600
    spared = None
    if any(stage.objective.comparisons() and not stage.objective.needs_reference() for stage in stages):
        dpo = [replace(stage, objective=replace(stage.objective, loss_name=Loss.sigmoid)) for stage in stages]
        more = (
            None if peak is None or hours is None else _seconds(trainer, model, dpo, train, peak, share) / 3600 - hours
        )
        spared = run.method.loss.name, more
    whole = Plan(
        name=run.slug(),
        items=len(train),
        tokens=sum(lengths),
        steps=sum(stage.total_steps for stage in stages),
        memory=memory_of(trainer, model, lengths, _passes(stages, lengths, trainer)),
        limit=limit,
        hours=hours,
        disk=saved + (2 + (run.trainer.keep is Keep.best)) * book.checkpoint_bytes,
        translation=[made for one in run.alone() if (made := _translation(one, rows, peak)) is not None],
        advice=None,
        spared=spared,
        choice=choice,
    )
    if limit is None or whole.needs() <= limit:
        return whole
    return replace(whole, advice=_advice(run.model, tuning, trainer, lengths, limit))


def _passes(stages: Sequence[StagePlan], lengths: Sequence[int], trainer: TrainerConfig) -> float:
    """Forward passes of a run, about: references, and steps with those that measure the norms of their terms."""
    tokens, budget = sum(lengths), trainer.budget()
    found = 1 + tokens / budget
    for stage in stages:
        in_step = 1 + tokens / stage.steps_per_epoch / budget
        found += in_step * stage.total_steps * (1 + len(stage.objective.parts()) / trainer.grad_norms_every)
    return found


def _seconds(
    trainer: TrainerConfig, model: Any, stages: Sequence[StagePlan], train: Sequence[Item], peak: float, share: float
) -> float:
    """Steps, references, and on a CPU the optimizer, which there waits for its memory.

    ``share`` is that of replayed rows, where a stage has any.
    """
    from clo.model.tuning import ledger
    from clo.training.throughput import forward_flops, head_again_flops, step_flops

    work, moved = 0.0, 0
    for stage in stages:
        cells, epochs = stage.objective.cells(), stage.total_steps / stage.steps_per_epoch
        work += epochs * (step_flops(model, train, cells) + head_again_flops(model, train, cells))
        for part in stage.objective.parts().values():  # each term's own gradient norm takes passes of its own
            measured = len(range(0, stage.total_steps, trainer.grad_norms_every))
            work += measured / stage.steps_per_epoch * step_flops(model, train, part.cells())
        if stage.objective.replay:  # rows as long as the run's own source rows
            work += share * epochs * step_flops(model, train, [(0, 0)])
        if stage.objective.anchor:
            work += forward_flops(model, train, [(0, 0)])
        if stage.objective.needs_reference():
            once = trainer.reference is ReferenceMode.cached
            work += (1 if once else epochs) * forward_flops(model, train, cells)
        moved += stage.total_steps * ledger(model).trains()
    reached = _reached(trainer, peak) * trainer.devices * trainer.nodes
    return work / reached + (moved * CPU_PER_WEIGHT if on_cpu(trainer) else 0.0)


def _translation(run: RunConfig, rows: Sequence[Row], peak: float | None) -> tuple[str, float | None] | None:
    """Of one target; refused where the translator lacks it."""
    from clo.translate.ensure import rows_path
    from clo.translate.estimate import translation_hours
    from clo.translate.languages import engine_code

    if run.data.kind != "translated":
        return None
    assert run.data.translation is not None
    path, source = rows_path(run.data, run.lang, run.cache_dir), run.lang.source
    if path.is_file():
        return None
    for code in (source, run.lang.code):
        engine_code(run.data.translation.engine, code)
    return str(path), translation_hours(run.data.translation, source, rows, peak)


def _advice(
    model: ModelConfig, tuning: TuningConfig, trainer: TrainerConfig, lengths: Sequence[int], limit: float
) -> str:
    """The mildest change that fits."""
    from clo.config import LoraConfig
    from clo.config.choices import Trains
    from clo.model.load import shape_only
    from clo.model.tuning import apply_tuning

    lora = replace(tuning, trains=Trains.attention, lora=LoraConfig())
    for word, tried in (("", tuning), ("tuning=attention_lora", lora)):
        shape = apply_tuning(shape_only(model), tried)
        for checkpointing in (bool(trainer.gradient_checkpointing), True):
            tokens = trainer.budget()
            while tokens >= 64:
                changed = replace(trainer, max_tokens=tokens, gradient_checkpointing=checkpointing)
                if peak_memory(memory_of(changed, shape, lengths)) <= limit:
                    settings = [word] if word else []
                    settings += [f"trainer.max_tokens={tokens}"] if tokens != trainer.budget() else []
                    if checkpointing and not trainer.gradient_checkpointing:
                        settings.append("trainer.gradient_checkpointing=true")
                    return " ".join(settings)
                tokens //= 2
    return "a device with more memory, or a smaller model"


def _peak(trainer: TrainerConfig) -> float | None:
    """FLOP/s of one device: as given, else of the one that is here."""
    import torch

    from clo.training.throughput import peak_flops

    if trainer.tflops is not None:
        return trainer.tflops * 1e12
    device = device_here(trainer)
    if device is None:
        return None
    torch.set_num_threads(trainer.threads)
    return peak_flops(device, trainer.precision)


def _reached(trainer: TrainerConfig, peak: float) -> float:
    """FLOP/s that steps and references reach on one device."""
    import torch

    from clo.training.throughput import peak_flops

    if not on_cpu(trainer):
        return peak * ASSUMED_MFU
    if trainer.precision == "32-true" or trainer.tflops is not None:
        return peak * CPU_MFU
    plain = peak_flops(torch.device("cpu"), "32-true")
    return CPU_MFU * (peak if plain is None else min(peak, CPU_HALF * plain))
