"""A page for each run: configuration, scores, square, benchmarks, answers during and after training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from clo.report.answers import Card, by_key, card, said, spread, told
from clo.report.benchmarks import scorer, scores_of
from clo.report.collect import Run, grouped
from clo.report.findings import Findings
from clo.report.formats import DASH, SIDES, decimal, signed
from clo.report.render import render
from clo.report.targets import confusion_tables
from clo.storage.jsonl import read_lines

MOST_ANSWERS = 200
"""Test prompts on a page."""

_CONFIG = ("method", "tuning", "model", "data", "optimizer", "evaluation", "batch_size", "trainer.precision")
"""Groups and keys that decide a result, in the order of the page."""

_SCORES = (
    ("exact, seen (%)", "exact", "seen", 100), ("exact, unseen (%)", "exact", "unseen", 100),
    ("exact (%)", "exact", "all", 100), ("content (%)", "content", "all", 100), ("chrF", "chrf", "all", 1),
    ("right language (%)", "language_ok", "all", 100), ("all lines right (%)", "lines_ok", "all", 100),
    ("English words inside (%)", "intrusion", "all", 100), ("NLL (nats per token)", "nll", "all", 1),
)  # fmt: skip
"""(Heading, key and group of a score, factor to the shown unit)."""


def run_page(found: Findings, run: Run, links: Mapping[str, str]) -> str:
    """The page of a run, to lie in ``report/runs``; ``links`` are folder of a run -> address of its page from there."""
    start = {(score.asked, score.side): score for score in scores_of(run, "start")}
    samples = run.samples()
    return render(
        "run.html",
        study=found.study,
        run=run,
        links=links,
        scores={side: rows for side in SIDES if (rows := _scores(run, side))},
        square=run.square(),
        confusion=confusion_tables(run.part("confusion")),
        benchmarks=[(start.get((score.asked, score.side)), score) for score in scores_of(run)],
        scorer=scorer(run),
        verdicts=[one for one in found.verdicts if one.run == run.folder.name],
        config=_config(run),
        watched=_watched(run),
        answers=_answers(run, samples),
        asked=Counter(sample.get("side") for sample in samples),
    )


def _scores(run: Run, side: str) -> list[list[str]]:
    """Measure, before, after, change as text."""
    rows = []
    for head, key, group, factor in _SCORES:
        before, after = (run.score(side, key, group, when) for when in ("start", "scores"))
        change = None if before is None or after is None else (after - before) * factor
        digits = 2 if key == "nll" else 1
        values = [decimal(None if one is None else one * factor, digits) for one in (before, after)]
        if values != [DASH, DASH]:
            rows.append([head, *values, signed(change, digits)])
    return rows


def _config(run: Run) -> list[tuple[str, str, bool]]:
    """(Key, value, whether it is assumed) of what decides a result."""
    assumed = run.part("assumed")
    return [
        (key, value, key in assumed or key.rpartition(".")[2] in assumed)
        for group in _CONFIG
        for key, value in run.config.items()
        if f"{key}.".startswith(f"{group}.") and value != "null" and not key.startswith("model.recipe.")
    ]


def _watched(run: Run) -> list[Card]:
    """The same prompts at every validation, one card per prompt."""
    lines = read_lines(run.home / "watched.jsonl")
    if run.within is not None:
        lines = [line for line in lines if line.get("side") == "en" or line.get("lang") == run.lang]
    several = len({str(line.get("stage")) for line in lines}) > 1
    cards = []
    for (side, _), looks in grouped(lines, lambda line: (str(line.get("side")), str(line.get("id")))).items():
        rows = [
            (f"{look.get('stage')}, " * several + f"step {look.get('step')}", told(look, run.lang, side))
            for look in looks
        ]
        cards.append(Card(said(looks[0].get("prompt"), "en" if side == "en" else run.lang), rows))
    return cards


def _answers(run: Run, samples: Sequence[dict[str, Any]]) -> dict[str, list[Card]]:
    """Side -> cards, at most MOST_ANSWERS together."""
    start = by_key(run.samples("start_samples.jsonl"))
    columns = ([("start model", start)] if start else []) + [(run.label, by_key(samples))]
    sides = {side: [one for one in samples if one.get("side") == side] for side in SIDES}
    every = sum(map(len, sides.values()))
    # Half of the page is either side's, and what the one does not need is the other's.
    most = {side: max(MOST_ANSWERS // 2, MOST_ANSWERS - every + len(own)) for side, own in sides.items()}
    shown = {side: spread(own, min(len(own), most[side])) for side, own in sides.items() if own}
    return {side: [card(one, columns, run, side) for one in own] for side, own in shown.items()}
