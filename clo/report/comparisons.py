"""Which differences of a study are more than chance: methods against a baseline, at equal data and at half of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from clo.report.collect import Run, Study, grouped
from clo.report.formats import FEWEST_SEEDS, SIDES, csv_text, daggered, decimal, signed

LEVEL = 0.05
"""Family-wise error rate."""


@dataclass(frozen=True)
class Comparison:
    """One method against the baseline, on one side."""

    lang: str
    size: int
    label: str
    against: str
    against_size: int
    side: str
    gap: float
    """Points of chrF."""
    low: float
    high: float
    p: float
    """Corrected over all comparisons of the side."""
    detectable: float | None
    """None where it cannot be estimated: no difference varies, or there is one alone."""
    items: int
    seeds: int

    @property
    def cell(self) -> tuple[str, str, str, int]:
        """Method, baseline, language and size: what both sides share."""
        return self.label, self.against, self.lang, self.size

    @property
    def halved(self) -> bool:
        """Whether the baseline has twice the data."""
        return self.against_size != self.size

    @property
    def verdict(self) -> str:
        """What may be said at 5 %, corrected: better, worse, or not told."""
        return "not told" if self.p >= LEVEL else "better" if self.gap > 0 else "worse"

    @property
    def firm(self) -> bool:
        """Whether the verdict says better or worse, and rests on enough seeds to stand out on a page."""
        return self.p < LEVEL and self.seeds >= FEWEST_SEEDS

    def numbers(self) -> list[str]:
        """Difference, its interval, p-value and detectable difference as text."""
        p = f"{self.p:.3f}" if self.p >= 0.001 else "< 0.001"
        interval = daggered(f"{signed(self.low)} to {signed(self.high)}", self.seeds)
        return [signed(self.gap), interval, p, decimal(self.detectable)]


def compare_study(study: Study, against: str) -> list[Comparison]:
    """All comparisons of a study with a baseline, by chrF per test prompt: N against N items, and N against 2N."""
    by_side = {side: {run.folder: chrf_of(run, side) for run in study.runs} for side in SIDES}
    return [one for side, scores in by_side.items() for one in compare_side(study, against, side, scores)]


def compare_side(
    study: Study, against: str, side: str, scores: Mapping[Path, Mapping[str, float]], halved: bool = True
) -> list[Comparison]:
    """Comparisons of one side with a baseline over the items and seeds that both have, corrected by Holm's method.

    ``scores`` are folder of a run -> item -> score; ``halved`` adds N items against 2N.
    """
    from clo.evaluation.significance import difference, holm

    scored = (run for run in study.runs if scores.get(run.folder))
    groups = grouped(scored, lambda run: (run.lang, run.size, run.label, run.base))
    found = []
    for (lang, size, label, base), runs in groups.items():
        if label == against:
            continue
        for rival_size in (size, 2 * size) if halved else (size,):
            rivals = groups.get((lang, rival_size, against, base), [])
            pairs = [(scores[r.folder], scores[s.folder]) for r in runs for s in rivals if r.seed == s.seed]
            ids = sorted(set.intersection(*(set(one) for pair in pairs for one in pair))) if pairs else []
            if ids:
                ours, theirs = ([[one[i] for i in ids] for one in own] for own in zip(*pairs, strict=True))
                place = (lang, size, label, against, rival_size, side)
                (gap, low, high), p, least, *counts = astuple(difference(ours, theirs))
                detectable = least if 1e-9 < least < math.inf else None
                found.append(Comparison(*place, gap, low, high, p, detectable, *counts))
    return [replace(one, p=p) for one, p in zip(found, holm([one.p for one in found]), strict=True)]


def chrf_of(run: Run, side: str) -> dict[str, float]:
    """Score by prompt, chrF; samples without one are left out."""
    return {
        str(sample["id"]): float(sample["chrf"])
        for sample in run.samples()
        if sample.get("side") == side and isinstance(sample.get("chrf"), int | float) and "id" in sample
    }


FIELDS = [*Comparison.__dataclass_fields__, "verdict"]


def fields_of(one: Comparison) -> list[object]:
    """A comparison as a line of a file, under the headings FIELDS."""
    return [*astuple(one), one.verdict]


def to_csv(comparisons: Sequence[Comparison]) -> str:
    """One line per comparison, in full precision."""
    return csv_text(FIELDS, map(fields_of, comparisons))


def summary(comparisons: Sequence[Comparison]) -> list[str]:
    """A sentence per side."""
    lines = []
    for side, mine in grouped(comparisons, lambda one: one.side).items():
        counts = Counter(one.verdict for one in mine)
        alone = all(one.seeds == 1 for one in mine)
        over = "prompts of one seed: another may differ" if alone else "prompts and seeds"
        lines.append(
            f"In {'English' if side == 'en' else 'the target language'}, of {len(mine)} comparisons with "
            f"{mine[0].against}: {counts['better']} better, {counts['worse']} worse, {counts['not told']} not to be "
            f"told from chance (Holm-corrected at {100 * LEVEL:.0f} %, paired tests over {over})."
        )
    return lines
