"""One side of the measurement at a model's true size, in a process of its own: ``python -m speed.gpu_sides '{...}'``.

Ours goes through the training loop of real runs (the LightningModule, its optimizer, schedule, clipping and log), TRL
through its trainer's ``compute_loss`` without a loop around it, in its favour. Both train the same items per step, in
as few passes as their memory allows.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clo.config.choices import Cells, Prompts
from clo.data.items import Item
from clo.square.objective import Objective
from clo.training.loggers import quiet_libraries
from clo.training.throughput import forward_flops, peak_flops, step_flops
from speed.shapes import SHAPES, build, cut, length_sorted, real_items

OBJECTIVE = Objective(2, Cells.target, Prompts.both, 0.5, 0.1)


@dataclass(frozen=True)
class Case:
    """What one process measures; plain values."""

    side: str
    """``ours``, ``trl stock`` or ``trl strongest``."""
    shape: str = "L8B"
    device: str = "cuda"
    lang: str = "sw"
    items: int = 32
    """Items per optimizer step."""
    steps: int = 6
    sort: bool = False
    """Batches of items of similar length."""
    max_tokens: int = 8192
    """Ours: tokens per forward pass."""
    compile: bool = False
    checkpointing: bool = False
    trace: str = ""
    """Ours: file that the profiler's trace goes to, of one more step on the last items, which is not timed."""

    def name(self) -> str:
        """For a table."""
        words = [self.side]
        words += [f"{self.max_tokens:,} tokens"] if self.side == "ours" else []
        words += ["compiled"] if self.compile else []
        words += ["checkpointed"] if self.checkpointing else []
        return ", ".join([*words, *(["sorted"] if self.sort else [])])

    def batches(self) -> list[list[Item]]:
        """The items of every step."""
        items, _ = real_items(None, self.items * self.steps, SHAPES[self.shape].vocab, 0, self.lang)
        batches = cut(items, self.items)
        return length_sorted(batches) if self.sort else batches


def measure(case: Case) -> dict[str, Any]:
    """Seconds, shares of the peak and memory of one side."""
    warnings.filterwarnings("ignore")
    quiet_libraries()
    began = time.perf_counter()
    batches = case.batches()
    model = build(case.shape, 0, case.device, torch.bfloat16)
    built = time.perf_counter() - began
    found = _ours(case, model, batches) if case.side == "ours" else _trl(case, model, batches)
    device = torch.device(case.device)
    peak = peak_flops(device, "bf16-mixed") or float("nan")
    work = [step_flops(model, batch, OBJECTIVE.cells()) for batch in batches]
    steps = found.pop("seconds")
    # The first step measures both terms, allocates and may compile: it is told apart.
    later = list(zip(work, steps, strict=True))[1:]
    rates = {
        "median step, s": statistics.median(seconds for _, seconds in later),
        "items/s": case.items * len(later) / sum(seconds for _, seconds in later),
        "first step, s": steps[0],
        "mfu": sum(flops for flops, _ in later) / sum(seconds for _, seconds in later) / peak,
    }
    if found.get("reference, s"):
        flops = sum(forward_flops(model, batch, OBJECTIVE.cells()) for batch in batches)
        rates["reference mfu"] = flops / found["reference, s"] / peak
    per_item = found.get("reference, s", 0.0) / (case.items * case.steps) + 1 / rates["items/s"]
    rates["6,400 items with references, minutes"] = 6400 * per_item / 60
    return {"case": case.__dict__, "name": case.name(), "model built, s": built, **rates, **found}


