"""The gains that the papers report, beside ours: for other models, other measures and other rows, directions alone.

A gain is a difference between two arms. Where the study has no cell of a paper's, it may still show whether CLO's gains
point where the paper's do; how large they are says nothing then, and is not compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clo.report.claim_tests import Bench, Effect, NotTestedError, effect_of
from clo.report.claims import Claim
from clo.report.collect import Run, grouped
from clo.report.formats import FEWEST_SEEDS, counted_seeds
from clo.report.paper import UNKNOWN, Paper, PaperValue, Source


@dataclass(frozen=True)
class Question:
    """Two arms and a side."""

    words: str
    rivals: tuple[str, ...]
    """As the papers' file names them."""
    claim: Claim
    """How ours is computed."""

    @property
    def side(self) -> str:
        """As the papers' file names it."""
        return "none" if self.claim.test == "memory" else self.claim.side


def _question(words: str, rivals: tuple[str, ...], test: str, rival: str, side: str = "target") -> Question:
    return Question(words, rivals, Claim(words, test, "", rival=rival, side=side))


_DPO, _EN = ("sft_dpo", "sft_dpo_pairs"), "CLO, NLL on English too"
QUESTIONS = (
    _question("CLO less SFT, target language", ("sft",), "against", "SFT"),
    _question("CLO less SFT+DPO, target language", _DPO, "against", "SFT+DPO"),
    _question("CLO less SFT, English", ("sft",), "against", "SFT", "en"),
    _question("NLL on the target alone less on English too, target language", ("clo_en_nll",), "against", _EN),
    _question("NLL on the target alone less on English too, English", ("clo_en_nll",), "against", _EN, "en"),
    _question("attention less all weights, target language", ("clo_full",), "tuning", "CLO"),
    _question("attention less all weights, English", ("clo_full",), "tuning", "CLO", "en"),
    _question("CLO less SFT+DPO, peak memory (%)", ("sft_dpo",), "memory", "SFT+DPO"),
    _question("CLO less SFT, peak memory (%)", ("sft",), "memory", "SFT"),
)
_COMPARED = ("win_rate", "mmmlu", "belebele", "memory")
EVEN = 50.0
"""The win rate of two that are equal."""


@dataclass(frozen=True)
class PaperGain:
    """A gain that a paper reports, or that follows from two of its numbers."""

    source: Source
    measure: str
    model: str
    lang: str
    value: float
    """Points; percent of memory."""
    confidence: str


@dataclass(frozen=True)
class GainRow:
    """One question in one language, or in those of a tier, with the papers' gains of one measure."""

    question: Question
    tier: str
    langs: tuple[str, ...]
    arm: str
    gains: tuple[PaperGain, ...]
    """Of our model where the paper has it, else of all of its models."""
    ours: Effect

    @property
    def same_model(self) -> bool:
        """Whether the paper's gains are of our model."""
        return all(gain.model == self.ours.model for gain in self.gains)

    @property
    def mean(self) -> float:
        """Of the paper's gains, each model and language counting once."""
        return sum(gain.value for gain in self.gains) / len(self.gains)

    @property
    def verdict(self) -> str:
        """Whether ours points where the paper's do; undecided where either points nowhere."""
        signs = {_sign(gain.value, gain.value) for gain in self.gains}
        if self.ours.seeds < FEWEST_SEEDS:
            return f"undecided ({counted_seeds(self.ours.seeds)})"
        ours = _sign(self.ours.low, self.ours.high)
        if len(signs) > 1 or not ours:
            return "undecided" + (" (theirs differ)" if len(signs) > 1 else "")
        return "same direction" if signs == {ours} else "other direction"


def _sign(low: float, high: float) -> int:
    return 1 if low > 0 else -1 if high < 0 else 0


