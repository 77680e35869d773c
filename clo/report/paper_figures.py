"""Figures in the paper's form: SFT and CLO by the number of items, gains by tier, and bars of the ablations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from clo.report.arms import objective, weights
from clo.report.collect import Run, Study, grouped, nearest
from clo.report.equal import is_clo
from clo.report.findings import Findings
from clo.report.formats import few_seeds
from clo.report.measures import Column, Mean, english_column, mean_of, measure, target_column
from clo.report.paper_gains import GainRow
from clo.report.style import SIDE_COLOURS, START, WIDTH, Drawing, legend, looks, new_figure, whisker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TIERS = ("high", "medium", "low")
"""Of the paper, in its order."""


def curves(found: Findings) -> Drawing | None:
    """SFT and CLO in the target language by the number of items, and from where CLO reaches SFT at the most items."""
    study, column = found.study, target_column(found.study)
    panels = {lang: both for lang in study.langs if (both := _sft_and_clo(study, lang)) is not None}
    if not panels:
        return None
    wide = min(3, len(panels))
    rows = -(-len(panels) // wide)
    figure, grid = new_figure(rows, wide, max(WIDTH, 3.1 * wide), 1.1 + 2.7 * rows, sharey=True)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    few = False
    palette = looks(["SFT", "CLO"])
    for axes, (lang, both) in zip(grid.flat, panels.items(), strict=False):
        ends = []
        for name, shift in (("SFT", 0.99), ("CLO", 1.01)):  # so that whiskers stand side by side
            means = _means(both[name], column)
            few = few or any(few_seeds(mean.n) for mean in means.values())
            values = [mean.mean * column.factor for mean in means.values()]
            axes.plot([shift * size for size in means], values, label=name, markersize=7, **palette[name].points)
            for size, mean in means.items():
                if mean.half is not None:
                    half = mean.half * column.factor
                    whisker(axes, shift * size, mean.mean * column.factor, palette[name].color, mean.n, yerr=half)
            ends.append(values[-1])
        sizes = sorted({run.size for runs in both.values() for run in runs})
        axes.axhline(ends[0], label="SFT, most items", **START | {"linestyle": ":"})
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("training items")
        axes.set_title(lang, fontweight="bold")
    for axes in grid[:, 0]:
        axes.set_ylabel(f"target {column.head.replace(' (%)', ', %')}")
    legend(figure, grid[0, 0])
    labels = {runs[0].label for both in panels.values() for runs in both.values()}
    return figure, {"labels": sorted(labels), "few": few}


def _sft_and_clo(study: Study, lang: str) -> dict[str, list[Run]] | None:
    """Runs of one arm of either, which share two sizes at least; CLO's of most sizes, SFT's most like it."""
    there = [run for run in study.runs if run.lang == lang]
    clo = grouped((r for r in there if is_clo(r) and objective(r.recorded) == "CLO"), lambda r: (r.label, r.base))
    if not clo:
        return None
    ours = max(clo.values(), key=lambda runs: (weights(runs[0].recorded) == "attention", len({r.size for r in runs})))
    rivals = [r for r in there if objective(r.recorded) == "SFT" and r.base == ours[0].base]
    if not rivals:
        return None
    label = nearest(ours[0], rivals)[0].label
    theirs = [run for run in rivals if run.label == label]
    shared = {run.size for run in ours} & {run.size for run in theirs}
    if len(shared) < 2:
        return None
    return {name: [r for r in runs if r.size in shared] for name, runs in (("SFT", theirs), ("CLO", ours))}


def _means(runs: Sequence[Run], column: Column) -> dict[int, Mean]:
    """Items -> mean over seeds, by items."""
    values = {
        size: [value for run in own if (value := measure(run, column)) is not None]
        for size, own in sorted(grouped(runs, lambda run: run.size).items())
    }
    return {size: mean_of(own) for size, own in values.items() if own}


def gains(found: Findings) -> Drawing | None:
    """CLO less SFT by language, tier by tier: ours above, in the target language and in English; the paper's below."""
    rows = [row for row in found.gains if row.question.words in _GAINS]
    ours = {(row.question.words, row.tier, row.langs): row for row in rows if row.arm == rows[0].arm}
    if not ours:
        return None
    names = sorted({(tier, langs) for _, tier, langs in ours}, key=_tier_order)
    ticks = [f"{' and '.join(langs)}\n({tier or 'no tier'})" for tier, langs in names]
    figure, grid = new_figure(2, 1, WIDTH, 5.6, sharex=True)
    colours = dict(zip(_GAINS.values(), SIDE_COLOURS.values(), strict=True))
    for place, (words, side) in enumerate(_GAINS.items()):
        for at, name in enumerate(names):
            row, x = ours.get((words, *name)), at + 0.4 * (place - 0.5)
            if row is not None:
                effect = row.ours
                ends = [[max(0.0, effect.gap - effect.low)], [max(0.0, effect.high - effect.gap)]]
                grid[0, 0].bar(x, effect.gap, 0.36, color=colours[side], alpha=0.65, label=side)
                whisker(grid[0, 0], x, effect.gap, "#222222", effect.seeds, yerr=ends)
            _paper_points(grid[1, 0], rows, (words, *name), x, colours[side])
    for axes, title in ((grid[0, 0], "ours, points"), (grid[1, 0], "the papers', points")):
        axes.axhline(0, color="#555555", linewidth=1)
        axes.set_ylabel(title)
        axes.grid(False, axis="x")
    grid[1, 0].set_xticks(range(len(names)), ticks)
    grid[0, 0].tick_params(axis="x", length=0)
    for label, marker, fill in (("the paper", "o", "full"), ("the re-run", "s", "none")):
        grid[0, 0].plot([], [], linestyle="", marker=marker, fillstyle=fill, color="#333333", label=label)
    legend(figure, grid[0, 0])
    figure.suptitle("CLO less SFT by resource tier")
    return figure, {"arm": rows[0].arm, "few": any(few_seeds(row.ours.seeds) for row in rows)}