def _ours(case: Case, model: Any, batches: Sequence[Sequence[Item]]) -> dict[str, Any]:
    from pytorch_lightning.callbacks import Callback

    from clo.config import OptimizerConfig, TrainerConfig
    from clo.data.datamodule import SquareDataModule
    from clo.square.reference import ReferenceCache
    from clo.square.scores import score_items
    from clo.training.loggers import MetricsFile
    from clo.training.module import CLOModule
    from clo.training.stage_plan import Base, StagePlan
    from clo.training.trainer import lightning_trainer

    spent: dict[str, float] = {}
    seconds: list[float] = []
    memory: list[float] = []

    class Watch(Callback):
        """Times and weighs every step."""

        def on_train_batch_start(self, *_: Any) -> None:
            _wait(case.device)
            self.began = time.perf_counter()
            if len(seconds) == case.steps:
                self.profiler = torch.profiler.profile()
                self.profiler.__enter__()

        def on_train_batch_end(self, *_: Any) -> None:
            _wait(case.device)
            if len(seconds) < case.steps:
                seconds.append(time.perf_counter() - self.began)
                memory.append(_peak(case.device))
            else:
                self.profiler.__exit__(None, None, None)
                self.profiler.export_chrome_trace(case.trace)
                spent["kernels"] = _kernels(self.profiler)  # type: ignore[assignment]

    def references(module: CLOModule) -> dict[str, torch.Tensor]:
        with tempfile.TemporaryDirectory() as folder:
            cache = ReferenceCache(Path(folder), "random", OBJECTIVE.cells())
            score_items(module.model, batches[0], OBJECTIVE.cells(), case.max_tokens)  # the first pass also warms up
            began = time.perf_counter()
            found = cache.scores(module.model, [item for batch in batches for item in batch], case.max_tokens)
            spent["reference, s"] = time.perf_counter() - began
        return found

    hardware = TrainerConfig(
        accelerator="gpu" if case.device == "cuda" else "cpu",
        precision="bf16-mixed",
        max_tokens=case.max_tokens,
        compile=case.compile,
        gradient_checkpointing=case.checkpointing,
        grad_norms_every=1 << 30,
    )
    steps = case.steps + bool(case.trace)
    plan = StagePlan("clo", OBJECTIVE, 1e-6, steps + 1, steps, 1 << 30)  # never at its end: that would validate
    module = CLOModule(model, plan, OptimizerConfig(), hardware, Base("0" * 64, references))
    datamodule = SquareDataModule([item for batch in batches for item in batch], batches[0][:4], case.items, steps, 0)
    datamodule.sampler = _in_order(case, steps)  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder:
        log = MetricsFile(Path(folder) / "metrics.jsonl", "clo")
        trainer = lightning_trainer(hardware, steps, [Watch()], [log])
        trainer.fit(module, datamodule)
        lines = [json.loads(line) for line in log.path.read_text(encoding="utf-8").splitlines()]
    losses = [line["train/loss"] for line in lines if "train/loss" in line]
    return {**spent, "seconds": seconds, "losses": losses, **_memory(memory), "max_tokens": module.gradients.max_tokens}


def _in_order(case: Case, steps: int) -> list[list[int]]:
    """A sampler whose steps take the batches as they are, and the last one again in a step more than there are."""
    firsts = [min(step, case.steps - 1) * case.items for step in range(steps)]
    return [list(range(first, first + case.items)) for first in firsts]


def _trl(case: Case, model: Any, batches: Sequence[Sequence[Item]]) -> dict[str, Any]:
    from speed.trl_side import TrlSide

    side = TrlSide(
        model,
        batches[0],
        OBJECTIVE.beta,
        OBJECTIVE.lam,
        1e-6,
        strongest=case.side == "trl strongest",
        precision="bf16",
        checkpointing=case.checkpointing,
        compiled=case.compile,
        unmasked=case.side == "trl strongest",
    )
    size, tried = case.items, list[dict[str, Any]]()
    while len(tried) < 2 and size:  # close to the card's memory the allocator is slow: half as many items may be faster
        try:
            found = _trl_steps(case, side, [cut(batch, size) for batch in batches])
            tried.append({**found, "items per pass": size})
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        side.reset()
        torch.cuda.empty_cache()
        size //= 2
    return min(tried, key=lambda one: sum(one["seconds"][1:]))


def _trl_steps(case: Case, side: Any, steps: Sequence[Sequence[Sequence[Item]]]) -> dict[str, Any]:
    """Every step's passes; the reference ahead of time where this side does that."""
    _wait(case.device)
    began = time.perf_counter()
    largest = max((part for step in steps for part in step), key=lambda part: sum(item.longest() for item in part))
    side.prepare([largest])
    side.step(0)  # the largest must fit, or all begin again with half
    _wait(case.device)
    began = time.perf_counter()
    side.prepare([part for step in steps for part in step])
    _wait(case.device)
    spent = {"reference, s": time.perf_counter() - began} if side.strongest else {}
    seconds, memory, losses, first = [], [], [], 0
    for step in steps:
        _peak(case.device)
        began = time.perf_counter()
        losses.append(side.accumulated_step(range(first, first + len(step))))
        _wait(case.device)
        seconds.append(time.perf_counter() - began)
        memory.append(_peak(case.device))
        first += len(step)
    return {**spent, "seconds": seconds, "losses": losses, **_memory(memory)}


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _peak(device: str) -> float:
    """Bytes allocated at most since the last call."""
    if device != "cuda":
        return 0.0
    most = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return float(most)


def _memory(memory: Sequence[float]) -> dict[str, float]:
    reserved = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0
    return {
        "peak of a step, GB": max(memory[1:]) / 1e9,
        "peak of the first step, GB": memory[0] / 1e9,
        "reserved, GB": reserved / 1e9,
    }


def _kernels(profiler: Any, most: int = 16) -> list[tuple[str, float, int]]:
    """The kernels that take most time on the device: name, ms, calls."""
    rows = [
        (e.key[:90], e.self_device_time_total / 1000, e.count)
        for e in profiler.key_averages()
        if e.self_device_time_total > 0
    ]
    return sorted(rows, key=lambda row: -row[1])[:most]


if __name__ == "__main__":
    print(json.dumps(measure(Case(**json.loads(sys.argv[1])))))
