"""Which mixture to train for a task and a language within a budget of rows, by the finished runs of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clo.errors import UserError
from clo.report.collect import collect
from clo.report.formats import signed
from clo.report.guide.cubes import Lab
from clo.report.guide.curves import told
from clo.report.guide.joint import paired
from clo.report.guide.runs import MixtureRun, read_mixtures, rows_text

if TYPE_CHECKING:
    from clo.evaluation.dynamics import Array
    from clo.evaluation.significance import Difference
    from clo.evaluation.statistics import Interval


@dataclass(frozen=True)
class Wish:
    """What is asked."""

    task: str
    target: str
    """Code of a language."""
    budget: int
    """Rows in all, of all tasks and languages together."""
    model: str | None = None
    """None: every model of the study is answered for."""


@dataclass(frozen=True)
class Option:
    """One mixture that was run, with its score in the task and the language."""

    runs: list[MixtureRun]
    """One per seed."""
    score: Interval
    cube: Array
    """[seeds, prompts]."""

    @property
    def run(self) -> MixtureRun:
        """The first of its runs."""
        return self.runs[0]

    @property
    def label(self) -> str:
        """Such as ``guide_joint (3 tasks), sft, 400 rows of each other language``."""
        return f"{self.run.arm.label}, {self.run.method}, {self.run.amount:,} rows of each other language"


@dataclass(frozen=True)
class Advice:
    """The answer for one model."""

    model: str
    best: Option | None
    """None: no run fits the budget."""
    runner_up: Option | None = None
    gap: Difference | None = None
    """The best less the runner-up."""
    cheapest: Option | None = None
    """Of those that cannot be told from the best, the one with the fewest rows, where it is not the best itself."""
    options: int = 0
    warnings: list[str] = field(default_factory=list)

    @property
    def certain(self) -> bool:
        """Whether the runs tell the best from the runner-up: at least two seeds, and an interval above 0."""
        return self.gap is not None and _apart(self.gap)


def advise(study: str, output_dir: Path, wish: Wish) -> list[Advice]:
    """An answer for each model that is asked for, small ones first.

    Raises:
        UserError: there is no such study, it has no run of a mixture, or the task, the language or the model is none of
            its.
    """
    mixtures = read_mixtures(collect(study, output_dir))
    if not mixtures.runs:
        left = f" ({mixtures.left_out[0]})" if mixtures.left_out else ""
        raise UserError(f"study={study} has no finished run of a mixture{left}; train some, such as study=guide")
    _known("task", wish.task, mixtures.tasks, study)
    asked = sorted({lang for run in mixtures.runs for task, lang in run.ends if task == wish.task})
    _known("target", wish.target, asked, study)
    if wish.model is not None:
        _known("model", wish.model, mixtures.models, study)
    lab = Lab(mixtures)
    return [_advice(lab, wish, model) for model in mixtures.models if wish.model in (None, model)]


def _known(key: str, value: str, there: Sequence[str], study: str) -> None:
    if value not in there:
        raise UserError(f"{key}={value} is none of study {study}; set {key}= to one of {', '.join(there)}")


def _advice(lab: Lab, wish: Wish, model: str) -> Advice:
    every = _options(lab, wish, model)
    fitting = [one for one in every if one.run.total <= wish.budget]
    warnings = _warnings(every, wish)
    if not fitting:
        return Advice(model, None, options=len(every), warnings=warnings)
    best, *others = sorted(fitting, key=lambda one: (-one.score.value, one.run.total))
    gaps = [paired(best.cube, other.cube) for other in others]
    alike = [other for other, gap in zip(others, gaps, strict=True) if gap is None or not _apart(gap)]
    cheapest = min([best, *alike], key=lambda one: (one.run.total, -one.score.value))
    runner_up, gap = (others[0], gaps[0]) if others else (None, None)
    return Advice(
        model, best, runner_up, gap, None if cheapest is best else cheapest, len(fitting), warnings
    )  # fmt: skip


def _apart(gap: Difference) -> bool:
    low = gap.interval.low
    return gap.seeds > 1 and low is not None and low > 0


def _options(lab: Lab, wish: Wish, model: str) -> list[Option]:
    """Every mixture and amount whose runs of the model train the task and were asked in the language."""
    from clo.evaluation.dynamics import curve

    found = []
    for arm in lab.mixtures.arms:
        if arm.model != model or wish.task not in arm.tasks:
            continue
        cube = lab.cube(arm, wish.task, [wish.target])
        points = curve(cube, lab.draws[wish.task])
        for amount, score, cell in zip(lab.amounts(arm), points, cube, strict=True):
            if score.value == score.value:  # not a number: never asked in this language
                found.append(Option(lab.at(arm, amount), score, cell))
    return found


def _warnings(options: Sequence[Option], wish: Wish) -> list[str]:
    """What the runs cannot say of the wish."""
    if not options:
        return [f"no run of it trains {wish.task} and was asked in {wish.target}"]
    sizes, found = [one.run.total for one in options], []
    if wish.budget > max(sizes):
        found.append(
            f"the largest mixture that was run has {max(sizes):,} rows: what {wish.budget:,} rows would buy beyond it, "
            "the runs cannot tell"
        )
    elif unused := [size for size in sizes if size > wish.budget]:
        within = max((size for size in sizes if size <= wish.budget), default=0)
        if within and within < wish.budget:
            found.append(f"of mixtures between {within:,} and {min(unused):,} rows none was run")
    if wish.budget < min(sizes):
        found.append(f"the smallest mixture that was run has {min(sizes):,} rows, so the runs cannot tell")
    if not any(one.run.rows.get(wish.task, {}).get(wish.target) for one in options):
        found.append(f"no run trains {wish.task} in {wish.target}: scores are of transfer alone")
    return found


def advice_lines(one: Advice, wish: Wish) -> list[str]:
    """The answer in sentences."""
    lead = f"{one.model}, {wish.task} in {wish.target}, at most {wish.budget:,} rows:"
    warnings = [f"  Note: {warning}." for warning in one.warnings]
    if one.best is None:
        return [f"{lead} cannot tell", *warnings]
    best, count = one.best, len(one.best.runs)
    lines = [f"{lead} {best.label}", *(f"  {task}: {rows}" for task, rows in rows_text(best.run.rows).items())]
    lines += [f"  {best.run.total:,} rows in all; expected score {told(best.score)} points, {_seeds(count)}"]
    lines += ["  Rests on " + ", ".join(run.folder.name for run in best.runs)]
    lines += [f"  {_compared(one)}"]
    if one.cheapest is not None:
        other = one.cheapest
        what = f"{other.label}, {other.run.total:,} rows in all, {told(other.score)}"
        lines.append(f"  Cheapest that cannot be told from it: {what}")
    if one.options > 1:
        lines.append(
            f"  The best of {one.options} is chosen by the score that it is told with, which is a little too high."
        )
    return [*lines, *warnings]


def _compared(one: Advice) -> str:
    if one.runner_up is None or one.gap is None:
        return "No other mixture fits the budget, so the runs cannot tell whether it is the best."
    ends = one.gap.interval
    inside = "" if ends.low is None or ends.high is None else f", {signed(ends.low)} to {signed(ends.high)}"
    lead = f"Runner-up: {one.runner_up.label}, {told(one.runner_up.score)}; difference {signed(ends.value)}{inside}"
    if one.certain:
        return f"{lead}: the runs tell them apart."
    why = "one seed says nothing of others" if one.gap.seeds < 2 else "the interval has 0 in it"
    return f"{lead}: the runs cannot tell which is better ({why})."


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"
