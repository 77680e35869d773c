"""The benchmarks: kind, languages and prompt of each, and examples before the question.

A prompt is the same for all languages of a benchmark and is stated in its results. Labels are English where lm-eval's
are (belebele, mmlu); connectors of XCOPA are the languages' own words, as there.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from clo.errors import UserError
from clo.evaluation.benchmarks.rows import LETTERS, AnswerRow, ChoiceRow

Kind = Literal["choice", "number", "span"]
Scoring = Literal["letters", "answers"]
"""How options are scored: by their letter after all of them were listed, or by their text."""

SCORINGS: tuple[Scoring, ...] = ("letters", "answers")
SHOTS_FROM = "the first rows of the test split itself, without the row that is asked (as lm-eval's belebele)"


@dataclass(frozen=True, slots=True)
class Task:
    """A benchmark. Templates know ``{context}``, ``{question}``, ``{connector}`` and (letters) ``{options}``."""

    name: str
    kind: Kind
    languages: tuple[str, ...]
    """Languages that the benchmark exists in, of the seven of the experiment; local files may add others."""
    template: str
    """Prompt whose continuation is the answer's text."""
    letters: str = ""
    """Prompt that lists the options; its continuation is a letter."""
    option: str = "{letter}: {choice}"

    def template_of(self, scoring: str) -> str:
        """The template text as results state it."""
        return self.letters.replace("{options}", f"{{{self.option}}}") if scoring == "letters" else self.template


_SEVEN = ("en", "zh", "de", "ko", "id", "sw", "yo")

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "belebele",
            "choice",
            _SEVEN,
            "P: {context}\nQ: {question}\nAnswer:",
            "P: {context}\nQ: {question}\n{options}\nAnswer:",
        ),
        Task(
            "mmmlu",
            "choice",
            _SEVEN,
            "{question}\nAnswer:",
            "{question}\n{options}\nAnswer:",
            "{letter}. {choice}",
        ),
        Task("cmmlu", "choice", ("zh",), "{question}\n答案：", "{question}\n{options}\n答案：", "{letter}. {choice}"),
        Task(
            "xcopa",
            "choice",
            ("zh", "id", "sw", "en"),
            "{context} {connector}",
            "{context} {connector}\n{options}\nAnswer:",
        ),
        Task("sib200", "choice", _SEVEN, "{context}\nTopic:", "{context}\nTopic:\n{options}\nAnswer:"),
        Task(
            "kornli",
            "choice",
            ("ko",),
            "P: {context}\nH: {question}\nRelation:",
            "P: {context}\nH: {question}\nRelation:\n{options}\nAnswer:",
        ),
        Task("mgsm", "number", ("en", "zh", "de", "sw"), "Q: {question}\nAnswer:"),
        Task("msvamp", "number", ("en", "zh", "de", "sw"), "Q: {question}\nAnswer:"),
        Task("xquad", "span", ("en", "zh", "de"), "P: {context}\nQ: {question}\nAnswer:"),
        Task("afriqa", "span", ("sw", "yo"), "Q: {question}\nAnswer:"),
    )
}
"""Name -> benchmark. Templates of belebele, mmmlu (as mmlu), cmmlu and xcopa are lm-eval 0.4.13's; others are ours."""

CONNECTORS = {
    "zh": {"cause": "因为", "effect": "所以"},
    "id": {"cause": "karena", "effect": "maka"},
    "sw": {"cause": "kwa sababu", "effect": "kwa hiyo"},
    "en": {"cause": "because", "effect": "therefore"},
}
"""Language -> wording of XCOPA's two questions (lm-eval's; English as in COPA)."""


def task_of(name: str) -> Task:
    """The benchmark of this name.

    Raises:
        UserError: there is none.
    """
    if name not in TASKS:
        raise UserError(f"there is no benchmark {name!r}; there are {', '.join(TASKS)}")
    return TASKS[name]


def prompt(task: Task, scoring: str, row: ChoiceRow | AnswerRow, lang: str) -> str:
    """The row's own prompt, without examples and without a space at its end.

    Raises:
        UserError: XCOPA has no wording for the language or the row's question.
    """
    options = ""
    if isinstance(row, ChoiceRow) and scoring == "letters":
        texts = continuations(task, row)
        options = "\n".join(
            task.option.format(letter=letter, choice=text) for letter, text in zip(LETTERS, texts, strict=False)
        )
    context, connector = row.context.strip(), ""
    if task.name == "xcopa":
        connector = _connector(row.question, lang)
        if context and unicodedata.category(context[-1]).startswith("P"):
            context = context[:-1]
    template = task.letters if scoring == "letters" else task.template
    return template.format(context=context, question=row.question.strip(), options=options, connector=connector)


def _connector(question: str, lang: str) -> str:
    if lang not in CONNECTORS:
        raise UserError(f"xcopa has no wording for the language {lang!r}; it has {', '.join(CONNECTORS)}")
    if question not in CONNECTORS[lang]:
        raise UserError(f"xcopa's question is 'cause' or 'effect', got {question!r:.60}; mend the row")
    return CONNECTORS[lang][question]


def continuations(task: Task, row: ChoiceRow) -> tuple[str, ...]:
    """The options' texts as they are scored; XCOPA's go on in a sentence, so they begin in lower case."""
    if task.name == "xcopa":
        return tuple(choice[0].lower() + choice[1:] for choice in row.choices)
    return row.choices


def gold(task: Task, scoring: str, row: ChoiceRow | AnswerRow) -> str:
    """What stands after an example's prompt."""
    if isinstance(row, ChoiceRow):
        return LETTERS[row.answer] if scoring == "letters" else continuations(task, row)[row.answer]
    answer = row.answers[0].strip()
    return answer.removesuffix(".0") if task.kind == "number" else answer  # MSVAMP writes 4 as 4.0


def with_shots(
    task: Task, scoring: str, rows: Sequence[ChoiceRow | AnswerRow], shots: int, lang: str, limit: int | None = None
) -> list[str]:
    """The prompt of each of the first ``limit`` rows after ``shots`` examples, a blank line between them.

    Examples, each with its answer, are the first rows that are not the row itself, see ``SHOTS_FROM``.

    Raises:
        UserError: there are too few rows for so many examples.
    """
    if shots < 0 or shots >= max(len(rows), 1):
        raise UserError(f"{task.name} has {len(rows)} rows, too few for {shots} shots; ask for 0 to {len(rows) - 1}")
    # One more than asked for, as the row itself may be among the first.
    examples = [f"{prompt(task, scoring, row, lang)} {gold(task, scoring, row)}\n\n" for row in rows[: shots + 1]]
    texts = []
    for k, row in enumerate(rows[:limit]):
        before = [example for n, example in enumerate(examples) if n != k][:shots]
        texts.append("".join(before) + prompt(task, scoring, row, lang))
    return texts
