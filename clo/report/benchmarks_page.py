"""The section of the benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

from clo.report import document
from clo.report.benchmarks import FURTHER, SIDES, Asked, Mark, Marks, left_out
from clo.report.collect import Run, Study
from clo.report.comparisons import numbers, signed, verdict
from clo.report.measures import mean_of
from clo.report.tables import DASH
from clo.report.tables import SIDES as SIDE_WORDS

_NOTE = (
    "Share of right rows in %. Several seeds: mean ± half-width of the 95 % t-interval over them. One seed, and the "
    "start model: the 95 % bootstrap interval over the rows in brackets. Change: difference to the start model, in "
    "points. Chance: what guessing gets."
)


def section(study: Study, found: Marks) -> str:
    """The HTML section; empty where no run was asked anything."""
    harness = _harness(study)
    missing = "".join(f"<li>{escape(line)}</li>" for line in left_out(study))
    if not (found.marks or harness):
        return ""
    parts = [f'<p class="soft">{_NOTE}</p>'] if found.marks else []
    for asked in found.asked:
        marks = [mark for mark in found.marks if mark.asked == asked]
        parts.append(f"<h3>{escape(asked.title)}</h3>{_table(study, marks)}{how(asked, _scorer(study), marks)}")
        parts.append(_tests(found, asked))
    parts.append(harness)
    parts.append(f"<h3>Left out</h3><ul>{missing}</ul>" if missing else "")
    files = [("benchmarks.csv", True), ("benchmark_tests.csv", bool(found.tests))]
    links = " ".join(f'<a href="{name}">{name}</a>' for name, there in files if there)
    return "".join(parts) + (f'<p class="soft">As files: {links}</p>' if found.marks else "")


def percent(value: float | None) -> str:
    """A share as text."""
    return DASH if value is None else f"{100 * value:.1f}"


def with_interval(mark: Mark) -> str:
    """Accuracy and its interval as HTML."""
    text = percent(mark.mean)
    if mark.low is None or mark.high is None:
        return text
    half = f"± {percent((mark.high - mark.low) / 2)}"
    told = half if mark.runs > 1 else f"[{percent(mark.low)}, {percent(mark.high)}]"
    return f'{text} <span class="half">{told}</span>'


def how(asked: Asked, scorer: str, marks: Sequence[Mark] = (), named: bool = False) -> str:
    """What is needed to ask the same again; ``named`` begins with the benchmark's title."""
    shots = f"{asked.shots} examples, {asked.shots_from}" if asked.shots else "no examples"
    template = f"inside the chat turns of template {asked.template}" if asked.template else "as plain text"
    counts = sorted({mark.n for mark in marks})
    rows = f"; {' or '.join(map(str, counts))} rows" if counts else ""
    words = f"{shots}; prompt {template}{rows}; {scorer}."
    prompt = escape(asked.prompt.replace("\n", "\\n"))
    title = f"<b>{escape(asked.title)}</b>" if named else "To repeat it"
    return f'<p class="soft">{title}: {escape(words)} Prompt: <code>{prompt}</code></p>'


def _scorer(study: Study) -> str:
    return " or ".join(sorted({scorer(run) for run in study.runs}))


def scorer(run: Run) -> str:
    """Who scored, with versions."""
    versions = run.results.get("versions")
    versions = versions if isinstance(versions, dict) else {}
    named = [f"{name} {versions[name]}" for name in ("clo", "torch", "transformers") if name in versions]
    return (
        f"scored by {named[0]}'s own scorer" + (f" ({', '.join(named[1:])})" if named[1:] else "")
        if named
        else ("scored by clo's own scorer, version not recorded")
    )