_GAINS = {"CLO less SFT, target language": "target language", "CLO less SFT, English": "English"}
"""Question -> what its bars are called."""


def _tier_order(name: tuple[str, tuple[str, ...]]) -> tuple[int, int, tuple[str, ...]]:
    tier, langs = name
    return TIERS.index(tier) if tier in TIERS else len(TIERS), len(langs), langs


def _paper_points(
    axes: Axes, rows: Sequence[GainRow], place: tuple[str, str, tuple[str, ...]], x: float, color: str
) -> None:
    """A point per model, language and measure of the papers."""
    for row in rows:
        if (row.question.words, row.tier, row.langs) == place and row.arm == rows[0].arm:
            marker, fill = ("o", "full") if row.gains[0].source.key == "paper" else ("s", "none")
            for number, gain in enumerate(row.gains):
                shift = 0.05 * (number - (len(row.gains) - 1) / 2)
                axes.plot(x + shift, gain.value, linestyle="", marker=marker, fillstyle=fill, color=color, markersize=5)


def nll_ablation(found: Findings) -> Drawing | None:
    """Where the NLL is computed: CLO, with NLL on English too, and the target's NLL alone."""
    wanted = ("CLO", "CLO, NLL on English too", "target NLL alone")
    of = {run.label: objective(run.recorded) for run in found.study.runs if run.targets == 1}
    return _ablation(found, {label: name for label, name in of.items() if name in wanted})


def tuning_ablation(found: Findings) -> Drawing | None:
    """What trains: CLO on attention, MLP matrices, both, or all weights."""
    runs = [r for r in found.study.runs if objective(r.recorded) == "CLO" and r.targets == 1]
    return _ablation(found, {run.label: weights(run.recorded) for run in runs})


def _ablation(found: Findings, arms: Mapping[str, str]) -> Drawing | None:
    """Bars of arms at the most items that all of a language have, the target language beside English."""
    if len(set(arms.values())) < 2 or len(set(arms.values())) < len(arms):
        return None  # nothing to compare, or more differs than the ablation's setting
    study, labels = found.study, [label for label in found.study.labels if label in arms]
    columns = {"target": target_column(study), "English": english_column(study)}
    sizes: dict[str, int] = {}
    for lang in study.langs:
        own = [{r.size for r in study.runs if (r.lang, r.label) == (lang, label)} for label in labels]
        if shared := set.intersection(*own):
            sizes[lang] = max(shared)
    if not sizes:
        return None
    palette, langs = looks(labels), list(sizes)
    figure, grid = new_figure(1, 2, WIDTH, 3.4, sharey=False)
    few = False
    for axes, (side, column) in zip(grid[0], columns.items(), strict=True):
        for number, label in enumerate(labels):
            for at, lang in enumerate(langs):
                runs = [r for r in study.runs if (r.lang, r.label, r.size) == (lang, label, sizes[lang])]
                mean = _means(runs, column).get(sizes[lang])
                if mean is None:
                    continue
                x, value = at + 0.8 * ((number + 0.5) / len(labels) - 0.5), mean.mean * column.factor
                axes.bar(x, value, 0.72 / len(labels), color=palette[label].color, alpha=0.65, label=label)
                if mean.half is not None:
                    whisker(axes, x, value, "#222222", mean.n, yerr=mean.half * column.factor)
                few = few or few_seeds(mean.n)
        axes.set_xticks(range(len(langs)), [f"{lang}\n{sizes[lang]:,} items" for lang in langs])
        axes.set_title(f"{side} {column.head.replace(' (%)', ', %')}", fontsize=10)
        axes.set_ylim(0, 102)
        axes.grid(False, axis="x")
    legend(figure, grid[0, 0])
    return figure, {"few": few}
