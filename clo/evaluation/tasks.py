"""Scores of the answers to tasks: each by its own metric, 0 where the answer is in the wrong language.

``object``: the row's gold text stands in the answer as whole words. ``number``: the last number of the answer, read as
its language writes it, is the gold number (where a row has none, the last of its reference); a gold word, which answers
a comparison, is the one that is named. ``rouge``: ROUGE-L of the reference response (rouge_score; words, but
characters where a script has no spaces, and syllables in Korean). ``chrf``: sentence chrF2 (sacrebleu), as a share.

**The right language is a gate.** What the identifier decides counts; the very reference is in its language whatever
that says (names of places mislead it). An answer that is too short for it counts as right unless its words speak
against it: two or more of them, all in a script that the language is not written in, or more of them among the words of
the rows' references in another language than among those in its own. So "42" and "42 km" are right in any language, and
so is a name that the references have in several; "It is 42." is wrong in Chinese, and in Swahili where English
references have its words. The gold text itself is no evidence of a wrong language, and an answer without a visible
character is in no language: wrong. Where ``lang.identify`` is none, the gate is open.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from clo.config.choices import Identify, Metric
from clo.data.rows import Row
from clo.data.texts import visible
from clo.errors import UserError
from clo.evaluation.benchmarks.texts import pieces, rouge_l
from clo.evaluation.exact import chrf, content, exact_match, place
from clo.evaluation.fidelity import LanguageIdentifier, prose
from clo.evaluation.numbers import read_number
from clo.evaluation.scripts import letters_by_script, scripts_of

__all__ = ["METRICS", "Metric", "TaskSample", "score_tasks", "task_table"]

METRICS: dict[str, Metric] = {"facts": Metric.object, "maths": Metric.number, "summaries": Metric.rouge}
"""Embedded task -> its metric."""

_PLAIN_NUMBER = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class TaskSample:
    """One answer and its score."""

    task: str
    lang: str
    """Code of the language that was asked in."""
    id: str
    prompt: str
    answer: str
    reference: str
    score: float
    """0 to 1; 0 where the answer is in the wrong language."""
    ungated: float
    """0 to 1, whatever the language."""
    right_language: bool


def score_tasks(
    rows: Sequence[Row],
    lang: str,
    answers: Sequence[str],
    identifier: LanguageIdentifier,
    metric_of: Mapping[str, Metric],
) -> list[TaskSample]:
    """The samples of one language, in the order of ``rows``.

    Args:
        rows: of any tasks; each has the language.
        lang: code of the language that the prompts were in, as the identifier knows it.
        answers: the generated text for each row.
        identifier: of all languages of the run (`LanguageIdentifier.of_all`).
        metric_of: task -> its metric.

    Raises:
        UserError: a row's task has no metric, or its metric needs a gold text that the row lacks.
    """
    codes, lexicon, words = identifier.codes(answers), _lexicon(rows), _gold_words(rows, lang)
    found = []
    for row, answer, code in zip(rows, answers, codes, strict=True):
        if row.task not in metric_of:
            raise UserError(f"row {row.id!r} is of the task {row.task!r}, which has no metric; set tasks.<name>.metric")
        ungated = _score(metric_of[row.task], row, lang, answer, words.get(row.task, ()))
        right = bool(visible(answer)) and (code in (lang, "undecided") or exact_match(answer, row.responses[lang]))
        if right and code == "undecided" and identifier.by is not Identify.none:
            right = not _speaks_against(answer, lang, row.gold.get(lang, ""), lexicon)
        score = ungated if right else 0.0
        texts = row.prompts[lang], answer, row.responses[lang]
        found.append(TaskSample(row.task, lang, row.id, *texts, score, ungated, right))
    return found


def task_table(samples: Iterable[TaskSample]) -> dict[str, dict[str, dict[str, float]]]:
    """Task -> language -> ``n``, and the means ``score``, ``ungated`` and ``right_language`` (a share)."""
    cells: dict[str, dict[str, list[TaskSample]]] = {}
    for sample in samples:
        cells.setdefault(sample.task, {}).setdefault(sample.lang, []).append(sample)
    return {task: {lang: _means(cell) for lang, cell in langs.items()} for task, langs in cells.items()}


def _means(samples: Sequence[TaskSample]) -> dict[str, float]:
    means = {name: fmean(getattr(one, name) for one in samples) for name in ("score", "ungated", "right_language")}
    return {"n": len(samples), **means}


def _score(metric: Metric, row: Row, lang: str, answer: str, words: Collection[str]) -> float:
    """0 to 1 by the task's metric; ``words`` are those golds of its rows that are no numbers."""
    reference = row.responses[lang]
    if metric is Metric.rouge:
        return rouge_l(answer, reference, lang)
    if metric is Metric.chrf:
        return chrf(answer, reference) / 100
    gold = row.gold.get(lang, "")
    number = float(gold) if _PLAIN_NUMBER.fullmatch(gold) else None
    if metric is Metric.number and not gold:
        number = read_number(reference, lang)
    if number is None and not visible(gold):
        raise UserError(
            f"row {row.id!r} has no gold text in {lang!r}, which tasks.{row.task}.metric={metric.name} needs; give the "
            "rows one, or set the metric to rouge or chrf"
        )
    if metric is Metric.object:
        return float(content(answer, gold))
    if number is not None:
        return float(read_number(answer, lang) == number)
    return float(_is_word(answer, gold, reference, [word for word in words if content(row.prompts[lang], word)]))