def _table(study: Study, marks: Sequence[Mark]) -> str:
    further = [key for key in FURTHER if any(key in dict(mark.further) for mark in marks)]
    sides = [side for side in SIDES if any(mark.side == side for mark in marks)]
    own = ["exact" if marks[0].asked.scoring == "span" else "accuracy", "change", *(FURTHER[key] for key in further)]
    groups = "".join(f'<th class="side" colspan="{len(own)}">{SIDE_WORDS[side]}</th>' for side in sides)
    heads = "".join(f'<th class="measure">{head}</th>' for _ in sides for head in own)
    names = {run.lang: str(run.results.get("lang_name") or run.lang) for run in study.runs}
    rank = {label: number for number, label in enumerate(study.labels)}
    lines = []
    ordered = sorted(marks, key=lambda m: (m.lang, m.size or 0, rank.get(m.label, -1), m.label))
    for (lang, size), cell in groupby(ordered, lambda m: (m.lang, m.size)):
        words = "before training" if size is None else f"{size:,} training items"
        title = escape(f"{names[lang]} ({lang}), {words}")
        lines.append(f'<tr class="group"><th colspan="{4 + len(own) * len(sides)}"><span>{title}</span></th></tr>')
        for label, row in groupby(cell, lambda m: m.label):
            by_side = {mark.side: mark for mark in row}
            cells = [text for side in sides for text in _cells(by_side.get(side), further)]
            there = [by_side[side] for side in sides if side in by_side]
            cells += [_either([percent(m.chance) for m in there]), _either([f"{m.n:,}" for m in there])]
            runs = max(mark.runs for mark in there)
            body = "".join(f"<td>{text}</td>" for text in [str(runs or ""), *cells])
            kind = ' class="start"' if size is None else ""
            lines.append(f'<tr{kind}><th scope="row">{escape(label)}</th>{body}</tr>')
    return (
        f'<div class="scroll" tabindex="0"><table class="numbers"><thead><tr><th></th><th></th>{groups}<th></th><th>'
        f'</th></tr><tr><th class="left">method</th><th>runs</th>{heads}<th>chance</th><th>rows</th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cells(mark: Mark | None, further: Sequence[str]) -> list[str]:
    if mark is None:
        return [DASH] * (2 + len(further))
    change = "" if mark.size is None else DASH if mark.change is None else signed(100 * mark.change)
    return [with_interval(mark), change, *(percent(dict(mark.further).get(key)) for key in further)]


def _either(texts: Sequence[str]) -> str:
    return " / ".join(dict.fromkeys(texts))


def _tests(found: Marks, asked: Asked) -> str:
    tests = found.tests.get(asked, [])
    rows = [
        (SIDE_WORDS[c.side], c.lang, escape(c.label), f"{c.size:,}", escape(c.against), str(c.items), str(c.seeds),
         *map(escape, numbers(c)), verdict(c))
        for c in tests
    ]  # fmt: skip
    if not rows:
        return ""
    heads = ("side", "lang", "method", "items", "against", "rows", "seeds", "difference", "95 %", "p", "detectable")
    note = (
        "Paired over shared rows and seeds, points of accuracy; p corrected by Holm's method over this table's lines "
        "of one side. Detectable: the smallest true difference that these rows and seeds would show 4 times in 5."
    )
    return document.table([*heads, "verdict"], rows, (0, 1, 2, 4, 11)) + f'<p class="soft">{note}</p>'


def _harness(study: Study) -> str:
    """Results of lm-evaluation-harness, task by task and metric by metric."""
    groups: dict[tuple[Any, ...], list[tuple[float, float | None]]] = {}
    told: list[str] = []
    for run in study.runs:
        found = run.results.get("benchmarks")
        found = found.get("lm_eval") if isinstance(found, dict) else None
        results = found.get("results") if isinstance(found, dict) else None
        if not isinstance(found, dict) or not isinstance(results, dict):
            continue
        for task, metrics in results.items():
            for metric, value in metrics.items() if isinstance(metrics, dict) else ():
                if isinstance(value, int | float) and "_stderr" not in metric:
                    error = metrics.get(metric.replace(",", "_stderr,", 1))
                    key = (run.lang, run.size, run.label, str(task), str(metric))
                    groups.setdefault(key, []).append((value, error if isinstance(error, int | float) else None))
        told += [f"{found.get('harness', 'lm-eval, version not recorded')}.", *_shots(found)]
    rows: list[tuple[str, ...]] = []
    for (lang, size, label, task, metric), values in groups.items():
        mean = mean_of([value for value, _ in values])
        assert mean is not None
        half = mean.half if mean.n > 1 else None if values[0][1] is None else 1.96 * values[0][1]
        text = f"{mean.mean:.3f}" + ("" if half is None else f' <span class="half">± {half:.3f}</span>')
        rows.append((escape(task), escape(metric), lang, f"{size:,}", escape(label), str(mean.n), text))
    if not rows:
        return ""
    heads = ("task", "metric", "lang", "items", "method", "runs", "value")
    note = " ".join(dict.fromkeys(told)) + (
        " In the harness's own unit; ± is the 95 % t-interval over seeds, for one run 1.96 of the harness's standard "
        "errors."
    )
    rows.sort(key=lambda row: row[:2])  # runs stay in the order of the study
    body = document.table(heads, rows, (0, 1, 2, 4))
    return f'<h3>lm-evaluation-harness</h3>{body}<p class="soft">{escape(note)}</p>'


def _shots(found: Mapping[str, Any]) -> list[str]:
    shots, places = found.get("shots"), found.get("shots_from")
    places = places if isinstance(places, dict) else {}
    caveats = found.get("caveats")
    lines = [
        f"{task}: {n} examples" + (f" from {places[task]}." if places.get(task) else ".")
        for task, n in (shots.items() if isinstance(shots, dict) else ())
    ]
    return lines + [f"{line}." for line in (caveats if isinstance(caveats, list) else ())]
