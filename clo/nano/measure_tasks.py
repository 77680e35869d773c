"""What a start model of the three tasks can do before any fine-tuning; the numbers of its card."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from clo.data.cldr import names
from clo.data.cldr import wording as facts_wording
from clo.data.rows import Row
from clo.data.tasks import LANGUAGES, TASKS, summaries, task_rows
from clo.data.tasks.wording import load_wording
from clo.nano.corpus import TARGETS
from clo.nano.measure import answers, share

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
_HEAD = re.compile(r"[^\W\d_]+(?: [^\W\d_]+)?(?=[ :,])")


def has_object(row: Row, answer: str) -> float:
    """Whether the English answer to a question about a fact holds the object."""
    return float(row.gold["en"] in answer)


def has_result(row: Row, answer: str) -> float:
    """Whether the last number of the English answer is the result; of months, whether the answer holds the name."""
    if not row.gold["en"][0].isdigit():
        return float(row.gold["en"] in answer)
    found = _NUMBER.findall(answer)
    return float(bool(found) and found[-1].replace(",", "") == row.gold["en"])


def mentioned(row: Row, answer: str) -> float:
    """Share of the names in the English list that the English answer holds."""
    said = answer.casefold()
    held = [name.casefold() in said for name in dict.fromkeys(summaries.known(_lists()[row.id], "en"))]
    return sum(held) / len(held)


RIGHT: dict[str, Callable[[Row, str], float]] = {"facts": has_object, "maths": has_result, "summaries": mentioned}
"""Task -> how right an English answer is, 0 to 1."""


@lru_cache(maxsize=1)
def _lists() -> dict[str, summaries.FactList]:
    rows = task_rows("summaries", "dev", ["en"])
    return {row.id: one for row, one in zip(rows, summaries.plan("dev"), strict=True)}


def measure_tasks(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Measure the tasks in English, and what is answered to the same questions in the other languages, on dev."""
    english: dict[str, float] = {}
    exact: dict[str, float] = {}
    habit: dict[str, dict[str, float]] = {}
    right: dict[str, dict[str, float]] = {}
    for task in TASKS:
        rows = task_rows(task, "dev", LANGUAGES)
        texts = answers(model, tokenizer, [row.prompts["en"] for row in rows])
        english[task] = _mean(task, rows, texts)
        exact[task] = share([text == row.responses["en"] for text, row in zip(texts, rows, strict=True)])
        habit[task], right[task] = {}, {}
        for code in TARGETS:
            texts = answers(model, tokenizer, [row.prompts[code] for row in rows])
            habit[task][code] = share([is_english(task, text, row) for text, row in zip(texts, rows, strict=True)])
            right[task][code] = _mean(task, rows, texts)
    return {
        "questions": {task: len(task_rows(task, "dev", ["en"])) for task in TASKS},
        "english_content": english,
        "english_exact": exact,
        "english_answers_to_target_questions": habit,
        "right_english_answers_to_target_questions": right,
    }


def _mean(task: str, rows: list[Row], texts: list[str]) -> float:
    return sum(RIGHT[task](row, text) for row, text in zip(rows, texts, strict=True)) / len(rows)


@lru_cache(maxsize=1)
def _openings() -> re.Pattern[str]:
    """How English answers of every task begin: the first word or two of their fixed text."""
    facts, tasks = facts_wording.load_wording("en"), load_wording("en")
    maths = [text for said in tasks.maths.values() for text in said["answers"]]
    said = [text for texts in facts.answers.values() for text in texts] + maths + tasks.summaries["openings"]
    short = [text for text in facts.short_styles if not text.startswith("{")]
    heads = {found[0] for text in (*said, *short) if (found := _HEAD.match(text))}
    return re.compile(rf"(?:{'|'.join(sorted(heads))})\b")


def is_english(task: str, answer: str, row: Row) -> bool:
    """Whether an answer begins as English ones do; a bare one must be the English answer, a bare list hold its verb."""
    if _openings().match(answer) and "„" not in answer:  # "In" is German too, and there a name is in quotes
        return True
    bare = answer.strip(".").casefold()
    if task == "facts":
        return bare in (row.gold["en"].casefold(), f"the {row.gold['en'].casefold()}")
    if task == "maths":
        things = [forms["counted"].removeprefix("{n} ") for forms in load_wording("en").things.values()]
        months = [names.name("month", str(number), "en") for number in range(1, 13)]
        return bool(
            re.fullmatch(rf"[\d.,]+(?: (?:{'|'.join(things)}))?|{'|'.join(map(str, months))}", answer.strip("."))
        )
    return any(f" {verb} " in answer for verb in ("is", "lies", "pays", "speaks", "writes", "has"))
