"""What a study has to say to each of the paper's claims: differences by language, or why there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from clo.report.arms import number_of, objective, weights
from clo.report.claims import Claim
from clo.report.collect import Run, Study, grouped, nearest, number
from clo.report.comparisons import paired
from clo.report.equal import english_of, target_of
from clo.report.formats import with_interval

Points = Callable[[Run], Mapping[str, float]]
"""Of a run: prompt -> points."""


class NotTestedError(Exception):
    """The study cannot test a claim, and why."""


@dataclass(frozen=True)
class Effect:
    """The difference in one language of one start model."""

    model: str
    lang: str
    what: str
    """What was compared, with what was not equal about it."""
    gap: float
    low: float
    high: float
    seeds: int
    ours: Sequence[Run] = field(default=(), compare=False, repr=False)
    """Runs behind it, of CLO's arm,"""
    theirs: Sequence[Run] = field(default=(), compare=False, repr=False)
    """and of the rival's; none where that is the start model."""

    @property
    def runs(self) -> list[Run]:
        """All of them."""
        return [*self.ours, *self.theirs]

    def __str__(self) -> str:
        return f"{self.lang} {with_interval(self.gap, self.low, self.high, self.seeds)}"


def benches_of(study: Study) -> list[Bench]:
    """One for every arm of CLO that is the paper's as far as the study has one."""
    return [Bench(study, arm) for arm in clo_arms(study)]


def clo_arms(study: Study) -> list[str]:
    """Labels of CLO with both comparisons and NLL on the target: of one, at λ .5, on attention where there are such."""
    runs = [run for run in study.runs if objective(run.recorded) == "CLO"]
    for wanted in (_one_target, _half, _attention):
        runs = [run for run in runs if wanted(run)] or runs
    return list(dict.fromkeys(run.label for run in runs))


def _one_target(run: Run) -> bool:
    return run.targets == 1


def _half(run: Run) -> bool:
    return number_of(run.recorded.get("method.lam")) == 0.5


def _attention(run: Run) -> bool:
    return weights(run.recorded) == "attention"


class Bench:
    """One arm of CLO beside the others of a study."""

    def __init__(self, study: Study, arm: str) -> None:
        self.study, self.arm = study, arm
        self.ours = [run for run in study.runs if run.label == arm]
        english = english_of(study)
        self.points: dict[str, Points] = {
            "target": _read_once(target_of(study)),
            "en": _read_once(lambda run: english(run, "samples.jsonl")),
            "start": _read_once(lambda run: english(run, "start_samples.jsonl")),
        }
        self._pairs: dict[tuple[object, ...], Effect] = {}

    def effects(self, claim: Claim) -> list[Effect]:
        """One per language and start model.

        Raises:
            NotTestedError: there is nothing to test the claim with.
        """
        tests = {
            "against": self._against, "start": self._start, "doubled": self._doubled, "tuning": self._tuning,
            "sensitivity": self._sensitivity, "memory": self._memory,
        }  # fmt: skip
        found, reasons = [], []
        for own in self._languages(claim):
            try:
                found.append(tests[claim.test](claim, own))
            except NotTestedError as why:
                reasons.append(str(why))
        if not found:
            raise NotTestedError("; ".join(dict.fromkeys(reasons)))
        return found

    def _languages(self, claim: Claim) -> Iterator[list[Run]]:
        runs = [run for run in self.ours if not claim.tiers or run.config.get("lang.tier") in claim.tiers]
        if not runs:
            raise NotTestedError(f"no language of {' or '.join(claim.tiers)} resource")
        yield from grouped(runs, lambda run: (run.base, run.lang)).values()

    def _rivals(self, claim: Claim, own: Sequence[Run]) -> list[Run]:
        """Runs of the rival's objective in the language, those most like ours in weights and steps at each size."""
        place = (own[0].base, own[0].lang, own[0].targets)
        there = [r for r in self.study.runs if (r.base, r.lang, r.targets) == place]
        there = [r for r in there if objective(r.recorded) == claim.rival]
        if not there:
            raise NotTestedError(f"no run of {claim.rival}")
        return there

    def _against(self, claim: Claim, own: list[Run]) -> Effect:
        rivals = self._rivals(claim, own)
        shared = {run.size for run in own} & {run.size for run in rivals}
        if not shared:
            raise NotTestedError(f"no size that CLO and {claim.rival} share")
        size = max(shared)
        return self._pair(claim, _at(own, size), _at(rivals, size))

    def _doubled(self, claim: Claim, own: list[Run]) -> Effect:
        rivals = self._rivals(claim, own)
        sizes = {run.size for run in own if any(rival.size == 2 * run.size for rival in rivals)}
        if not sizes:
            raise NotTestedError("no size with its double")
        ours, theirs = _at(own, max(sizes)), _at(rivals, 2 * max(sizes))
        theirs = nearest(ours[0], theirs)
        if not ours[0].likeness(theirs[0])[1]:
            raise NotTestedError(f"steps differ by size ({_steps(ours[0])} against {_steps(theirs[0])})")
        return self._pair(claim, ours, theirs)

    def _tuning(self, claim: Claim, own: list[Run]) -> Effect:
        if not _attention(own[0]):
            raise NotTestedError("CLO did not train attention alone")
        full = [run for run in self._rivals(claim, own) if weights(run.recorded) == "all weights"]
        full = [run for run in full if run.recorded.get("method.lam") == own[0].recorded.get("method.lam")]
        shared = {run.size for run in own} & {run.size for run in full}
        if not shared:
            raise NotTestedError("no run of CLO on all weights")
        return self._pair(claim, _at(own, max(shared)), _at(full, max(shared)))

    def _pair(self, claim: Claim, ours: list[Run], theirs: list[Run]) -> Effect:
        theirs = nearest(ours[0], theirs)
        theirs = [run for run in theirs if run.label == theirs[0].label]
        place = (claim.side, claim.test, *(run.folder for run in (*ours, *theirs)))
        if place not in self._pairs:
            points = {run.folder: self.points[claim.side](run) for run in (*ours, *theirs)}
            self._pairs[place] = effect_of(ours, theirs, points, _what(ours[0], theirs[0], claim.test))
        return self._pairs[place]

    def _start(self, claim: Claim, own: list[Run]) -> Effect:
        ours = _at(own, max(run.size for run in own))
        start = [Run(run.folder / "start", {}, {}, run.lang, run.size, "start", run.seed) for run in ours]
        points = {run.folder: self.points["en"](run) for run in ours}
        points |= {old.folder: self.points["start"](run) for old, run in zip(start, ours, strict=True)}
        what = f"{ours[0].size:,} items against the start model"
        return replace(effect_of(ours, start, points, what), theirs=())  # its scores lie in our runs

    def _sensitivity(self, claim: Claim, own: list[Run]) -> Effect:
        rivals = self._rivals(claim, own)
        shared = sorted({run.size for run in own} & {run.size for run in rivals})
        if len(shared) < 2:
            raise NotTestedError("one size alone")
        few, many = shared[0], shared[-1]
        theirs = nearest(_at(own, many)[0], _at(rivals, many))
        rivals = [run for run in rivals if run.label == theirs[0].label]
        steps = {_steps(run) for run in (*own, *rivals) if run.size in (few, many)}
        if len(steps) > 1:
            raise NotTestedError(f"steps differ by size or method ({' and '.join(sorted(steps))})")
        gains = {}
        for runs in (own, rivals):
            for large in _at(runs, many):
                small = next((run for run in _at(runs, few) if run.seed == large.seed), None)
                before = {} if small is None else self.points["target"](small)
                after = self.points["target"](large)
                gains[large.folder] = {key: after[key] - before[key] for key in after if key in before}
        what = f"SFT's gain from {few:,} to {many:,} items, less CLO's"
        return effect_of(_at(rivals, many), _at(own, many), gains, what)

    def _memory(self, claim: Claim, own: list[Run]) -> Effect:
        from clo.evaluation.statistics import seed_interval

        rivals = self._rivals(claim, own)
        pairs = [(_memory(run), _memory(rival)) for run in own for rival in rivals if _cell(run) == _cell(rival)]
        saved = [100 * (ours / theirs - 1) for ours, theirs in pairs if ours and theirs]
        if not saved:
            raise NotTestedError("no peak memory was recorded (a run on a GPU records it)")
        found = seed_interval(saved)
        low, high = (found.value if end is None else end for end in (found.low, found.high))
        what = f"% of peak memory, {weights(own[0].recorded)} against {weights(rivals[0].recorded)}"
        return Effect(own[0].base[0], own[0].lang, what, found.value, low, high, len(saved), own, rivals)


