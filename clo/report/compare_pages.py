"""A page for each comparison at equal data: its numbers, then the prompts where the two methods differ most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from clo.report import answers, document, judged
from clo.report.benchmarks import Marks
from clo.report.collect import Run, Study
from clo.report.comparisons import Comparison, numbers, signed, verdict
from clo.report.judged import Verdicts
from clo.report.tables import SIDES

MOST_EACH_WAY = 6
"""Prompts of a side where the one is ahead, and as many where the other is."""
MOST_SEEDS = 3
"""Seeds whose answers are shown."""

_HEADS = ("what", "side", "items or rows", "seeds", "difference", "95 %", "p", "detectable", "verdict")


def compare_page(
    study: Study, cell: Sequence[Comparison], found: Marks, verdicts: Sequence[Verdicts], links: Mapping[str, str]
) -> str:
    """The page of a comparison, to lie in ``report/compare``.

    Args:
        study: of the runs.
        cell: the comparisons of both sides: one language, size, method and baseline.
        found: benchmarks of the study.
        verdicts: of judges on the study's runs.
        links: folder of a run -> address of its page from this one.
    """
    one = cell[0]
    pairs = pairs_of(study, one)
    names = {run.folder.name for pair in pairs for run in pair}
    between = [v for v in verdicts if v.run in names and v.against in names]
    lang = str(pairs[0][0].results.get("lang_name") or one.lang) if pairs else one.lang
    title = f"{one.label} against {one.against}: {lang} ({one.lang}), {one.size:,} items"
    seeds = ", ".join(str(run.seed) for run, _ in pairs)
    runs = " ".join(_link(run, links) for pair in pairs for run in pair)
    top = (
        f'<p class="soft"><a href="../report.html">Study {escape(study.name)}</a></p><h1>{escape(title)}</h1>'
        f"<p>Seeds that both have: {seeds}. Runs: {runs}</p>"
    )
    parts = [
        ("numbers", "Numbers", _numbers(cell, found)),
        ("judged", "Judged win rates", judged.table(between, links) if between else ""),
        *((side, f"{words}: where they differ most", _differing(pairs, one, side)) for side, words in SIDES.items()),
    ]
    return document.document(f"{title}: {study.name}", f"{top}\n{document.sections(parts)}")


def pairs_of(study: Study, one: Comparison) -> list[tuple[Run, Run]]:
    """Runs of the method and of the baseline with equal language, size, seed and start model."""
    cell = [run for run in study.runs if (run.lang, run.size) == (one.lang, one.size)]
    return [
        (run, rival)
        for run in cell
        for rival in cell
        if (run.label, rival.label) == (one.label, one.against) and (run.seed, run.base) == (rival.seed, rival.base)
    ]


def _link(run: Run, links: Mapping[str, str]) -> str:
    words = escape(f"{run.label}, seed {run.seed}")
    return f'<a class="apart" href="{links[run.folder.name]}">{words}</a>'


def _numbers(cell: Sequence[Comparison], found: Marks) -> str:
    one = cell[0]
    same = (one.lang, one.size, one.label, one.against)
    rows = [("chrF", c) for c in cell]
    rows += [
        (asked.title, c)
        for asked, tests in found.tests.items()
        for c in tests
        if (c.lang, c.size, c.label, c.against) == same
    ]
    cells = (
        (escape(what), SIDES[c.side], str(c.items), str(c.seeds), *map(escape, numbers(c)), verdict(c))
        for what, c in rows
    )
    note = (
        "Difference: method less baseline, points of chrF or of accuracy, paired over shared items and seeds; p "
        "corrected over all comparisons of the study's table and side (Holm). Detectable: the smallest true difference "
        "that would show 4 times in 5."
    )
    return document.table(_HEADS, cells, (0, 1, 8)) + f'<p class="soft">{note}</p>'


def _differing(pairs: Sequence[tuple[Run, Run]], one: Comparison, side: str) -> str:
    by_pair = [tuple(answers.by_key(run.samples()) for run in pair) for pair in pairs]
    gaps = _gaps(by_pair, side)
    if not gaps:
        return ""
    ordered = sorted(gaps, key=lambda key: gaps[key])
    ahead = [key for key in reversed(ordered) if gaps[key] > 0][:MOST_EACH_WAY]
    behind = [key for key in ordered if gaps[key] < 0][:MOST_EACH_WAY]
    seeds = [run.seed for run, _ in pairs[:MOST_SEEDS]]
    mean = "the mean over seeds" if len(pairs) > 1 else "one seed"
    note = (
        f"Largest differences in chrF ({mean}) in either direction, of {len(gaps)} shared prompts: chosen for their "
        f"difference, so they say nothing about how often it is so. Answers of seed {', '.join(map(str, seeds))}."
    )
    parts = [f'<p class="soft">{escape(note)}</p>']
    for label, keys in ((one.label, ahead), (one.against, behind)):
        if keys:
            parts.append(f"<h3>{escape(label)} is ahead</h3>")
            parts += [_card(key, gaps[key], pairs, by_pair, side) for key in keys]
    return "".join(parts) if ahead or behind else f"{parts[0]}<p>No prompt differs.</p>"


def _gaps(by_pair: Sequence[Sequence[Mapping[Any, Mapping[str, Any]]]], side: str) -> dict[Any, float]:
    """Prompt -> mean difference in chrF over seeds, where all runs have it."""
    scores = [[_chrf(samples, side) for samples in pair] for pair in by_pair]
    if not scores:
        return {}
    shared = set.intersection(*(set(one) for pair in scores for one in pair))
    kept = [key for key in scores[0][0] if key in shared]  # in the order of the file, so that ties fall the same way
    return {key: sum(own[key] - rival[key] for own, rival in scores) / len(scores) for key in kept}


def _chrf(samples: Mapping[Any, Mapping[str, Any]], side: str) -> dict[Any, float]:
    return {
        key: float(sample["chrf"])
        for key, sample in samples.items()
        if key[0] == side and isinstance(sample.get("chrf"), int | float)
    }


def _card(
    key: Any,
    gap: float,
    pairs: Sequence[tuple[Run, Run]],
    by_pair: Sequence[Sequence[Mapping[Any, Mapping[str, Any]]]],
    side: str,
) -> str:
    first = by_pair[0][0][key]
    code = "en" if side == "en" else pairs[0][0].lang
    rows = [("reference", answers.text(first.get("reference"), code))]
    for pair, samples in list(zip(pairs, by_pair, strict=True))[:MOST_SEEDS]:
        for run, by_key in zip(pair, samples, strict=True):
            told = answers.judged_answer(by_key[key], run.lang, side)
            score = answers.badge("", f"chrF {by_key[key]['chrf']:.0f}")
            rows.append((f"{run.label}, seed {run.seed}", told + score))
    return answers.frame(answers.text(first.get("prompt"), code) + answers.badge("", f"chrF {signed(gap)}"), rows)
