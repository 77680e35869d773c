"""Everything that a report tells of a study, computed once for its files, figures and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clo.report.benchmarks import Benchmarks, collect_benchmarks
from clo.report.claim_results import ClaimResult, claim_results
from clo.report.collect import Study
from clo.report.comparisons import Comparison, compare_study
from clo.report.equal import EqualRow, equal_rows
from clo.report.guide.find import Guide, find_guide
from clo.report.judged import Verdicts, collect_verdicts
from clo.report.summary import Table, build


@dataclass(frozen=True)
class Findings:
    """A study and what was computed from its runs."""

    study: Study
    table: Table
    comparisons: Sequence[Comparison]
    benchmarks: Benchmarks
    verdicts: Sequence[Verdicts]
    broken: Sequence[str]
    """Files of judges that cannot be read."""
    equal: Sequence[EqualRow]
    """CLO against SFT on the same weights, items and steps."""
    claims: Sequence[ClaimResult]
    """What the study says of the paper's claims."""
    guide: Guide | None = None
    """What its runs of mixtures say, where it has such."""


def find(study: Study, compare: str | None = None) -> Findings:
    """Compute everything; ``compare`` is the method or label to compare with, None is ``sft`` where the study has it.

    Raises:
        UserError: ``compare`` names no method of the study.
    """
    table, against = build(study, compare), compare or "sft"
    compared, benchmarks = compare_study(study, against), collect_benchmarks(study, against)
    verdicts, broken = collect_verdicts(study)
    equal, claims = equal_rows(study), claim_results(study)
    return Findings(study, table, compared, benchmarks, verdicts, broken, equal, claims, find_guide(study))