def _read_once(points: Points) -> Points:
    """The same, reading a run's answers the first time alone."""
    known: dict[Path, Mapping[str, float]] = {}

    def of(run: Run) -> Mapping[str, float]:
        if run.folder not in known:
            known[run.folder] = points(run)
        return known[run.folder]

    return of


def _at(runs: Sequence[Run], size: int) -> list[Run]:
    return [run for run in runs if run.size == size]


def _cell(run: Run) -> tuple[int, int]:
    return run.size, run.seed


def _memory(run: Run) -> float | None:
    return number(run.part("train").get("peak_memory_gb"))


def _steps(run: Run) -> str:
    return "unknown" if run.steps is None else f"{run.steps:.0f}"


def _what(run: Run, rival: Run, test: str) -> str:
    """What was compared, and what was not equal about it."""
    same_weights, same_steps = run.likeness(rival)
    unequal = [] if same_weights or test == "tuning" else [f"weights differ ({weights(rival.recorded)})"]
    unequal += [] if same_steps else [f"steps differ ({_steps(run)} against {_steps(rival)})"]
    sizes = " against ".join(f"{size:,}" for size in dict.fromkeys((run.size, rival.size)))
    return ", ".join([f"{sizes} items", *unequal])


def effect_of(
    ours: Sequence[Run], theirs: Sequence[Run], points: Mapping[Path, Mapping[str, float]], what: str
) -> Effect:
    """Ours less theirs over the prompts and seeds that both have.

    Args:
        ours: runs of CLO's arm.
        theirs: of the rival.
        points: folder of a run -> prompt -> points.
        what: what is compared.

    Raises:
        NotTestedError: there are none.
    """
    ours, theirs = ([run for run in runs if points.get(run.folder)] for runs in (ours, theirs))
    found = paired(ours, theirs, points)
    if found is None:
        raise NotTestedError("no answers to prompts and seeds that both have")
    low, high = (found.interval.value if end is None else end for end in (found.interval.low, found.interval.high))
    place = (ours[0].base[0], ours[0].lang, what)
    return Effect(*place, found.interval.value, low, high, found.seeds, ours, theirs)
