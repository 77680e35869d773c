"""Win rates by a judge model: what lies in the ``judge-*.json`` files of the runs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from clo.report import document
from clo.report.collect import Study
from clo.report.tables import DASH, SHORT_SIDES


@dataclass(frozen=True)
class Verdicts:
    """One side of one run against one other."""

    run: str
    """Name of the folder."""
    label: str
    lang: str
    size: int
    seed: int
    against: str
    against_label: str
    """Method and seed where ``against`` is a run of the study, else empty."""
    side: str
    n: int
    win_rate: float | None
    low: float | None
    high: float | None
    length_controlled: float | None
    wins: int
    ties: int
    losses: int
    position_bias: float | None
    disagreement: float | None
    unparsed: int
    left_out: int
    same_language: float | None
    same_language_against: float | None
    model: str
    """The judge."""
    prompts: str
    """Version of its prompts."""
    temperature: float | None


def collect_verdicts(study: Study) -> tuple[list[Verdicts], list[str]]:
    """Every judged side of the study's runs, and a sentence for each file that cannot be read."""
    names = {run.folder.name: f"{run.label}, seed {run.seed}" for run in study.runs}
    found, broken = [], []
    for run in study.runs:
        for path in sorted(run.folder.glob("judge-*.json")):
            try:
                told = json.loads(path.read_text(encoding="utf-8"))
                judge, against = told["judge"], str(told["against"])
                place = (run.folder.name, run.label, run.lang, run.size, run.seed, against, names.get(against, ""))
                found += [_verdicts(place, side, values, judge) for side, values in told["sides"].items()]
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                broken.append(f"{run.folder.name}/{path.name} cannot be read: {type(error).__name__}: {error}")
    return found, broken


def _verdicts(
    place: tuple[str, str, str, int, int, str, str], side: str, values: Mapping[str, Any], judge: Mapping[str, Any]
) -> Verdicts:
    low, high = values["interval"] or (None, None)
    same = values["same_language"]
    return Verdicts(
        *place,
        side=side,
        n=int(values["n"]),
        win_rate=values["win_rate"],
        low=low,
        high=high,
        length_controlled=values["length_controlled"],
        wins=int(values["wins"]),
        ties=int(values["ties"]),
        losses=int(values["losses"]),
        position_bias=values["position_bias"],
        disagreement=values["disagreement"],
        unparsed=int(values["unparsed"]),
        left_out=int(values["left_out"]),
        same_language=same["run"],
        same_language_against=same["against"],
        model=str(judge["model"]),
        prompts=str(judge["prompts"]),
        temperature=judge.get("temperature"),
    )


def to_csv(found: Sequence[Verdicts]) -> str:
    """One line per run, opponent and side; shares of 0 to 1 in full precision."""
    out = io.StringIO()
    names = list(Verdicts.__dataclass_fields__)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for one in found:
        values = [getattr(one, name) for name in names]
        writer.writerow(["" if value is None else value for value in values])
    return out.getvalue()


HEADS = (
    "run", "against", "lang", "items", "side", "pairs", "win rate (%)", "length-controlled (%)", "ties",
    "first preferred (%)", "orders disagree (%)", "out of format", "same language, run / against (%)", "judge, prompts",
)  # fmt: skip


def table(found: Sequence[Verdicts], links: Mapping[str, str] | None = None) -> str:
    """The HTML table.

    Args:
        found: its lines.
        links: folder of a run -> address of its page.
    """
    links = links or {}
    rows = []
    for one in found:
        rate = _percent(one.win_rate)
        if one.low is not None and one.high is not None:
            rate += f' <span class="half">[{_percent(one.low)}, {_percent(one.high)}]</span>'
        rows.append(
            (
                _linked(f"{one.label}, seed {one.seed}", links.get(one.run)),
                _linked(one.against_label or one.against, links.get(one.against)),
                one.lang, f"{one.size:,}", SHORT_SIDES.get(one.side, escape(one.side)), str(one.n), rate,
                _percent(one.length_controlled), str(one.ties), _percent(one.position_bias),
                _percent(one.disagreement), str(one.unparsed),
                f"{_percent(one.same_language)} / {_percent(one.same_language_against)}",
                f"{escape(one.model)}, <code>{escape(one.prompts)}</code>",
            )
        )  # fmt: skip
    return document.table(HEADS, rows, (0, 1, 2, 4, 13), "wraps")


def section(found: Sequence[Verdicts], broken: Sequence[str] = (), links: Mapping[str, str] | None = None) -> str:
    """The HTML section; empty where nothing was judged."""
    told = "".join(f"<li>{escape(line)}</li>" for line in broken)
    if not found:
        return f"<ul>{told}</ul>" if told else ""
    heat = sorted({str(one.temperature) for one in found})
    note = (
        "A judge model chooses between two answers to a prompt, in both orders, and a pair's preference is the mean of "
        "the two. Win rate: mean preference for the run, with the 95 % bootstrap interval over pairs in brackets. "
        "Length-controlled: the rate had both answers been of the same length. First preferred: share of decided "
        "replies that take the first answer; 50 is no bias. Orders disagree: pairs whose two verdicts differ. Out of "
        "format: replies that could not be read. Same language: answers in the language of the prompt, by the judge. "
        f"Temperature {' or '.join(heat)}. A judge has tastes of its own; read it beside the measured scores."
    )
    file = '<p class="soft">As a file: <a href="judged.csv">judged.csv</a></p>'
    return f'<p class="soft">{escape(note)}</p>{table(found, links)}{file}' + (f"<ul>{told}</ul>" if told else "")


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:.1f}"


def _linked(words: str, link: str | None) -> str:
    return f'<a href="{link}">{escape(words)}</a>' if link else escape(words)
