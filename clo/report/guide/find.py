"""Everything that a report tells of a study of mixtures, computed once for its files, figures and page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clo.report.claim_results import ClaimResult, to_csv
from clo.report.collect import Study, as_dict
from clo.report.guide.claim_tests import guide_claims
from clo.report.guide.cubes import Lab
from clo.report.guide.curves import Curve, Gap, curves_csv, curves_of, gaps_csv, gaps_of, peaks_csv
from clo.report.guide.joint import Pair, pairs_csv, pairs_of
from clo.report.guide.runs import Mixtures, read_mixtures
from clo.report.guide.scores import scores_csv
from clo.report.guide.variance import Explained, explained_csv, explained_of

FILES = (
    *("guide_scores.csv", "guide_curves.csv", "guide_peaks.csv", "guide_gaps.csv", "guide_joint.csv"),
    *("guide_variance.csv", "guide_claims.csv"),
)
"""What a report of such a study has beside its page."""


@dataclass(frozen=True)
class Guide:
    """The runs of mixtures of a study and what was computed from them."""

    mixtures: Mixtures
    lab: Lab
    curves: Sequence[Curve]
    gaps: Sequence[Gap]
    pairs: Sequence[Pair]
    explained: Sequence[Explained]
    claims: Sequence[ClaimResult]
    whole: bool
    """Whether the study has no other runs."""

    def files(self) -> dict[str, str]:
        """Name -> content of each of FILES that has any lines."""
        found = {
            "guide_scores.csv": scores_csv(self.mixtures),
            "guide_curves.csv": curves_csv(self.curves),
            "guide_peaks.csv": peaks_csv(self.curves),
            "guide_gaps.csv": gaps_csv(self.gaps) if self.gaps else "",
            "guide_joint.csv": pairs_csv(self.pairs) if self.pairs else "",
            "guide_variance.csv": explained_csv(self.explained) if self.explained else "",
            "guide_claims.csv": to_csv(self.claims),
        }
        return {name: text for name, text in found.items() if text}


def find_guide(study: Study) -> Guide | None:
    """Compute everything; None for a study without a run of a mixture whose scores can be read."""
    mixtures = read_mixtures(study)
    if not mixtures.runs:
        return None
    lab = Lab(mixtures)
    gaps, explained = gaps_of(lab), explained_of(lab)
    claims = guide_claims(lab, gaps, explained)
    whole = all(as_dict(run.results.get("mixture")) for run in study.runs)
    return Guide(mixtures, lab, curves_of(lab), gaps, pairs_of(lab), explained, claims, whole)
