"""A page for each run: configuration, scores, square, benchmarks, answers during and after training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from clo.report import answers, document, judged
from clo.report.benchmarks import FURTHER, benchmarks_of, further_of, interval_of, value_of
from clo.report.benchmarks_page import how, percent, scorer
from clo.report.collect import Run, Study, read_lines
from clo.report.comparisons import signed
from clo.report.diagnostics import matrices
from clo.report.judged import Verdicts
from clo.report.measures import Column
from clo.report.tables import DASH, MINUS, SIDES

MOST_ANSWERS = 200
"""Test prompts on a page."""

_CONFIG = ("method", "tuning", "model", "data", "optimizer", "evaluation", "batch_size", "trainer.precision")
"""Groups and keys that decide a result, in the order of the page."""

_SCORES = (
    Column("", "", "exact, seen (%)", "exact", "seen"),
    Column("", "", "exact, unseen (%)", "exact", "unseen"),
    Column("", "", "exact (%)", "exact"),
    Column("", "", "content (%)", "content"),
    Column("", "", "chrF", "chrf", factor=1.0),
    Column("", "", "right language (%)", "language_ok"),
    Column("", "", "all lines right (%)", "lines_ok"),
    Column("", "", "English words inside (%)", "intrusion"),
    Column("", "", "NLL (nats per token)", "nll", factor=1.0),
)


def title_of(run: Run) -> str:
    """Such as ``clo, Swahili (sw), 400 items, seed 0``."""
    name = str(run.results.get("lang_name") or run.lang)
    return f"{run.label}, {name} ({run.lang}), {run.size:,} items, seed {run.seed}"


def run_page(study: Study, run: Run, verdicts: Sequence[Verdicts] = (), links: Mapping[str, str] | None = None) -> str:
    """The page of a run, to lie in ``report/runs``.

    Args:
        study: of the run.
        run: whose page it is.
        verdicts: of judges on this run.
        links: folder of a run -> address of its page from this one.
    """
    folder = document.address(run.folder.name)
    top = (
        f'<p class="soft"><a href="../report.html">Study {escape(study.name)}</a></p><h1>{escape(title_of(run))}</h1>'
        f'<p class="soft">Folder <code>{escape(run.folder.name)}</code></p>'
    )
    parts = [
        ("scores", "Scores before and after", _scores(run)),
        ("square", "The square", _square(run)),
        ("benchmarks", "Benchmarks", _benchmarks(run)),
        ("judged", "Judged win rates", judged.table(verdicts, links) if verdicts else ""),
        ("config", "Configuration", _config(run, f"../../{folder}/config.yaml")),
        ("watched", "Answers during training", _watched(run)),
        ("answers", "Test answers", _answers(run)),
    ]
    return document.document(f"{run.folder.name}: {study.name}", f"{top}\n{document.sections(parts)}")


def _scores(run: Run) -> str:
    parts = []
    for side, words in SIDES.items():
        rows = []
        for column in _SCORES:
            before, after = (run.score(side, column.score, column.group, when) for when in ("start", "scores"))
            if before is None and after is None:
                continue
            rows.append(
                (column.head, *(_score(value, column) for value in (before, after)), _gain(before, after, column))
            )
        if rows:
            heads = (escape(words), "before", "after", "change")
            parts.append(f'<div class="half-wide">{document.table(heads, rows)}</div>')
    return f'<div class="beside">{"".join(parts)}</div>' if parts else ""


def _score(value: float | None, column: Column) -> str:
    if value is None:
        return DASH
    return f"{value:.2f}" if column.score == "nll" else f"{value * column.factor:.1f}"


def _gain(before: float | None, after: float | None, column: Column) -> str:
    if before is None or after is None:
        return DASH
    if column.score == "nll":
        return f"{after - before:+.2f}".replace("-", MINUS)
    return signed((after - before) * column.factor)


def _square(run: Run) -> str:
    square = matrices(run)
    if not square:
        return ""
    names = [escape(str(name)) for name in square["languages"]]
    parts = []
    for key in ("before", "after"):
        rows = [
            (name, *(f"{value:.2f}".replace("-", MINUS) if math.isfinite(value) else DASH for value in line))
            for name, line in zip(names, square[key], strict=True)
        ]
        heads = (key, *(f"response {name}" for name in names))
        parts.append(f'<div class="half-wide">{document.table(heads, rows)}</div>')
    note = (
        "Mean log-prob per token (nats) of the held-out responses: language of the prompt down, of the response across."
    )
    return f'<div class="beside">{"".join(parts)}</div><p class="soft">{note}</p>'


def _benchmarks(run: Run) -> str:
    start = {(asked, side): summary for asked, side, summary in benchmarks_of(run, "start")}
    rows, told = [], {}
    for asked, side, summary in benchmarks_of(run):
        before, after = value_of(start.get((asked, side))), value_of(summary)
        assert after is not None
        low, high = interval_of(summary)
        further = ", ".join(f"{FURTHER[key]} {percent(value)}" for key, value in further_of(summary).items())
        rows.append(
            (
                escape(asked.title), SIDES[side], percent(before), percent(after), f"{percent(low)} to {percent(high)}",
                DASH if before is None else signed(100 * (after - before)), percent(summary.get("chance")),
                str(summary.get("n", DASH)), further,
            )
        )  # fmt: skip
        told[asked] = how(asked, scorer(run), named=True)
    if not rows:
        return ""
    heads = (
        "benchmark",
        "side",
        "before (%)",
        "after (%)",
        "95 % over rows",
        "change",
        "chance (%)",
        "rows",
        "also (%)",
    )
    return document.table(heads, rows, (0, 1, 8)) + "".join(told.values())


def _config(run: Run, link: str) -> str:
    assumed = run.results.get("assumed")
    assumed = set(assumed) if isinstance(assumed, dict) else set()
    rows = []
    for group in _CONFIG:
        for key, value in run.config.items():
            inside = key == group or key.startswith(f"{group}.")
            if inside and value != "null" and not key.startswith("model.recipe."):
                own = key in assumed or key.rpartition(".")[2] in assumed
                rows.append((key, text_of(value) + (answers.badge("", "assumed") if own else "")))
    train = run.results.get("train")
    for key, value in train.items() if isinstance(train, dict) else ():
        if isinstance(value, int | float):
            rows.append((f"train: {key}", f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"))
    cells = "".join(f"<div><dt>{escape(key)}</dt><dd>{value}</dd></div>" for key, value in rows)
    whole = f'<p class="soft">Everything: <a href="{link}">config.yaml</a></p>' if run.config else ""
    return f'<dl class="facts">{cells}</dl>{whole}' if cells else whole


def text_of(value: str) -> str:
    """A configuration value as code."""
    return f"<code>{escape(value)}</code> "


def _watched(run: Run) -> str:
    """The same prompts at every validation, one card per prompt."""
    looks: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for look in read_lines(run.folder / "watched.jsonl"):
        looks.setdefault((str(look.get("side")), str(look.get("id"))), []).append(look)
    several = len({str(line.get("stage")) for lines in looks.values() for line in lines}) > 1
    cards = []
    for (side, _), lines in looks.items():
        rows = []
        for line in lines:
            place = f"{line.get('stage')}, step" if several else "step"
            rows.append((f"{place} {line.get('step')}", answers.told(line, run.lang, side)))
        prompt = answers.text(lines[0].get("prompt"), "en" if side == "en" else run.lang)
        cards.append(answers.frame(prompt, rows))
    return "".join(cards)


def _answers(run: Run) -> str:
    samples = run.samples()
    start = answers.by_key(run.samples("start_samples.jsonl"))
    sides = {side: [one for one in samples if one.get("side") == side] for side in SIDES}
    every, english = sum(map(len, sides.values())), len(sides["en"])
    columns = ([("start model", start)] if start else []) + [(run.label, answers.by_key(samples))]
    parts: list[str] = []
    left = MOST_ANSWERS
    for side, own in sides.items():
        # Half of the page is either side's, and what the one does not need is the other's.
        chosen = answers.spread(own, min(len(own), left if side == "en" else max(left // 2, left - english)))
        left -= len(chosen)
        if chosen:
            told = f"{len(chosen)} of {len(own)}" if len(chosen) < len(own) else str(len(own))
            parts.append(f"<h3>{SIDES[side]} prompts ({told})</h3>")
            parts += [answers.card(one, columns, run, side) for one in chosen]
    if not parts:
        return ""
    shown = MOST_ANSWERS - left
    cut = f" Of {every} prompts {shown} are shown, at even distances in the file." if every > shown else ""
    note = (
        "A badge names the language of an answer as identified, green where it is the language of the prompt. Answers "
        f"with lines in another language, or with English words among other letters, say so.{cut}"
    )
    return f'<p class="soft">{escape(note)}</p>{"".join(parts)}'
