"""Answers side by side: a few test prompts with the reference, the start model's answer and each method's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from clo.report.collect import Run, Study
from clo.report.diagnostics import MOST_METHODS, exemplars
from clo.report.tables import SIDES

_PROMPTS = {"target": 8, "en": 3}

Sample = Mapping[str, Any]


def spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """``count`` samples, equally many of each group as far as there are, evenly spaced in file order."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(str(sample.get("group", "")), []).append(sample)
    chosen: list[Sample] = []
    for left, members in zip(range(len(groups), 0, -1), sorted(groups.values(), key=len), strict=True):
        share = min(len(members), -(-(count - len(chosen)) // left))
        chosen += [members[i * len(members) // share] for i in range(share)]
    places = {id(sample): place for place, sample in enumerate(samples)}
    return sorted(chosen, key=lambda sample: places[id(sample)])


def section(study: Study) -> str:
    """HTML of all languages; empty where no run has samples."""
    parts = [_language(study, lang) for lang in study.langs]
    if not any(parts):
        return ""
    note = (
        '<p class="soft">Prompts are taken at even distances from the test file, whatever the answers; '
        "each method's run is its first seed at the size named. A badge names the language of an answer "
        "as identified, green where it is the language of the prompt.</p>"
    )
    return note + "".join(parts)


def _language(study: Study, lang: str) -> str:
    runs = [(run, run.samples()) for run in exemplars(study, lang)[:MOST_METHODS]]
    runs = [(run, samples) for run, samples in runs if samples]
    if not runs:
        return ""
    first, shown = runs[0]
    start = next((found for run, _ in runs if (found := run.samples("start_samples.jsonl"))), [])
    answers = [("start model", by_key(start))] if start else []
    answers += [(run.label, by_key(samples)) for run, samples in runs]
    name = str(first.results.get("lang_name") or lang)
    title = f"{name} ({lang}), {first.size:,} training items, seed {first.seed}"
    parts = [f"<h3>{escape(title)}</h3>"]
    for side, count in _PROMPTS.items():
        chosen = spread([sample for sample in shown if sample.get("side") == side], count)
        if chosen and side == "en":
            parts.append(f"<p>{SIDES[side]} prompts, same models:</p>")
        parts += [card(sample, answers, first, side) for sample in chosen]
    return "".join(parts)


def by_key(samples: Sequence[Sample]) -> dict[tuple[Any, Any], Sample]:
    """Samples by side and id."""
    return {(sample.get("side"), sample.get("id")): sample for sample in samples}


def card(sample: Sample, answers: Sequence[tuple[str, Mapping[tuple[Any, Any], Sample]]], run: Run, side: str) -> str:
    """A prompt with the reference and answers, each from a (label, `by_key`)."""
    code = run.lang if side == "target" else "en"
    group = sample.get("group")
    tag = f'<span class="badge">{escape(str(group))}</span>' if group else ""
    rows = [("reference", text(sample.get("reference"), code))]
    for label, of_run in answers:
        answer = of_run.get((side, sample.get("id")))
        shown = judged_answer(answer, run.lang, side) if answer else '<span class="soft">no answer stored</span>'
        rows.append((label, shown))
    return frame(text(sample.get("prompt"), code) + tag, rows)


def frame(head: str, rows: Sequence[tuple[str, str]]) -> str:
    """A card: its heading is HTML, its rows are (label as text, HTML)."""
    body = "".join(f"<dt>{escape(label)}</dt><dd>{shown}</dd>" for label, shown in rows)
    return f'<article class="card"><header>{head}</header><dl>{body}</dl></article>'


def text(content: object, code: str) -> str:
    """What a model or a data set says, as HTML, marked with its language where ``code`` names one."""
    language = f' lang="{escape(code)}"' if code else ""
    return f'<span class="text" dir="auto"{language}>{escape(str(content or "").strip()) or "(empty)"}</span>'


def told(answer: Sample, lang: str, side: str) -> str:
    """An answer with the badge of its language and marks of lines and words in another one."""
    verdict = str(answer.get("verdict"))
    code = {"target": lang, "en": "en"}.get(verdict, "")
    state = "good" if verdict == side else "bad" if verdict in ("target", "en", "other") else ""
    badges = badge(state, code or verdict)
    lines = answer.get("right_lines")
    if isinstance(lines, int | float) and lines < 1:
        badges += badge("bad", f"{100 * lines:.0f} % of lines right")
    if answer.get("intrusion") is True:
        badges += badge("bad", "English words")
    return text(answer.get("answer"), code) + badges


def judged_answer(answer: Sample, lang: str, side: str) -> str:
    """`told`, with a badge that says whether the answer is right."""
    if answer.get("exact"):
        return told(answer, lang, side) + badge("good", "exact")
    if answer.get("content"):
        return told(answer, lang, side) + badge("good", "right content")
    return told(answer, lang, side) + badge("bad", "\u2717" if answer.get("content") is False else "\u2717 not exact")


def badge(kind: str, words: str) -> str:
    """A small mark: ``good``, ``bad``, or neither."""
    return f'<span class="badge {kind}">{escape(words)}</span>'
