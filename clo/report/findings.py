"""Everything that a report tells of a study, computed once for its files, figures and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clo.report.benchmarks import Benchmarks, collect_benchmarks
from clo.report.claim_results import ClaimResult, claim_results
from clo.report.claim_tests import benches_of
from clo.report.collect import Study
from clo.report.comparisons import Comparison, compare_study
from clo.report.equal import EqualRow, equal_rows
from clo.report.guide.find import Guide, find_guide
from clo.report.judged import Verdicts, collect_verdicts
from clo.report.paper import the_paper
from clo.report.paper_cells import Cell, paper_cells
from clo.report.paper_gains import GainRow, gain_rows
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
    cells: Sequence[Cell]
    """The papers' numbers, and ours where the study has the same cell or one near it."""
    gains: Sequence[GainRow]
    """The papers' gains beside ours, whatever the model."""
    guide: Guide | None = None
    """What its runs of mixtures say, where it has such."""


def find(study: Study, compare: str | None = None) -> Findings:
    """Compute everything; ``compare`` is the method or label to compare with, None is ``sft`` where the study has it.

    Raises:
        UserError: ``compare`` names no method of the study.
    """
    table, against = build(study, compare), compare or "sft"
    compared, benchmarks = compare_study(study, against), collect_benchmarks(study, against)
    benches, (verdicts, broken), paper = benches_of(study), collect_verdicts(study), the_paper()
    claims, cells = claim_results(study, benches), paper_cells(study, benchmarks, verdicts, paper)
    equal, gains, guide = equal_rows(study), gain_rows(benches, paper), find_guide(study)
    return Findings(study, table, compared, benchmarks, verdicts, broken, equal, claims, cells, gains, guide)
