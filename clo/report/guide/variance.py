"""How much of the scores, of the transfer and of the gap each variable of the study explains, and how much is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clo.report.guide.cubes import SEEN, UNSEEN, Lab
from clo.report.guide.curves import Lines, told
from clo.report.guide.runs import Arm
from clo.storage.files import csv_text

if TYPE_CHECKING:
    from clo.evaluation.decomposition import Shares
    from clo.evaluation.dynamics import Array
    from clo.evaluation.statistics import Interval

TRANSFER = "transfer"
OUTCOMES = {
    "score": "score in unseen languages",
    TRANSFER: "gain in unseen languages over the start model",
    "gap": "seen less unseen languages",
}
"""What is decomposed."""
PAIRS, REST = "pairs of them", "left"
SEED = "seed"


@dataclass(frozen=True)
class Explained:
    """Shares of the variance of an outcome over the runs of a method, in percent."""

    method: str
    outcome: str
    """A key of OUTCOMES."""
    shares: dict[str, Interval]
    """Variable -> its share; PAIRS and REST last. They sum to 100."""
    results: int
    """Of a run, one for each of its tasks."""
    balanced: bool

    @property
    def variables(self) -> dict[str, Interval]:
        """The shares of single variables."""
        return {name: one for name, one in self.shares.items() if name not in (PAIRS, REST)}


@dataclass(frozen=True)
class _Table:
    """Results of runs, a line each."""

    values: Array
    """[results]."""
    drawn: Array
    """[resamples, results], over prompts."""
    levels: dict[str, list[object]]
    """Variable -> its level for each result."""


def explained_of(lab: Lab) -> list[Explained]:
    """One per method and outcome, where the runs differ in anything."""
    found = []
    for method in lab.mixtures.methods:
        for outcome in OUTCOMES:
            table = _table(lab, method, outcome)
            if table is not None and (one := _explained(lab, method, outcome, table)) is not None:
                found.append(one)
    return found


def _table(lab: Lab, method: str, outcome: str) -> _Table | None:
    import numpy as np

    values, drawn, levels = [], [], []
    for arm in lab.arms(method):
        for task in arm.tasks:
            cube = _outcome(lab, arm, task, outcome)
            if cube is None:
                continue
            weights = lab.draws[task].prompts
            for amount, cell in zip(lab.amounts(arm), cube, strict=True):
                for seed, line in zip(lab.seeds, cell, strict=True):
                    there = np.isfinite(line)
                    if not there.any():
                        continue
                    own = weights[:, there]
                    values.append(float(line[there].mean()))
                    drawn.append(own @ line[there] / own.sum(1))
                    levels.append({"task": task, "model": arm.model, "mixture": arm.label, "rows": amount, SEED: seed})
    if not levels:
        return None
    several = {name: [one[name] for one in levels] for name in levels[0] if len({one[name] for one in levels}) > 1}
    return _Table(np.array(values), np.stack(drawn, axis=1), several) if several else None


def _outcome(lab: Lab, arm: Arm, task: str, outcome: str) -> Array | None:
    """[amounts, seeds, prompts]; None where the arm has no such languages."""
    seen, unseen = (lab.group(arm, task, group) for group in (SEEN, UNSEEN))
    if not unseen or (outcome == "gap" and not seen):
        return None
    cube = lab.cube(arm, task, unseen)
    if outcome == "gap":
        return lab.cube(arm, task, seen) - cube
    return cube - lab.start(arm, task, unseen) if outcome == TRANSFER else cube


def _explained(lab: Lab, method: str, outcome: str, table: _Table) -> Explained | None:
    import numpy as np

    from clo.evaluation.decomposition import decompose

    found = decompose(table.values, table.levels, (SEED,))
    if not np.isfinite(found.rest):
        return None
    names = [*found.factors, PAIRS, REST]
    over_prompts, over_seeds = _shares(table.drawn, table.levels), _without_each(table)
    shares = {
        name: _widest(100 * float(value), 100 * prompts, 100 * seeds)
        for name, value, prompts, seeds in zip(names, _in_line(found), over_prompts.T, over_seeds.T, strict=True)
    }
    return Explained(method, outcome, shares, len(table.values), found.balanced)


def _in_line(found: Shares) -> list[Array]:
    return [*found.factors.values(), found.pairs, found.rest]


def _shares(values: Array, levels: Mapping[str, Sequence[object]]) -> Array:
    """Shares [..., variables and the two that follow] of results [..., n]."""
    import numpy as np

    from clo.evaluation.decomposition import decompose

    return np.stack(_in_line(decompose(values, levels, (SEED,))), axis=-1)


def _without_each(table: _Table) -> Array:
    """Shares [seeds, ...] without the runs of each seed in turn; of one seed there are none."""
    import numpy as np

    seeds = sorted(set(table.levels.get(SEED, [])), key=str)
    found = np.zeros((len(seeds), len(table.levels) + 2))
    for line, seed in zip(found, seeds, strict=True):
        stay = [place for place, own in enumerate(table.levels[SEED]) if own != seed]
        line[:] = _shares(table.values[stay], {name: [own[k] for k in stay] for name, own in table.levels.items()})
    return found


def _widest(value: float, prompts: Array, seeds: Array) -> Interval:
    """From the lowest to the highest end of the bootstrap over prompts and the jackknife over seeds, within 0 to 100.

    The jackknife's error is that of Tukey, with Student's t: the seed is a variable itself, so it is not resampled.
    """
    from clo.evaluation.dynamics import interval
    from clo.evaluation.statistics import Interval, t_quantile

    found = interval(value, prompts)
    n = len(seeds)
    error = float(((n - 1) / n * ((seeds - seeds.mean()) ** 2).sum()) ** 0.5) if n > 1 else 0.0
    half = t_quantile(0.95, n - 1) * error if n > 1 else 0.0
    ends = [value - half, value + half, *(end for end in (found.low, found.high) if end is not None)]
    return Interval(value, max(0.0, min(ends)), min(100.0, max(ends)))


def explained_lines(found: Sequence[Explained]) -> Lines:
    """Headings and cells as text: a line per outcome, percent of its variance."""
    names = list(dict.fromkeys(name for one in found for name in one.variables))
    heads = ["of the", "method", *names, PAIRS, REST, "results", "balanced"]
    rows = []
    for one in found:
        cells = [told(one.shares.get(name), 0) for name in (*names, PAIRS, REST)]
        rows.append([OUTCOMES[one.outcome], one.method, *cells, str(one.results), "yes" if one.balanced else "no"])
    return heads, rows


def explained_csv(found: Sequence[Explained]) -> str:
    """One line per share, percent in full precision."""
    heads = ["method", "outcome", "variable", "percent", "low", "high", "results", "balanced"]
    rows = [
        [one.method, OUTCOMES[one.outcome], name, share.value, share.low, share.high, one.results, one.balanced]
        for one in found
        for name, share in one.shares.items()
    ]
    return csv_text(heads, rows)