def _gold_words(rows: Sequence[Row], lang: str) -> dict[str, set[str]]:
    """Task -> the gold texts that are no numbers."""
    found: dict[str, set[str]] = {}
    for row in rows:
        if visible(gold := row.gold.get(lang, "")) and not _PLAIN_NUMBER.fullmatch(gold):
            found.setdefault(row.task, set()).add(gold)
    return found


def _is_word(answer: str, gold: str, reference: str, rivals: Sequence[str]) -> bool:
    """Whether the answer to a comparison is its gold word.

    One that names rivals too must name them as the reference does: the gold word before them, or (where the reference
    has it last) behind them.

    Args:
        answer: any text.
        gold: the right one of the words that are compared.
        reference: the reference response.
        rivals: all words that are compared, as far as other rows tell them.
    """
    named = _in_order(answer, {gold, *rivals})
    expected = _in_order(reference, {gold, *rivals})
    last = len(expected) > 1 and expected[-1] == gold
    return bool(named) and named[-1 if last else 0] == gold


def _in_order(text: str, words: Collection[str]) -> list[str]:
    """The words that stand in a text, in the order of their first places, the longer of two that begin alike first."""
    places = {word: place(text, word) for word in words}
    return sorted((word for word in words if places[word] >= 0), key=lambda word: (places[word], -len(word)))


def _lexicon(rows: Sequence[Row]) -> dict[str, set[str]]:
    """Language -> the words of the reference responses in it."""
    found: dict[str, set[str]] = {}
    for row in rows:
        for lang, text in row.responses.items():
            found.setdefault(lang, set()).update(_words(text))
    return found


def _speaks_against(answer: str, lang: str, gold: str, lexicon: Mapping[str, Collection[str]]) -> bool:
    """Whether the words of a short answer, those of the gold text aside, are in another language."""
    own, known = scripts_of(lang), set(_words(gold))
    words = [word for word in _words(prose(answer)) if word not in known]
    foreign = own is not None and not own & letters_by_script("".join(words)).keys()
    if foreign and len(words) > 1:
        return True
    counts = {code: sum(word in has for word in words) for code, has in lexicon.items()}
    return max(counts.values()) > counts[lang]


def _words(text: str) -> list[str]:
    """Words with a letter in them, folded; characters where a script has no spaces."""
    return [word for word in pieces(text) if any(map(str.isalpha, word))]
