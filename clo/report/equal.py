"""CLO against SFT that trained the same weights, on the same items, for as many steps: what a report says first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace

from clo.report.arms import compares, has_both, objective, starts_with_sft
from clo.report.collect import Run, Study, grouped
from clo.report.comparisons import Comparison, chrf_of, paired, scores_by_prompt
from clo.report.measures import BY_KEY, english_column, target_column
from clo.storage.files import csv_text

Scores = Mapping[str, float]
"""Prompt -> points."""
TITLE = "CLO against SFT on the same weights, items and steps"
NONE = (
    "No CLO run has an SFT run on the same weights, items and steps beside it, so its gain is not told apart from what "
    "trains and for how long; method=sft tuning=attention with the study's settings adds them."
)


@dataclass(frozen=True)
class EqualRow:
    """One arm of CLO against one of SFT, in one language at one size."""

    lang: str
    size: int
    label: str
    against: str
    steps: float | None
    cells: dict[str, Comparison] = field(default_factory=dict)
    """Measure -> the difference, in points (NLL: nats per 100 tokens); p is corrected over the rows of a measure."""

    @property
    def seeds(self) -> int:
        """Those that both arms have."""
        return next(iter(self.cells.values())).seeds


def right_language_of(run: Run) -> dict[str, float]:
    """100 where an answer to a target prompt is in the target language, else 0; undecided ones are left out."""
    return {
        str(sample["id"]): 100.0 * (sample["verdict"] == "target")
        for sample in run.samples()
        if sample.get("side") == "target" and sample.get("verdict") in ("target", "en", "other") and "id" in sample
    }


def target_of(study: Study) -> Callable[[Run], dict[str, float]]:
    """What stands for skill in the target language by prompt: 100 for the right object in it where the data have it."""
    if target_column(study).score != "right":
        return lambda run: chrf_of(run, "target")

    def of(run: Run) -> dict[str, float]:
        told = (sample for sample in run.samples() if sample.get("side") == "target" and "id" in sample)
        ours = ("target", "undecided")
        return {
            str(s["id"]): 100.0 * (s["content"] and s.get("verdict") in ours)
            for s in told
            if isinstance(s.get("content"), bool)
        }

    return of


def english_of(study: Study) -> Callable[[Run, str], dict[str, float]]:
    """(Run, file) -> what stands for English skill by prompt: 100 for right content where the data have it, or chrF."""
    content = english_column(study).score == "content"

    def of(run: Run, file: str = "samples.jsonl") -> dict[str, float]:
        if not content:
            return chrf_of(run, "en", file)
        told = (sample for sample in run.samples(file) if sample.get("side") == "en" and "id" in sample)
        return {str(s["id"]): 100.0 * s["content"] for s in told if isinstance(s.get("content"), bool)}

    return of


def nll_of(run: Run, side: str) -> dict[str, float]:
    """NLL of the reference answer by prompt, nats per 100 tokens."""
    return {prompt: 100.0 * nll for prompt, nll in scores_by_prompt(run, side, "nll").items()}


def is_clo(run: Run) -> bool:
    """Whether both terms of CLO train it, in one stage."""
    return has_both(run.recorded) and not starts_with_sft(run.recorded)


def is_sft(run: Run) -> bool:
    """Whether NLL in both languages alone trains it."""
    told = run.recorded
    return not compares(told) and not starts_with_sft(told) and objective(told) == "SFT"


def measures_of(study: Study) -> dict[str, Callable[[Run], Mapping[str, float]]]:
    """Heading -> points by prompt, of one run; where no row names an object, NLL beside chrF."""
    target, english, of = target_column(study), english_column(study), english_of(study)
    found: dict[str, Callable[[Run], Mapping[str, float]]] = {
        f"target {target.head}": target_of(study),
        "target right language (%)": right_language_of,
        f"English {english.head}": lambda run: of(run, "samples.jsonl"),
    }
    if target.score == "chrf":
        found[f"target {BY_KEY['target_nll'].head}"] = lambda run: nll_of(run, "target")
    if english.score == "chrf":
        found[f"English {BY_KEY['english_nll'].head}"] = lambda run: nll_of(run, "en")
    return found


def equal_rows(study: Study) -> list[EqualRow]:
    """Every such pair of arms, by language and size; empty where the study has none."""
    groups = grouped(study.runs, lambda run: (run.lang, run.size, run.base, run.label))
    places: dict[tuple[int, int], tuple[list[Run], list[Run]]] = {}
    for i, (place, ours) in enumerate(groups.items()):
        for j, (other, theirs) in enumerate(groups.items()):
            first, rival = ours[0], theirs[0]
            same = place[:3] == other[:3] and all(first.likeness(rival)) and first.batch == rival.batch
            if same and is_clo(first) and is_sft(rival):
                places[i, j] = ours, theirs
    rows = [EqualRow(r[0].lang, r[0].size, r[0].label, s[0].label, r[0].steps) for r, s in places.values()]
    for name, scores in measures_of(study).items() if rows else ():
        found = _measured([(row, *places[at]) for row, at in zip(rows, places, strict=True)], name, scores)
        rows = [replace(row, cells=row.cells | own) for row, own in zip(rows, found, strict=True)]
    return [row for row in rows if row.cells]


def _measured(
    rows: list[tuple[EqualRow, list[Run], list[Run]]], name: str, scores: Callable[[Run], Scores]
) -> list[dict[str, Comparison]]:
    """Per row, the one measure, where the two share prompts and seeds."""
    from clo.evaluation.significance import holm

    by_run = {run.folder: scores(run) for _, *both in rows for own in both for run in own}
    side = "en" if name.startswith("English") else "target"
    found: list[Comparison | None] = []
    for row, ours, theirs in rows:
        ours, theirs = ([run for run in own if by_run[run.folder]] for own in (ours, theirs))
        one = paired(ours, theirs, by_run)
        if one is None:
            found.append(None)
            continue
        (gap, low, high), p, least, *counts = astuple(one)
        place = (row.lang, row.size, row.label, row.against, row.size, side)
        detectable = least if 1e-9 < least < math.inf else None
        found.append(Comparison(*place, gap, low, high, p, detectable, *counts))
    corrected = iter(holm([one.p for one in found if one is not None]))
    return [{} if one is None else {name: replace(one, p=next(corrected))} for one in found]


def lines(rows: Sequence[EqualRow]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells as text: difference, its interval, and p where it is below 5 %."""
    names = list(dict.fromkeys(name for row in rows for name in row.cells))
    heads = ["lang", "items", "CLO", "against", "steps", "seeds", *names]
    return heads, [[*_place(row), *(_told(row.cells.get(name)) for name in names)] for row in rows]


def _place(row: EqualRow) -> list[str]:
    steps = f"{row.steps:,.0f}" if row.steps else ""
    return [row.lang, f"{row.size:,}", row.label, row.against, steps, str(row.seeds)]


def _told(one: Comparison | None) -> str:
    if one is None:
        return ""
    gap, interval, p, _ = one.numbers()
    return f"{gap} ({interval}; p {p if p.startswith('<') else f'= {p}'})"


def to_csv(rows: Sequence[EqualRow]) -> str:
    """One line per row and measure, in full precision."""
    heads = ["language", "data_size", "method", "against", "steps", "measure", "difference", "low", "high", "p"]
    told = (
        [row.lang, row.size, row.label, row.against, row.steps, name, c.gap, c.low, c.high, c.p, c.items, c.seeds]
        for row in rows
        for name, c in row.cells.items()
    )
    return csv_text([*heads, "prompts", "seeds"], told)
