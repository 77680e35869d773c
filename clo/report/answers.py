"""Answers side by side: a few test prompts with the reference, the start model's answer and each method's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clo.report.collect import MOST_METHODS, Run, Study, grouped
from clo.report.formats import SIDES

_PROMPTS = {"target": 8, "en": 3}

Sample = Mapping[str, Any]


@dataclass(frozen=True)
class Said:
    """What a model or a data set says, as a page shows it."""

    text: str
    code: str = ""
    """Its language; empty where that is not known."""
    badges: tuple[tuple[str, str], ...] = ()
    """(``good``, ``bad`` or empty, words) of what is known about it."""

    def but(self, kind: str, words: str) -> Said:
        """The same with one more badge."""
        return replace(self, badges=(*self.badges, (kind, words)))


@dataclass(frozen=True)
class Card:
    """A prompt and what was said to it."""

    prompt: Said
    rows: Sequence[tuple[str, Said | None]]
    """(Who said it or when, what), None where no answer is stored."""


def spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """``count`` samples, equally many of each group as far as there are, evenly spaced in file order."""
    groups = grouped(range(len(samples)), lambda place: str(samples[place].get("group", "")))
    chosen: list[int] = []
    for left, members in zip(range(len(groups), 0, -1), sorted(groups.values(), key=len), strict=True):
        share = min(len(members), -(-(count - len(chosen)) // left))
        chosen += [members[i * len(members) // share] for i in range(share)]
    return [samples[place] for place in sorted(chosen)]


def side_by_side(study: Study) -> list[tuple[str, dict[str, list[Card]]]]:
    """(Title, side -> cards) of each language that has samples."""
    found = []
    for lang in study.langs:
        runs = [(run, samples) for run in study.exemplars(lang)[:MOST_METHODS] if (samples := run.samples())]
        if not runs:
            continue
        first, shown = runs[0]
        start = next((told for run, _ in runs if (told := run.samples("start_samples.jsonl"))), [])
        answers = [("start model", by_key(start))] if start else []
        answers += [(run.label, by_key(samples)) for run, samples in runs]
        chosen = {side: spread([one for one in shown if one.get("side") == side], n) for side, n in _PROMPTS.items()}
        cards = {side: [card(sample, answers, first, side) for sample in own] for side, own in chosen.items()}
        found.append((f"{first.lang_name} ({lang}), {first.size:,} training items, seed {first.seed}", cards))
    return found


def by_key(samples: Sequence[Sample]) -> dict[tuple[str, str], Sample]:
    """Samples by side and id."""
    return {(str(sample.get("side")), str(sample.get("id"))): sample for sample in samples}


def said(content: object, code: str) -> Said:
    """A prompt or a reference in a language."""
    return Said(str(content or "").strip(), code)


def card(sample: Sample, answers: Sequence[tuple[str, Mapping[tuple[str, str], Sample]]], run: Run, side: str) -> Card:
    """A prompt with the reference and answers, each from a (label, `by_key`)."""
    code = run.lang if side == "target" else "en"
    prompt, group = said(sample.get("prompt"), code), sample.get("group")
    rows: list[tuple[str, Said | None]] = [("reference", said(sample.get("reference"), code))]
    for label, of_run in answers:
        answer = of_run.get((side, str(sample.get("id"))))
        rows.append((label, None if answer is None else judged_answer(answer, run.lang, side)))
    return Card(prompt.but("", str(group)) if group else prompt, rows)


def told(answer: Sample, lang: str, side: str) -> Said:
    """An answer with a badge of its language, and others of lines and words in another one."""
    verdict = str(answer.get("verdict"))
    code = {"target": lang, "en": "en"}.get(verdict, "")
    state = "good" if verdict == side else "bad" if verdict in (*SIDES, "other") else ""
    found = said(answer.get("answer"), code).but(state, code or verdict)
    lines = answer.get("right_lines")
    if isinstance(lines, int | float) and lines < 1:
        found = found.but("bad", f"{100 * lines:.0f} % of lines right")
    return found.but("bad", "English words") if answer.get("intrusion") is True else found


def judged_answer(answer: Sample, lang: str, side: str) -> Said:
    """`told`, with a badge that says whether the answer is right."""
    found = told(answer, lang, side)
    if answer.get("exact"):
        return found.but("good", "exact")
    if answer.get("content"):
        return found.but("good", "right content")
    return found.but("bad", "\u2717" if answer.get("content") is False else "\u2717 not exact")
