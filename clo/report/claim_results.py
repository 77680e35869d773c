"""Which of the paper's claims hold in a study, by the rule that ``clo/report/claims.py`` states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from clo.report.claim_tests import Bench, Effect, NotTestedError, benches_of
from clo.report.claims import CLAIMS, Claim
from clo.report.collect import Study
from clo.report.formats import FEWEST_SEEDS, counted_seeds
from clo.storage.files import csv_text


@dataclass(frozen=True)
class ClaimResult:
    """A claim and what a study says of it, for one arm of CLO."""

    claim: Claim
    arm: str
    verdict: str
    """``held``, ``did not hold``, ``undecided`` or ``not tested``."""
    reason: str = ""
    effects: list[Effect] = field(default_factory=list)


def verdict_of(claim: Claim, effects: Sequence[Effect], needed: int = FEWEST_SEEDS) -> tuple[str, str]:
    """The verdict by the stated rule, and why where it is undecided; ``needed`` is how many seeds decide something."""
    outside = [one for one in effects if one.high < claim.low or one.low > claim.high]
    inside = [one for one in effects if one.low > claim.low and one.high < claim.high]
    fewest = min(one.seeds for one in effects)
    if fewest < needed:
        return "undecided", counted_seeds(fewest)
    if outside:
        return "did not hold", ""
    return ("held", "") if len(inside) == len(effects) else ("undecided", "")


def claim_results(study: Study, benches: Sequence[Bench] | None = None) -> list[ClaimResult]:
    """Every claim, for every arm of CLO that is the paper's as far as the study has one; see `benches_of`."""
    benches = benches_of(study) if benches is None else benches
    found = [] if benches else [ClaimResult(claim, "", "not tested", "no run of CLO") for claim in CLAIMS]
    for claim in CLAIMS:
        for bench in benches:
            try:
                effects = bench.effects(claim)
                found.append(ClaimResult(claim, bench.arm, *verdict_of(claim, effects), effects))
            except NotTestedError as why:
                found.append(ClaimResult(claim, bench.arm, "not tested", str(why)))
    return found


def claim_lines(found: Sequence[ClaimResult]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells as text; the arm stands there where several are CLO's."""
    several = len({one.arm for one in found}) > 1
    heads = ["claim", *(["arm"] if several else []), "verdict", "difference (95 %)", "claimed", "seeds", "on", "paper"]
    rows = []
    for one in found:
        effects, arm = one.effects, [one.arm] if several else []
        models = {effect.model for effect in effects}
        what = [*dict.fromkeys(effect.what for effect in effects), *(sorted(models) if len(models) > 1 else [])]
        verdict = f"{one.verdict} ({one.reason})" if one.reason else one.verdict
        seeds = " to ".join(map(str, sorted({effect.seeds for effect in effects})))
        told = ["; ".join(map(str, effects)), one.claim.claimed if effects else "", seeds, "; ".join(what)]
        rows.append([one.claim.words, *arm, verdict, *told, one.claim.paper])
    return heads, rows


def to_csv(found: Sequence[ClaimResult]) -> str:
    """One line per claim, arm and language, in full precision; one without numbers where it is not tested."""
    heads = ["claim", "claimed", "arm", "verdict", "reason", "model", "language", "compared", "difference"]
    rows = []
    for one in found:
        lead = [one.claim.words, one.claim.claimed, one.arm, one.verdict, one.reason]
        told = [[e.model, e.lang, e.what, e.gap, e.low, e.high, e.seeds] for e in one.effects] or [[None] * 7]
        rows += [[*lead, *own, one.claim.paper] for own in told]
    return csv_text([*heads, "low", "high", "seeds", "paper"], rows)
