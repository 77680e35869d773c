"""The hardware side of the configuration, the optimizer and the loggers; nothing heavy is imported here.

"assumed" marks a value that the CLO paper does not give.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from clo.config.choices import Keep, ReferenceMode, Schedule
from clo.errors import UserError, check, positive


@dataclass
class TrainerConfig:
    """How a run is carried out: time and memory, and no gradient beyond rounding but for the precision."""

    accelerator: str = "cpu"
    """Lightning accelerator: cpu, gpu, auto."""
    devices: int = 1
    """Processes of a node, one per device."""
    nodes: int = 1
    """Machines; torchrun or srun starts the processes of all of them."""
    strategy: str = "auto"
    """Several devices: ``ddp`` keeps the whole model on each, ``fsdp2`` splits weights, gradients and optimizer states
    over them while it trains."""
    precision: str = "32-true"
    """32-true; bf16-mixed: what trains stays float32, matrix products run in bfloat16; auto: one of them, by the model
    and the processor (`clo.config.precision`). Decides results: part of a run's name, as what auto has become."""
    max_tokens: int | None = 8192
    """Tokens per forward pass; null is as many as the device has memory for."""
    threads: int = 1
    """CPU threads per process; results are bit-equal only at the same number."""
    gradient_checkpointing: bool | None = False
    """Make each layer's activations again in the backward pass: less memory, about a third more time. Null: where the
    device has no memory for passes of a useful size otherwise."""
    compile: bool = False
    """Compile each layer; the first steps are slow. Decides results: part of a run's name."""
    reference: ReferenceMode = ReferenceMode.cached
    """Reference log-probs: computed once and kept on disk, adapters switched off, or swapped-in start weights."""
    checkpoints: int = 2
    """Checkpoints over a stage, evenly spaced, written while it goes on; the latest one stays."""
    keep: Keep = Keep.last
    """Weights that the run keeps of its last stage: ``last``, or ``best``, those of the validation with the lowest
    target NLL among all whose English NLL is within ``keep_tolerance`` of the stage's start (where none is, the lowest
    English NLL). The last ones are scored beside them. Decides results: part of a run's name."""
    keep_tolerance: float = 0.02
    """best: share by which English NLL may grow; assumed, as in the warnings about English."""
    log_every: int = 1
    """Steps between two logged lines."""
    grad_norms_every: int = 25
    """Steps between two measurements of each term's own gradient norm (passes of its own for each term)."""
    memory_gb: float | None = None
    """Memory of one device for ``plan=true``, in GB; null is the device that is here."""
    tflops: float | None = None
    """Peak TFLOP/s of one device in this precision for ``plan=true``; null is the device that is here."""

    def budget(self) -> int:
        """Tokens per forward pass; the usual number where nobody has chosen one, as when nothing trains."""
        return 8192 if self.max_tokens is None else self.max_tokens

    def __post_init__(self) -> None:
        for name in ("devices", "nodes", "threads", "checkpoints", "log_every", "grad_norms_every"):
            check(getattr(self, name) >= 1, f"trainer.{name}", "a count of at least 1", getattr(self, name))
        tokens = self.max_tokens
        check(tokens is None or tokens >= 1, "trainer.max_tokens", "a count of at least 1, or null", tokens)
        for name in ("memory_gb", "tflops"):
            if getattr(self, name) is not None:
                positive(f"trainer.{name}", "what one device has", getattr(self, name))
        tolerance = "the share by which English NLL may grow, at least 0"
        check(0 <= self.keep_tolerance < math.inf, "trainer.keep_tolerance", tolerance, self.keep_tolerance)
        choices = ("auto", "32-true", "bf16-mixed")
        check(self.precision in choices, "trainer.precision", f"one of {', '.join(choices)}", self.precision)
        strategies = ("auto", "ddp", "fsdp2")
        check(self.strategy in strategies, "trainer.strategy", f"one of {', '.join(strategies)}", self.strategy)
        if self.strategy == "fsdp2" and self.reference is ReferenceMode.swapped:
            raise UserError("trainer.reference=swapped needs whole weights; use cached or adapters_off with fsdp2")
        if self.strategy == "fsdp2" and self.compile:
            raise UserError(
                "trainer.compile=true is not supported with trainer.strategy=fsdp2; set one of them otherwise"
            )


@dataclass
class OptimizerConfig:
    """AdamW with a warm-up."""

    warmup: float = 0.1
    """Share of the steps over which the learning rate rises from 0; assumed."""
    schedule: Schedule = Schedule.linear
    """Behind them: ``linear`` falls to 0 at the last step (assumed), ``constant`` stays."""
    weight_decay: float = 0.0
    """Decoupled weight decay on matrices; assumed."""
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    """AdamW's moment decay rates; assumed."""
    eps: float = 1e-8
    """AdamW's epsilon; assumed."""
    clip: float = 1.0
    """Largest gradient norm; assumed."""

    def __post_init__(self) -> None:
        check(0 <= self.warmup < 1, "optimizer.warmup", "a share of the steps in [0, 1)", self.warmup)
        check(self.weight_decay >= 0, "optimizer.weight_decay", "a rate of at least 0", self.weight_decay)
        positive("optimizer.eps", "AdamW's epsilon", self.eps)
        positive("optimizer.clip", "the largest gradient norm", self.clip)
        ok = len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas)
        check(ok, "optimizer.betas", "two rates in [0, 1)", self.betas)


@dataclass
class LoggerConfig:
    """Where metrics go besides the run folder's metrics.jsonl."""

    name: str = "csv"
    """``csv`` writes metrics.csv into the run folder, ``wandb`` logs to Weights & Biases."""
    project: str = "clo"
    """wandb: project."""
    entity: str | None = None
    """wandb: team or user."""

    def __post_init__(self) -> None:
        check(self.name in ("csv", "wandb"), "logger.name", "csv or wandb", self.name)