def paper_gains(paper: Paper, question: Question) -> list[PaperGain]:
    """What the papers say to a question; doubtful numbers stay out."""
    sure = [
        value for value in paper.values if value.sure and value.measure in _COMPARED and value.side == question.side
    ]
    cells = {_cell(value): value for value in sure}
    found = []
    for value in (value for value in sure if value.method == "clo"):
        if (gap := _gain(value, question, cells)) is not None:
            confidence = value.confidence
            found.append(PaperGain(value.source, value.measure, value.model, value.lang, gap, confidence))
    return found


def _cell(value: PaperValue) -> tuple[str, ...]:
    return value.source.key, value.model, value.lang, value.measure, value.method, value.against


def _gain(value: PaperValue, question: Question, cells: dict[tuple[str, ...], PaperValue]) -> float | None:
    if value.against in question.rivals:
        return value.value if value.gain else value.value - EVEN
    if value.gain:
        return None
    lead = _cell(value)[:4]
    rivals = (cells.get((*lead, rival, value.against)) for rival in question.rivals)
    return next((value.value - rival.value for rival in rivals if rival is not None), None)


def gain_rows(benches: Sequence[Bench], paper: Paper) -> list[GainRow]:
    """A row per question, arm, language and measure of a paper; then per tier with several languages of the study."""
    rows: list[GainRow] = []
    for bench in benches:
        for question in QUESTIONS:
            gains = paper_gains(paper, question)
            try:
                effects = bench.effects(question.claim)
            except NotTestedError:
                continue
            for effect in effects:
                rows += _rows(question, bench.arm, [effect], gains, effect)
            for own in grouped(effects, lambda e: (e.model, tier_of(e))).values():
                pooled = pooled_effect(bench, question.claim.side, own) if question.claim.test == "against" else None
                if pooled is not None:
                    rows += _rows(question, bench.arm, own, gains, pooled)
    return rows


def _rows(
    question: Question, arm: str, effects: Sequence[Effect], gains: Sequence[PaperGain], ours: Effect
) -> Iterator[GainRow]:
    langs = tuple(effect.lang for effect in effects)
    there = [gain for gain in gains if gain.lang in (*langs, UNKNOWN)]
    for own in grouped(there, lambda gain: (gain.source.key, gain.measure)).values():
        same = [gain for gain in own if gain.model == ours.model]
        yield GainRow(question, tier_of(effects[0]), langs, arm, tuple(same or own), ours)


def tier_of(effect: Effect) -> str:
    """Resource tier of an effect's language."""
    return effect.ours[0].config.get("lang.tier", "") if effect.ours else ""


def pooled_effect(bench: Bench, side: str, effects: Sequence[Effect]) -> Effect | None:
    """The difference over the prompts of several languages together, by the seeds that all have; None for one alone."""
    if len(effects) < 2:
        return None
    ours, theirs = (_merged(bench, side, own) for own in ([e.ours for e in effects], [e.theirs for e in effects]))
    points = {run.folder: told for run, told in (*ours, *theirs)}
    try:
        found = effect_of([run for run, _ in ours], [run for run, _ in theirs], points, effects[0].what)
    except NotTestedError:
        return None
    langs = " and ".join(effect.lang for effect in effects)
    both = ([run for e in effects for run in e.ours], [run for e in effects for run in e.theirs])
    return replace(found, lang=langs, ours=both[0], theirs=both[1])


def _merged(bench: Bench, side: str, by_lang: Sequence[Sequence[Run]]) -> list[tuple[Run, dict[str, float]]]:
    """By seed: a run in the place of those of all languages, and their points, prompts named with the language."""
    seeds = set.intersection(*({run.seed for run in runs} for runs in by_lang))
    found = []
    for seed in sorted(seeds):
        own = [run for runs in by_lang for run in runs if run.seed == seed]
        points = {f"{run.lang}:{key}": value for run in own for key, value in bench.points[side](run).items()}
        found.append((replace(own[0], folder=Path(*(run.folder.name for run in own))), points))
    return found
