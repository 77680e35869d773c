"""A page for each comparison at equal data: its numbers, then the prompts where the two methods differ most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clo.report.answers import Card, Said, by_key, judged_answer, said
from clo.report.collect import Run, Study
from clo.report.comparisons import Comparison, chrf_of
from clo.report.findings import Findings
from clo.report.formats import SIDES, signed
from clo.report.render import render

MOST_EACH_WAY = 6
"""Prompts of a side where the one is ahead, and as many where the other is."""
MOST_SEEDS = 3
"""Seeds whose answers are shown."""


def compare_page(found: Findings, one: Comparison, links: Mapping[str, str]) -> str:
    """The page of a comparison, by either side, to lie in ``report/compare``; ``links`` lead to runs from there."""
    pairs = pairs_of(found.study, one)
    names = {run.folder.name for pair in pairs for run in pair}
    rows = [("chrF", c) for c in found.comparisons if c.cell == one.cell and not c.halved]
    rows += [(asked.title, c) for asked, tests in found.benchmarks.tests.items() for c in tests if c.cell == one.cell]
    return render(
        "compare.html",
        study=found.study,
        one=one,
        pairs=pairs,
        links=links,
        rows=rows,
        verdicts=[v for v in found.verdicts if v.run in names and v.against in names],
        seeds=[run.seed for run, _ in pairs[:MOST_SEEDS]],
        sides={side: _differing(pairs, one, side) for side in SIDES},
    )


def pairs_of(study: Study, one: Comparison) -> list[tuple[Run, Run]]:
    """Runs of the method and of the baseline with equal language, size, seed and start model; at least one pair."""
    cell = [run for run in study.runs if (run.lang, run.size) == (one.lang, one.size)]
    ours, theirs = ([run for run in cell if run.label == label] for label in (one.label, one.against))
    return [(run, rival) for run in ours for rival in theirs if (run.seed, run.base) == (rival.seed, rival.base)]


def _differing(pairs: Sequence[tuple[Run, Run]], one: Comparison, side: str) -> tuple[int, dict[str, list[Card]]]:
    """Number of prompts that all runs have, and label -> those where it is ahead the most, by the mean over seeds."""
    scores = [[chrf_of(run, side) for run in pair] for pair in pairs]
    # In the order of the file, so that ties fall the same way.
    shared = [key for key in scores[0][0] if all(key in run for pair in scores for run in pair)]
    gaps = {key: sum(own[key] - rival[key] for own, rival in scores) / len(scores) for key in shared}
    ordered = sorted(gaps, key=lambda key: gaps[key])
    ahead = [key for key in reversed(ordered) if gaps[key] > 0][:MOST_EACH_WAY]
    behind = [key for key in ordered if gaps[key] < 0][:MOST_EACH_WAY]
    shown = [(run, by_key(run.samples())) for pair in pairs[:MOST_SEEDS] for run in pair]
    both = {one.label: ahead, one.against: behind}
    return len(gaps), {
        label: [_card((side, key), gaps[key], shown) for key in keys] for label, keys in both.items() if keys
    }


def _card(key: tuple[str, str], gap: float, shown: Sequence[tuple[Run, Mapping[Any, Mapping[str, Any]]]]) -> Card:
    run, samples = shown[0]
    code, first = "en" if key[0] == "en" else run.lang, samples[key]
    rows: list[tuple[str, Said | None]] = [("reference", said(first.get("reference"), code))]
    for run, samples in shown:
        answer = judged_answer(samples[key], run.lang, key[0])
        rows.append((f"{run.label}, seed {run.seed}", answer.but("", f"chrF {samples[key]['chrf']:.0f}")))
    return Card(said(first.get("prompt"), code).but("", f"chrF {signed(gap)}"), rows)
