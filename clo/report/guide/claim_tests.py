"""What a study of mixtures has to say to each of the guide's sentences: numbers by model and task, or why none."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

from clo.report.claim_results import ClaimResult, verdict_of
from clo.report.claim_tests import Effect, NotTestedError
from clo.report.claims import Claim
from clo.report.guide.chosen import LATIN, MIXED, OTHER, Chosen, GuideEffect, Place, in_latin
from clo.report.guide.claims import FLAT, GUIDE_CLAIMS
from clo.report.guide.cubes import SEEN, UNSEEN, Lab
from clo.report.guide.curves import Gap
from clo.report.guide.joint import count, paired, steps_at
from clo.report.guide.runs import Arm
from clo.report.guide.variance import TRANSFER, Explained

if TYPE_CHECKING:
    from clo.evaluation.dynamics import Array

MATHS = "maths"
SEEDS = 2
"""That decide a sentence: its intervals rest on prompts and on runs of several mixtures, not on two seeds alone."""


def guide_claims(lab: Lab, gaps: Sequence[Gap], explained: Sequence[Explained]) -> list[ClaimResult]:
    """Every sentence, for every method that the study trained mixtures with."""
    found = []
    for claim in GUIDE_CLAIMS:
        for method in lab.mixtures.methods:
            try:
                effects: list[Effect] = list(Bench(lab, method, gaps, explained).effects(claim))
                found.append(ClaimResult(claim, method, *verdict_of(claim, effects, SEEDS), effects))
            except NotTestedError as why:
                found.append(ClaimResult(claim, method, "not tested", str(why)))
    return found


class Bench(Chosen):
    """The runs of one method."""

    def __init__(self, lab: Lab, method: str, gaps: Sequence[Gap], explained: Sequence[Explained]) -> None:
        super().__init__(lab, method)
        self.gaps = {(gap.arm, gap.task): gap for gap in gaps}
        self.explained = [one for one in explained if (one.method, one.outcome) == (method, TRANSFER)]
        self.models = [model for model in lab.mixtures.models if lab.arms(method, model)]
        self.tasks = lab.mixtures.tasks
        self.words = [task for task in self.tasks if task != MATHS]

    def effects(self, claim: Claim) -> list[GuideEffect]:
        """One per model and task that the sentence speaks of.

        Raises:
            NotTestedError: there is nothing to test the claim with.
        """
        small, large = self.models[:-1] or self.models, self.models[1:][-1:]
        maths = [task for task in self.tasks if task == MATHS]
        variables = [name for one in self.explained for name in one.variables]
        places, test = {
            "peaks": (product(small, self.words), self._peaks),
            "flat_words": (product(small, self.words), self._flat),
            "flat_large": (product(large, self.tasks), self._flat),
            "gap_stays": (product(self.models, self.tasks), self._gap_stays),
            "gap_shrinks": (product(large, self.tasks), self._gap_shrinks),
            "together": (product(small, self.tasks), self._together),
            "less_together": (product(large, self.tasks), self._less_together),
            "joint": (product(small[:1], maths), self._joint),
            "script_words": (product(self.models, self.words), self._script_words),
            "script_maths": (product(self.models, maths), self._script_maths),
            "variables": (product(["transfer"], variables or [""]), self._variables),
            "english": (product(large, self.tasks), self._english),
        }[claim.test]
        found, reasons = [], []
        for place in places:
            try:
                found.append(test(*place))
            except NotTestedError as why:
                reasons.append(str(why))
        if found:
            return found
        if len(self.models) == 1 and claim.test in ("flat_large", "gap_shrinks", "less_together", "english"):
            raise NotTestedError("one size of model alone")
        raise NotTestedError("; ".join(dict.fromkeys(reasons)) or "no run trains the tasks that it speaks of")

    def _peaks(self, model: str, task: str) -> GuideEffect:
        from clo.evaluation.dynamics import crossing, interval, means, resampled
        from clo.evaluation.statistics import Interval

        arms, ends = [self.alone(model, one) for one in (MATHS, task)], []
        for arm, one in zip(arms, (MATHS, task), strict=True):
            amounts, cube = self.lab.amounts(arm), self.lab.cube(arm, one, self.lab.group(arm, one, SEEN))
            if len(amounts) < 3:
                raise NotTestedError(f"fewer than three amounts of {one}")
            sample = resampled(cube, self.lab.draws[one])
            ends.append([crossing(amounts, scores) + 1 for scores in (means(cube), sample)])
        (maths, drawn), (other, drawn_too) = ends
        value = float(maths[0] / other[0])
        low, high = (interval(value, drawn[:, i] / drawn_too[:, 1 - i]) for i in (0, 1))
        found = self.told(
            (model, task), f"rows (+ 1) of {MATHS} over {task}'s", Interval(value, low.low, high.high), arms
        )
        return replace(found, unit="times")

    def _flat(self, model: str, task: str) -> GuideEffect:
        from clo.evaluation.dynamics import interval, means, resampled

        arm = self.alone(model, task)
        amounts = self.lab.amounts(arm)
        if FLAT not in amounts or amounts[-1] == FLAT:
            raise NotTestedError(f"no runs at {FLAT} rows and above")
        cube, at = self.lab.cube(arm, task, self.lab.group(arm, task, SEEN)), amounts.index(FLAT)
        mean, sample = means(cube), resampled(cube, self.lab.draws[task])
        gain = interval(float(mean[-1] - mean[at]), sample[:, -1] - sample[:, at])
        return self.told((model, task), f"{FLAT:,} to {amounts[-1]:,} rows", gain, [arm])

    def _gap(self, model: str, task: str) -> Gap:
        arm = self.alone(model, task)
        if (arm, task) not in self.gaps:
            raise NotTestedError(f"{arm.label} has no seen or no unseen language")
        return self.gaps[arm, task]

    def _gap_stays(self, model: str, task: str) -> GuideEffect:
        gap = self._gap(model, task)
        trained = [amount for amount in gap.amounts if amount]
        if gap.change is None:
            raise NotTestedError("one amount alone")
        return self.told((model, task), f"{trained[0]:,} to {trained[-1]:,} rows", gap.change, [gap.arm])

    def _ends(self, model: str, task: str) -> list[tuple[Arm, Array, Array]]:
        """Arm, seen and unseen cubes of the given model and of the smallest."""
        found = []
        for arm in (self._gap(one, task).arm for one in (model, self.models[0])):
            seen, unseen = (self.lab.cube(arm, task, self.lab.group(arm, task, group)) for group in (SEEN, UNSEEN))
            found.append((arm, seen, unseen))
        return found

    def _gap_shrinks(self, model: str, task: str) -> GuideEffect:
        from clo.evaluation.dynamics import interval, means, resampled

        ends, values, drawn = self._ends(model, task), [], []
        for arm, seen, unseen in ends:
            trained = [place for place, amount in enumerate(self.lab.amounts(arm)) if amount]
            values.append(means(seen - unseen)[trained].mean())
            drawn.append(resampled(seen - unseen, self.lab.draws[task])[:, trained].mean(1))
        found = interval(float(values[0] - values[1]), drawn[0] - drawn[1])
        return self.told((model, task), f"less {self.models[0]}", found, [end[0] for end in ends])

    def _together(self, model: str, task: str) -> GuideEffect:
        gap = self._gap(model, task)
        runs = sum(len(self.lab.at(gap.arm, amount)) for amount in gap.amounts)
        return replace(self.told((model, task), f"over {runs} runs", gap.correlation, [gap.arm]), digits=2)

    def _less_together(self, model: str, task: str) -> GuideEffect:
        from clo.evaluation.dynamics import correlations, interval

        ends, draws = self._ends(model, task), self.lab.draws[task]
        values = [self._gap(one, task).correlation.value for one in (model, self.models[0])]
        large, small = (correlations(seen, unseen, draws) for _, seen, unseen in ends)
        found = interval(values[0] - values[1], large - small)
        told = self.told((model, task), f"less {self.models[0]}", found, [end[0] for end in ends])
        return replace(told, digits=2)

    def _joint(self, model: str, task: str) -> GuideEffect:
        from clo.evaluation.dynamics import interval, means, resampled

        def most_steps(pair: tuple[Arm, Arm]) -> float:
            return max((steps or 0 for steps in steps_at(self.lab, pair[1]).values()), default=0)

        # The paper goes by epochs: where both were run, the joint mixture with as many passes over its rows counts.
        pairs = sorted(self.lab.pairs(self.method, model, task), key=most_steps, reverse=True)
        for alone, joint in pairs:
            if shared := self.lab.equal_rows(alone, joint, task):
                cubes = []
                for arm in (alone, joint):
                    cube = self.lab.cube(arm, task, self.lab.group(joint, task, SEEN))
                    cubes.append(cube[[self.lab.amounts(arm).index(shared[-1])]])
                steps = (
                    " against ".join(count(steps_at(self.lab, arm)[shared[-1]]) for arm in (joint, alone)) + " steps"
                )
                (one,), (both,) = (means(cube) for cube in cubes)
                drawn, drawn_too = (resampled(cube, self.lab.draws[task])[:, 0] for cube in cubes)
                found = interval(float(100 * (both / one - 1)), 100 * (drawn_too / drawn - 1))
                told = self.told((model, task), f"{shared[-1]:,} rows, {steps}", found, [alone, joint])
                return replace(told, unit="%")
        raise NotTestedError(
            f"no run of {model} trains {task} among other tasks at the rows of one that trains it alone"
        )

    def _script_words(self, model: str, task: str) -> GuideEffect:
        langs = [lang for lang in self.lab.others(task) if not in_latin(lang)]
        return self._scripts((model, task), langs, 1.0)

    def _script_maths(self, model: str, task: str) -> GuideEffect:
        return self._scripts((model, task), self.lab.others(task), -1.0)

    def _scripts(self, place: Place, langs: Sequence[str], sign: float) -> GuideEffect:
        """Rows in other scripts, or in Latin too, less rows in Latin alone, at the most rows that both have.

        In languages that neither trains, where there are such; ``sign`` -1 turns the difference round.
        """
        model, task = place
        latin, others = self.alone(model, task, (LATIN,)), []
        for kind in (MIXED, OTHER):
            with suppress(NotTestedError):
                others.append(self.alone(model, task, (kind,)))
        trained = [{*self.lab.group(latin, task, SEEN), *self.lab.group(arm, task, SEEN)} for arm in others]
        pairs = [(arm, [lang for lang in langs if lang not in own]) for arm, own in zip(others, trained, strict=True)]
        if not pairs or not langs:
            raise NotTestedError(f"no run of {model} trains {task} with rows in other scripts than Latin")
        other, fair = next((pair for pair in pairs if pair[1]), (others[0], list(langs)))
        shared = [a for a in self.lab.amounts(other) if a and a in self.lab.amounts(latin)]
        arms = [other, latin]
        gap = None
        if shared:
            places = [self.lab.amounts(arm).index(shared[-1]) for arm in arms]
            cells = [self.lab.cube(arm, task, fair)[at] for arm, at in zip(arms, places, strict=True)]
            gap = paired(*(cells if sign > 0 else reversed(cells)))
        if gap is None:
            raise NotTestedError(f"no amount of rows and no answers that {other.label} and {latin.label} share")
        items = [f"{self.lab.at(arm, shared[-1])[0].total:,}" for arm in arms]
        names = [f"{arm.name} ({n} rows in all)" for arm, n in zip(arms, items, strict=True)]
        what = f"{shared[-1]:,} rows, {' less '.join(names if sign > 0 else reversed(names))}, in {', '.join(fair)}"
        return replace(self.told(place, what, gap.interval, arms), seeds=gap.seeds)

    def _variables(self, what: str, variable: str) -> GuideEffect:
        if not self.explained:
            raise NotTestedError("no run has unseen languages, or their scores do not vary")
        there = [name for one in self.explained for name in one.variables]
        if missing := [name for name in ("task", "model", "rows") if name not in there]:
            raise NotTestedError(f"runs with unseen languages do not differ in {' and '.join(missing)}")
        share = self.explained[0].variables[variable]
        low, high = (share.value if end is None else end for end in (share.low, share.high))
        results = f"{self.explained[0].results} results"
        return GuideEffect(what, variable, results, share.value, low, high, len(self.lab.seeds), unit="%", digits=0)

    def _english(self, model: str, task: str) -> GuideEffect:
        from clo.evaluation.dynamics import interval, means, resampled

        arm = self.alone(model, task)
        amounts = self.lab.amounts(arm)
        if amounts[0] != 0 or len(amounts) < 2:
            raise NotTestedError(f"{arm.label} has no run of {model} on English alone")
        cube = self.lab.cube(arm, task, self.lab.others(task))
        mean, sample = means(cube), resampled(cube, self.lab.draws[task])
        part = interval(float(100 * mean[0] / mean.max()), 100 * sample[:, 0] / sample.max(1))
        return replace(self.told((model, task), "of the peak", part, [arm]), unit="%")
