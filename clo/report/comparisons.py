"""Which differences of a study are more than chance: methods against a baseline, at equal data and at half of it."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Literal

from clo.report.collect import Run, Study
from clo.report.tables import DASH, MINUS

LEVEL = 0.05
"""Family-wise error rate."""

Verdict = Literal["better", "worse", "not told"]


@dataclass(frozen=True)
class Comparison:
    """One method against the baseline, on one side."""

    lang: str
    size: int
    label: str
    against: str
    against_size: int
    side: str
    """``target`` or ``en``."""
    gap: float
    """Points of chrF."""
    low: float
    high: float
    p: float
    """Corrected over all comparisons of the side."""
    detectable: float
    items: int
    seeds: int

    @property
    def verdict(self) -> Verdict:
        """What may be said at 5 %, corrected."""
        if self.p >= LEVEL:
            return "not told"
        return "better" if self.gap > 0 else "worse"


def compare_study(study: Study, against: str) -> list[Comparison]:
    """All comparisons of a study with a baseline method: N against N items, and N against 2N.

    Scores are chrF per test prompt; only prompts and seeds that both have are compared. P-values are corrected by
    Holm's method over all comparisons of a side.
    """
    from clo.evaluation.significance import holm

    found = []
    for side in ("target", "en"):
        scores = {run.folder: _scores(run, side) for run in study.runs}
        found += compare_side(study, against, side, scores)
    corrected: dict[int, float] = {}
    for side in ("target", "en"):
        places = [k for k, c in enumerate(found) if c.side == side]
        corrected |= dict(zip(places, holm([found[k].p for k in places]), strict=True))
    return [replace(c, p=corrected[k]) for k, c in enumerate(found)]


def compare_side(
    study: Study, against: str, side: str, scores: Mapping[Path, Mapping[str, float]], halved: bool = True
) -> list[Comparison]:
    """Comparisons of one side, their p-values not corrected yet.

    Args:
        study: the runs.
        against: label of the baseline.
        side: ``target`` or ``en``.
        scores: folder of a run -> item -> score; runs without any are left out.
        halved: whether to compare with the baseline at twice the data as well.
    """
    groups: dict[tuple[str, int, str, tuple[str, str]], list[Run]] = defaultdict(list)
    for run in study.runs:
        if scores.get(run.folder):
            groups[run.lang, run.size, run.label, run.base].append(run)
    found = []
    for (lang, size, label, base), runs in groups.items():
        if label == against:
            continue
        for rival_size in (size, 2 * size) if halved else (size,):
            rivals = groups.get((lang, rival_size, against, base), [])
            pairs = [(r, s) for r in runs for s in rivals if r.seed == s.seed]
            shared = set.intersection(*(set(scores[run.folder]) for pair in pairs for run in pair)) if pairs else set()
            if not shared:
                continue
            ids = sorted(shared)
            a = [[scores[run.folder][i] for i in ids] for run, _ in pairs]
            b = [[scores[rival.folder][i] for i in ids] for _, rival in pairs]
            found.append(_compared(lang, size, label, against, rival_size, side, a, b))
    return found


def _compared(
    lang: str,
    size: int,
    label: str,
    against: str,
    against_size: int,
    side: str,
    a: Sequence[Sequence[float]],
    b: Sequence[Sequence[float]],
) -> Comparison:
    from clo.evaluation.significance import difference

    d = difference(a, b)
    assert d.interval.low is not None and d.interval.high is not None
    gap, low, high = d.interval.value, d.interval.low, d.interval.high
    return Comparison(
        lang, size, label, against, against_size, side, gap, low, high, d.p, d.detectable, d.items, d.seeds
    )


def _scores(run: Run, side: str) -> dict[str, float]:
    """Score by prompt, chrF; samples without one are left out."""
    return {
        str(sample["id"]): float(sample["chrf"])
        for sample in run.samples()
        if sample.get("side") == side and isinstance(sample.get("chrf"), int | float) and "id" in sample
    }


HEADS = (
    "lang",
    "method",
    "items",
    "against",
    "items",
    "prompts",
    "seeds",
    "chrF difference",
    "95 %",
    "p",
    "detectable",
)


def to_csv(comparisons: Sequence[Comparison]) -> str:
    """One line per comparison, full precision."""
    out = io.StringIO()
    names = [*Comparison.__dataclass_fields__, "verdict"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(c, name) for name in names] for c in comparisons)
    return out.getvalue()


def summary(comparisons: Sequence[Comparison]) -> list[str]:
    """A sentence per side."""
    lines = []
    for side, words in (("target", "In the target language"), ("en", "In English")):
        mine = [c for c in comparisons if c.side == side]
        if mine:
            counts = {v: sum(c.verdict == v for c in mine) for v in ("better", "worse", "not told")}
            alone = all(c.seeds == 1 for c in mine)
            over = "prompts of one seed: another may differ" if alone else "prompts and seeds"
            lines.append(
                f"{words}, of {len(mine)} comparisons with {mine[0].against}: {counts['better']} better, "
                f"{counts['worse']} worse, {counts['not told']} not to be told from chance "
                f"(Holm-corrected at {100 * LEVEL:.0f} %, paired tests over {over})."
            )
    return lines


def section(comparisons: Sequence[Comparison], links: Mapping[Comparison, str] | None = None) -> str:
    """The HTML section; empty without comparisons.

    Args:
        comparisons: what `compare_study` found.
        links: comparison -> address of its own page.
    """
    links = links or {}
    if not comparisons:
        return ""
    parts = ["".join(f"<p>{escape(line)}</p>" for line in summary(comparisons))]
    parts.append(
        "<p class='soft'>Detectable: the smallest true difference that these prompts and seeds would show 4 times "
        "in 5. A line that tells nothing does not say that two methods are equal, only that a difference is likely "
        "smaller than that. One seed says nothing about other seeds.</p>"
    )
    for side, title in (("target", "Target language"), ("en", "English")):
        mine = [c for c in comparisons if c.side == side]
        for halved, words in ((False, "at equal data"), (True, "with half of the baseline's data")):
            rows = "".join(_row(c, links.get(c, "")) for c in mine if (c.against_size != c.size) == halved)
            if rows:
                heads = "".join(f'<th class="{"left" if k in (0, 1, 3) else ""}">{h}</th>' for k, h in enumerate(HEADS))
                parts.append(
                    f"<h3>{title}, {words}</h3><div class='scroll' tabindex='0'><table><thead><tr>{heads}"
                    f"<th class='left'>verdict</th></tr></thead><tbody>{rows}</tbody></table></div>"
                )
    return "".join(parts)


def _row(c: Comparison, link: str = "") -> str:
    label = f'<a href="{escape(link)}">{escape(c.label)}</a>' if link else escape(c.label)
    texts = (c.lang, label, f"{c.size:,}", c.against, f"{c.against_size:,}", str(c.items), str(c.seeds), *numbers(c))
    cells = "".join(
        f'<td class="{"left" if k in (0, 1, 3) else ""}">{text if k == 1 else escape(text)}</td>'
        for k, text in enumerate(texts)
    )
    return f'<tr>{cells}<td class="left">{verdict(c)}</td></tr>'


def numbers(c: Comparison) -> tuple[str, str, str, str]:
    """Difference, its interval, p-value and detectable difference as text."""
    p = f"{c.p:.3f}" if c.p >= 0.001 else "< 0.001"
    detectable = DASH if c.detectable == float("inf") else f"{c.detectable:.1f}"
    return signed(c.gap), f"{signed(c.low)} to {signed(c.high)}", p, detectable


def verdict(c: Comparison) -> str:
    """The verdict as HTML, bold where there is one."""
    return f"<b>{c.verdict}</b>" if c.verdict != "not told" else c.verdict


def signed(value: float) -> str:
    """With its sign, a minus being a minus and a rounded zero having none."""
    text = f"{value:+.1f}"
    return (text.lstrip("+-") if float(text) == 0 else text).replace("-", MINUS)
