"""What a study needs beside the steps, for ``plan=true``: answers, benchmarks, a judge, and everything in sum.

Arithmetic on what is asked of every cell; what is assumed says so. "At most": an answer may end before its last token.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clo.config.choices import Prompts
from clo.config.parse import RunConfig
from clo.study.plan_memory import GIB

if TYPE_CHECKING:
    from clo.study.plan import Plan

OPEN_PROMPTS = 805
"""Instructions of AlpacaEval, which the paper's win rates are over; in English and in the target language."""
BENCHMARK_ROWS = {"belebele": (900, 220), "mmmlu": (14_042, 110)}
"""Benchmark -> rows in a language, and tokens of a question in English; the tokens are assumed."""
PREFILL_SHARE, DECODE_SHARE = 0.45, 0.05
"""Share of a GPU's peak that reading a prompt and writing an answer reach; assumed, writing waits for memory."""
LONGER = 1.5
"""Tokens of a question in the target language as a share of its English ones; assumed."""


@dataclass(frozen=True)
class Beside:
    """What a cell needs when it is trained."""

    hours: float | None
    """Of its device: answers to test and open prompts, and benchmarks; none where the device's peak is not known."""
    judge_calls: int
    """Of the cell against SFT on open prompts, in each language: two orders and the language of its own answer; of an
    SFT cell the language of its answers alone, which every comparison finds again."""


def beside(run: RunConfig, rows: int) -> Beside:
    """What a cell needs beside its steps.

    Args:
        run: the cell.
        rows: test rows that it answers, in each of its languages.
    """
    evaluation, judged = run.evaluation, run.evaluation.name == "paper"
    open_prompts = OPEN_PROMPTS if judged else 0
    languages = len(run.lang.codes())
    new = languages * (rows + open_prompts) * evaluation.max_new_tokens
    asked = [BENCHMARK_ROWS.get(name, (0, 0)) for name in evaluation.benchmarks.names]
    read = sum(count * tokens * (1 + LONGER * (languages - 1)) for count, tokens in asked)
    hours = None
    if run.trainer.tflops is not None:
        work = 2.0 * _multiplied(run) * (new / DECODE_SHARE + read / PREFILL_SHARE)
        hours = work / (run.trainer.tflops * 1e12) / 3600
    calls = 1 if run.method.preference is Prompts.none else 3
    return Beside(hours, languages * open_prompts * calls)


def _multiplied(run: RunConfig) -> float:
    """Weights that a token is multiplied with: all but the table of embeddings, unless that is the head too."""
    from clo.model.load import shape_only

    model = shape_only(run.model)
    table = model.get_input_embeddings().weight
    tied = model.get_output_embeddings().weight is table
    return float(sum(p.numel() for p in model.parameters() if tied or p is not table))


def show_sums(runs: Sequence[RunConfig], plans: Sequence[Plan], rows: Sequence[int]) -> None:
    """Print what every cell of a grid needs beside its steps, and what all of them need.

    Args:
        runs: the cells.
        plans: of each.
        rows: test rows that each answers.
    """
    from rich.console import Console
    from rich.table import Table

    more = [beside(run, count) for run, count in zip(runs, rows, strict=True)]
    devices = [run.trainer.devices * run.trainer.nodes for run in runs]
    unit = "GPU-hours" if all(run.trainer.accelerator != "cpu" for run in runs) else "device-hours"
    trained = [_times(plan.hours, count) for plan, count in zip(plans, devices, strict=True)]
    asked = [_times(one.hours, count) for one, count in zip(more, devices, strict=True)]
    if any(one.judge_calls for one in more):
        table = Table(title=f"Beside the disk above, {unit} and judge calls, at most", title_justify="left")
        for name in ("run", "steps and references", "answers and benchmarks", "judge calls"):
            table.add_column(name, justify="left" if name == "run" else "right", overflow="fold")
        for plan, a, b, one in zip(plans, trained, asked, more, strict=True):
            table.add_row(plan.name, _said(a), _said(b), f"{one.judge_calls:,}")
        Console(width=None if sys.stdout.isatty() else 140).print(table)
    made = dict(one for plan in plans for one in plan.translation)
    parts = [f"{len(plans)} cells", f"steps and references {_said(_sum(trained))} {unit}"]
    parts += [] if _sum(asked) is None else [f"answers and benchmarks {_said(_sum(asked))}"]
    parts += [f"disk {sum(plan.disk for plan in plans) / GIB:,.1f} GiB"]
    parts += [f"{len(made)} translations {_said(_sum(list(made.values())))} {unit}"] if made else []
    calls = sum(one.judge_calls for one in more)
    parts += [f"{calls:,} judge calls"] if calls else []
    print("in sum: " + ", ".join(parts))


def _times(hours: float | None, devices: int) -> float | None:
    return None if hours is None else hours * devices


def _sum(hours: Sequence[float | None]) -> float | None:
    return None if any(one is None for one in hours) else sum(one for one in hours if one is not None)


def _said(hours: float | None) -> str:
    return "?" if hours is None else f"{hours:,.2f}"
