"""The page of a study of mixtures, and what of it is printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clo.report.claim_results import ClaimResult
from clo.report.collect import Run, Study, grouped
from clo.report.guide.claims import GUIDE_RULE
from clo.report.guide.curves import Lines, curve_lines, gap_lines, level_text
from clo.report.guide.find import FILES, Guide
from clo.report.guide.joint import pair_lines
from clo.report.guide.variance import explained_lines
from clo.report.render import render
from clo.report.report_page import picture
from clo.report.terminal import NARROW, entry, table_of
from clo.storage.files import write_text

if TYPE_CHECKING:
    from rich.console import Console

NAME = "guide.html"


def write_guide_page(study: Study, guide: Guide | None, folder: Path, drawn: Mapping[str, Any]) -> None:
    """Write ``guide.html`` with the figures that were drawn; without mixtures an earlier one goes."""
    if guide is None:
        (folder / NAME).unlink(missing_ok=True)
    else:
        write_text(folder / NAME, guide_page(study, guide, folder, drawn))


def guide_page(study: Study, guide: Guide, folder: Path, drawn: Mapping[str, Any]) -> str:
    """The page; ``drawn`` are the PNG files in ``folder``."""
    mixtures = guide.mixtures
    pictures: dict[str, list[tuple[str, Any, str, int]]] = {}
    for name, told in drawn.items():
        words = {key: value for key, value in told.items() if key != "kind"}
        pictures.setdefault(told["kind"], []).append((name, words, *picture(folder / f"{name}.png")))
    names = {run.home: run for run in study.runs}
    return render(
        "guide.html",
        study=study,
        guide=guide,
        mixtures=mixtures,
        pictures=pictures,
        claims=[(claim.words, own) for claim, own in grouped(guide.claims, lambda one: one.claim).items()],
        counts=Counter(one.verdict for one in guide.claims),
        RULE=GUIDE_RULE,
        curves={task: brief(curve_lines(own)) for task, own in grouped(guide.curves, lambda one: one.task).items()},
        gaps=brief(gap_lines(guide.gaps)),
        joint=brief(pair_lines(guide.pairs)),
        variance=brief(explained_lines(guide.explained)),
        advice=example(guide),
        kept=kept([names[run.folder] for run in mixtures.runs]),
        files=[name for name in FILES if name in guide.files()],
        amounts=sorted({run.amount for run in mixtures.runs}),
        english=sorted({run.rows.get(task, {}).get(run.source, 0) for run in mixtures.runs for task in run.tasks}),
    )


def brief(lines: Lines) -> Lines:
    """Lines without the column of the method where it is the same in all."""
    heads, rows = lines
    place = heads.index("method")
    if len({row[place] for row in rows}) > 1:
        return lines
    return [head for head in heads if head != "method"], [[*row[:place], *row[place + 1 :]] for row in rows]


def kept(runs: Sequence[Run]) -> list[str]:
    """Which weights the runs are scored with, in words."""
    found = set()
    for run in runs:
        times = run.config.get("evaluation.validations")
        often = f" of {times} validations" if times else ""
        best = run.config.get("trainer.keep") == "best"
        found.add(f"the weights with the lowest loss on held-out rows{often}" if best else "the last weights")
    return sorted(found)


def example(guide: Guide) -> str:
    """A command that asks for advice on this study."""
    mixtures = guide.mixtures
    run = max(mixtures.runs, key=lambda one: one.total)
    target = next((lang for lang in mixtures.languages if lang != mixtures.source), mixtures.source)
    return f"task={mixtures.tasks[0]} target={target} budget={run.total}"


def print_guide(console: Console, guide: Guide) -> None:
    """Where curves level off, how the variance is parted, and the sentences with their verdicts."""
    heads = ["model", "method", "mixture", "task", "languages", "rows"]
    cells = [[c.arm.model, c.arm.method, c.arm.label, c.task, c.group, level_text(c)] for c in guide.curves]
    console.print(table_of("Where 95 % of the peak is reached", *brief((heads, cells)), ()))
    if guide.explained:
        console.print(table_of("Percent of the variance over runs", *brief(explained_lines(guide.explained)), ()))
    title, several = "The Post-trainer's Guide (arXiv 2504.16677)", len(guide.mixtures.methods) > 1
    lines = [claim_cells(one, several) for one in guide.claims]
    if console.width >= NARROW:
        heads = ["the guide's sentence", *(["method"] if several else []), "verdict", "numbers (95 %)", "claimed"]
        console.print(table_of(title, heads, lines, ()))
    else:
        console.print(f"{title}\n", markup=False)
        names = [*(["method"] if several else []), "", "numbers", "claimed"]
        for words, *told in lines:
            entry(console, words, dict(zip(names, told, strict=True)))
    console.print(GUIDE_RULE, markup=False)
    for one in guide.mixtures.left_out:
        console.print(f"Not among the mixtures: {one}", markup=False)


def claim_cells(one: ClaimResult, several: bool) -> list[str]:
    """A sentence with its verdict, as cells."""
    verdict = f"{one.verdict} ({one.reason})" if one.reason else one.verdict
    numbers = "; ".join(map(str, one.effects))
    return [
        one.claim.words,
        *([one.arm] if several else []),
        verdict,
        numbers,
        one.claim.claimed if one.effects else "",
    ]
