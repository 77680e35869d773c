"""Plans in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from clo.config.parse import RunConfig
from clo.config.rejected import kinds_of
from clo.study.plan import ASSUMED_MFU, CPU_MFU, Plan, plan_run
from clo.study.plan_memory import GIB
from clo.study.plan_sums import show_sums

if TYPE_CHECKING:
    from clo.data.splits import Splits
    from clo.study.rows import Items


def show_plans(runs: Sequence[RunConfig]) -> bool:
    """Print what every run would need; whether all of them fit their device.

    Raises:
        UserError: a run's data or model cannot be read.
    """
    from clo.study.own_answers import planned_own
    from clo.study.rows import absent_lines, items_of, rows_of
    from clo.study.session import renderer_of
    from clo.training.loggers import quiet_libraries

    quiet_libraries()
    plans, asked = [], []
    told: dict[str, None] = {}
    answers: dict[str, None] = {}
    known: dict[str, tuple[Splits, Items]] = {}
    for run in runs:
        chosen = run.method.anchor, kinds_of(run.method), run.mixture, run.method.preference
        key = repr((run.model, run.lang, run.data, run.data_size, run.seed, run.evaluation, chosen))
        if key not in known:  # the cells of a grid that share their items come one after the other
            rows = rows_of(run)
            known = {key: (rows, items_of(run, renderer_of(run.model), rows))}
        rows, items = known[key]
        told |= dict.fromkeys([*rows.told().splitlines(), *absent_lines(run, rows)])
        answers[_answers(run, rows)] = None
        asked.append(len(rows.evaluated(run.evaluation)))
        items = planned_own(run, items)
        answers |= dict.fromkeys(_own_answers(run, items))
        plans.append(plan_run(run, items.train, [*rows.dev, *rows.test, *rows.train]))
    print("".join(f"{line}\n" for line in told), end="")
    fit = show(plans)
    print(*answers, sep="\n")
    if len(runs) > 1 or run.evaluation.name == "paper":
        show_sums(runs, plans, asked)
    return fit


def _answers(run: RunConfig, rows: Splits) -> str:
    """One line on what is generated, which the time in the table leaves out."""
    from clo.study.rows import tested_rows

    evaluation = run.evaluation
    used, there = len(tested_rows(run, rows)), len(rows.held_out(evaluation))
    languages = len(run.lang.codes())
    tokens = 2 * languages * used * evaluation.max_new_tokens
    words = "two" if languages == 2 else str(languages)
    return (
        f"answers to {used:,} of {there:,} {evaluation.split.name} rows (evaluation.rows) in {words} languages, before "
        f"and after training: at most {tokens:,} new tokens in each cell; those of the start model are made once"
    )


def _own_answers(run: RunConfig, items: Items) -> Iterator[str]:
    """One line on the start model's answers that are to be rejected, where some are."""
    from clo.study.own_answers import asked_prompts

    if asked := asked_prompts(run, [*items.train, *items.val]):
        tokens = asked * (run.method.own_tokens or run.evaluation.max_new_tokens)
        yield (
            f"own answers of the start model to {asked:,} prompts, to be rejected: at most {tokens:,} new tokens, once "
            "for all cells with these prompts and settings; in the table each counts as the source's response (assumed)"
        )


def show(plans: Sequence[Plan]) -> bool:
    """Print the plans as a table; whether all of them fit."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Plan: nothing was trained", title_justify="left")
    for name in ("run", "items", "tokens / epoch", "steps", "memory, GiB", "of", "time", "disk, GiB", "fits"):
        table.add_column(name, justify="left" if name in ("run", "fits") else "right", overflow="fold")
    for plan in plans:
        table.add_row(
            plan.name,
            f"{plan.items:,}",
            f"{plan.tokens:,}",
            f"{plan.steps:,}",
            f"{plan.needs() / GIB:.2f}",
            "?" if plan.limit is None else f"{plan.limit / GIB:.1f}",
            "?" if plan.hours is None else duration(plan.hours),
            f"{plan.disk / GIB:.2f}",
            "not known" if plan.limit is None else "yes" if plan.advice is None else "no",
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    for part in dict.fromkeys(part for plan in plans for part in plan.memory):
        print(f"  {part}: {max(plan.memory[part] for plan in plans) / GIB:.3f} GiB at most")
    known = duration(sum(plan.hours for plan in plans if plan.hours is not None))
    shares = f"{100 * ASSUMED_MFU:.0f} % of a GPU's peak, {100 * CPU_MFU:.0f} % of a CPU's (assumed)"
    print(f"all cells: {known} on one machine at {shares}, without evaluation")
    translations = [made for plan in plans for made in plan.translation]
    for path in sorted({path for path, _ in translations}):
        _say_translation(path, [hours for other, hours in translations if other == path])
    for loss, hours in dict(plan.spared for plan in plans if plan.spared is not None).items():
        saved = "their forward passes" if hours is None else f"about {duration(hours)} a cell"
        print(f"no reference scores: method.loss={loss} needs none, which saves {saved} and their file in cache_dir")
    if any(plan.limit is None or plan.hours is None for plan in plans):
        print("?: the device is not here; set trainer.memory_gb=<GB> and trainer.tflops=<peak TFLOP/s>")
    for choice in dict.fromkeys(plan.choice for plan in plans if plan.choice):
        print(f"chosen for the device: {choice}")
    for plan in plans:
        if plan.advice is not None:
            print(f"{plan.name} does not fit; this would: {plan.advice}")
    return all(plan.advice is None for plan in plans)


def _say_translation(path: str, hours: Sequence[float | None]) -> None:
    """One line for a translation that cells share; the largest of them pays for all."""
    from clo.translate.estimate import ASSUMED_SHARE, LONGER

    known = [value for value in hours if value is not None]
    takes = duration(max(known)) if known else "time not known (no device, a server, or no access to the model)"
    print(
        f"translation to {path}: {takes}, once, at {100 * ASSUMED_SHARE:.0f} % of the peak (assumed); till then "
        f"target texts count as {LONGER:g} times their originals (assumed)"
    )


def duration(hours: float) -> str:
    """Hours, minutes or seconds, two digits."""
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{60 * hours:.1f} min" if hours >= 1 / 60 else f"{3600 * hours:.0f} s"
