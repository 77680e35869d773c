"""Which differences of a study are more than chance: methods against a baseline, at equal data and at half of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clo.report.collect import Run, Study, grouped, nearest
from clo.report.formats import FEWEST_SEEDS, SIDES, daggered, decimal, signed
from clo.storage.files import csv_text

if TYPE_CHECKING:
    from clo.evaluation.significance import Difference

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

    ``against`` is a method or a label; of several baselines the ones that are most like a method in what trains and for
    how many steps. ``scores`` are folder of a run -> item -> score; ``halved`` adds N items against 2N.
    """
    from clo.evaluation.significance import holm

    scored = (run for run in study.runs if scores.get(run.folder))
    groups = grouped(scored, lambda run: (run.lang, run.size, run.label, run.base))
    found = []
    for (lang, size, label, base), runs in groups.items():
        if runs[0].named(against):
            continue
        for rival_size in (size, 2 * size) if halved else (size,):
            there = [own[0] for (*place, _, of), own in groups.items() if (*place, of) == (lang, rival_size, base)]
            for rival in nearest(runs[0], [run for run in there if run.named(against)]):
                rivals = groups[lang, rival_size, rival.label, base]
                if (one := paired(runs, rivals, scores)) is not None:
                    (gap, low, high), p, least, *counts = astuple(one)
                    detectable = least if 1e-9 < least < math.inf else None
                    place = (lang, size, label, rival.label, rival_size, side)
                    found.append(Comparison(*place, gap, low, high, p, detectable, *counts))
    return [replace(one, p=p) for one, p in zip(found, holm([one.p for one in found]), strict=True)]


def paired(ours: Sequence[Run], theirs: Sequence[Run], scores: Mapping[Path, Mapping[str, float]]) -> Difference | None:
    """Ours minus theirs over the seeds that both have and the items that both runs of a seed have; None without any.

    The items of the embedded data are clustered by their relation. Seeds may be tested on items of their own (other
    folds); an item then counts in the seeds that have it.
    """
    from clo.evaluation.significance import difference

    pairs = [(scores[r.folder], scores[s.folder]) for r in ours for s in theirs if r.seed == s.seed]
    shared = [pair for pair in pairs if set(pair[0]) & set(pair[1])]
    ids = sorted({i for a, b in shared for i in set(a) & set(b)})
    if not ids:
        return None
    left = [[a.get(i, math.nan) for i in ids] for a, _ in shared]
    right = [[b.get(i, math.nan) for i in ids] for _, b in shared]
    return difference(left, right, clusters=_relations(ours[0], ids))


def _relations(run: Run, ids: Sequence[str]) -> list[str] | None:
    """The relation of each item, where the data have some: the first part of an embedded row's id."""
    return [item.partition(".")[0] for item in ids] if run.config.get("data.kind") == "cldr" else None


def scores_by_prompt(run: Run, side: str, score: str, file: str = "samples.jsonl") -> dict[str, float]:
    """A number of each sample by prompt, as stored (chrF 0 to 100, ``nll`` in nats per token); others are left out."""
    return {
        str(sample["id"]): float(sample[score])
        for sample in run.samples(file)
        if sample.get("side") == side and isinstance(sample.get(score), int | float) and "id" in sample
    }


def chrf_of(run: Run, side: str, file: str = "samples.jsonl") -> dict[str, float]:
    """Score by prompt, chrF; samples without one are left out."""
    return scores_by_prompt(run, side, "chrf", file)


_WORDS = {"better": "better", "worse": "worse", "not told": "not to be told from chance"}
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
        over = "prompts of one seed: another may differ" if alone else "prompts, their relations and seeds"
        rivals = " or ".join(dict.fromkeys(one.against for one in mine))
        told = ", ".join(f"{counts[verdict]} {words}" for verdict, words in _WORDS.items())
        lines.append(
            f"In {'English' if side == 'en' else 'the target language'}, of {len(mine)} comparisons with "
            f"{rivals}: {told} (Holm-corrected at {100 * LEVEL:.0f} %, paired tests over {over})."
        )
    return lines
