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
    return sorted(chosen, key=samples.index)


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
    answers = [("start model", _by_key(start))] if start else []
    answers += [(run.label, _by_key(samples)) for run, samples in runs]
    name = str(first.results.get("lang_name") or lang)
    title = f"{name} ({lang}), {first.size:,} training items, seed {first.seed}"
    parts = [f"<h3>{escape(title)}</h3>"]
    for side, count in _PROMPTS.items():
        chosen = spread([sample for sample in shown if sample.get("side") == side], count)
        if chosen and side == "en":
            parts.append(f"<p>{SIDES[side]} prompts, same models:</p>")
        parts += [_card(sample, answers, first, side) for sample in chosen]
    return "".join(parts)


def _by_key(samples: Sequence[Sample]) -> dict[tuple[Any, Any], Sample]:
    return {(sample.get("side"), sample.get("id")): sample for sample in samples}


def _card(sample: Sample, answers: Sequence[tuple[str, Mapping[tuple[Any, Any], Sample]]], run: Run, side: str) -> str:
    code = run.lang if side == "target" else "en"
    group = sample.get("group")
    tag = f'<span class="badge">{escape(str(group))}</span>' if group else ""
    rows = [f"<dt>reference</dt><dd>{_text(sample.get('reference'), code)}</dd>"]
    for label, by_key in answers:
        answer = by_key.get((side, sample.get("id")))
        shown = _answer(answer, run.lang, side) if answer else '<span class="soft">no answer stored</span>'
        rows.append(f"<dt>{escape(label)}</dt><dd>{shown}</dd>")
    return (
        f'<article class="card"><header>{_text(sample.get("prompt"), code)}{tag}</header>'
        f"<dl>{''.join(rows)}</dl></article>"
    )


def _text(text: object, code: str) -> str:
    language = f' lang="{escape(code)}"' if code else ""
    return f'<span class="text" dir="auto"{language}>{escape(str(text or "").strip()) or "(empty)"}</span>'


def _answer(answer: Sample, lang: str, side: str) -> str:
    verdict = str(answer.get("verdict"))
    code = {"target": lang, "en": "en"}.get(verdict, "")
    state = "good" if verdict == side else "bad" if verdict in ("target", "en", "other") else ""
    badges = [(state, code or verdict)]
    if answer.get("exact"):
        badges.append(("good", "exact"))
    elif answer.get("content"):
        badges.append(("good", "right content"))
    else:
        badges.append(("bad", "\u2717" if answer.get("content") is False else "\u2717 not exact"))
    marks = "".join(f'<span class="badge {kind}">{escape(text)}</span>' for kind, text in badges)
    return _text(answer.get("answer"), code) + marks
