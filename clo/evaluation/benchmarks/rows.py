"""Rows of benchmarks: questions with options, questions with answers; from records of the schemas in use.

The schemas are the unified one of local files (``id, context?, question, choices, answer`` or ``question, answers``,
``answer``), and those of the Hugging Face hub: facebook/belebele, openai/MMMLU, cais/mmlu, and the ``answers.text`` of
SQuAD (columns as of 2026, from the data sets' pages).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from clo.errors import UserError

LETTERS = "ABCDEFGHIJ"
"""Names of options, in order."""


@dataclass(frozen=True, slots=True)
class ChoiceRow:
    """A question with options of which one is right."""

    id: str
    context: str
    """Passage or premise; empty where there is none."""
    question: str
    choices: tuple[str, ...]
    """At least two options; none is blank."""
    answer: int
    """Place of the right one, from 0."""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """A question whose answer is text or a number."""

    id: str
    context: str
    """Passage; empty where there is none."""
    question: str
    answers: tuple[str, ...]
    """At least one accepted answer; none is blank."""


Record = Mapping[str, Any]
"""One line of a file or row of a table."""

BELEBELE = ("flores_passage", "question", "mc_answer1", "mc_answer2", "mc_answer3", "mc_answer4", "correct_answer_num")
MMMLU = ("Question", "A", "B", "C", "D", "Answer")
UNIFIED = ("question", "choices", "answer")


def choice_rows(records: Iterable[tuple[str, Record]]) -> list[ChoiceRow]:
    """Rows with options; the schema is known by its columns.

    Args:
        records: (place for messages such as ``file, line 3``; record).

    Raises:
        UserError: no rows, columns of no known schema, a missing or blank field, an answer that names no option, or
            an id that occurs twice.
    """
    return _unique(_choice_row(where, number, record) for number, (where, record) in enumerate(records))


def answer_rows(records: Iterable[tuple[str, Record]]) -> list[AnswerRow]:
    """Rows with accepted answers: ``answers`` (a list, or a mapping with ``text``), ``answer_number`` or ``answer``.

    Raises:
        UserError: as for `choice_rows`.
    """
    return _unique(_answer_row(where, number, record) for number, (where, record) in enumerate(records))


def _choice_row(where: str, number: int, record: Record) -> tuple[str, ChoiceRow]:
    for known, make in ((BELEBELE, _belebele), (MMMLU, _mmmlu), (UNIFIED, _unified)):
        if known[0] in record:
            missing = [name for name in known if name not in record]
            if missing:
                raise UserError(f"{where}: the column {missing[0]!r} is missing; a row has {', '.join(known)}")
            return where, make(where, number, record)
    raise UserError(
        f"{where}: the columns {', '.join(map(str, record)) or '(none)'} are of no known benchmark; "
        f"a row has {', '.join(UNIFIED)}, or the columns of facebook/belebele or openai/MMMLU"
    )


def _belebele(where: str, number: int, record: Record) -> ChoiceRow:
    choices = tuple(_text(where, record, f"mc_answer{n}") for n in range(1, 5))
    given = str(record["correct_answer_num"]).strip()
    if given not in ("1", "2", "3", "4"):
        raise UserError(f"{where}: 'correct_answer_num' is {given!r}; it must be 1, 2, 3 or 4")
    # A passage's link occurs once per question of it; the two together name a row, the same in every language.
    place = f"{record['link']}#{record.get('question_number', '')}" if record.get("link") else str(number)
    context, question = _text(where, record, "flores_passage"), _text(where, record, "question")
    return ChoiceRow(_id(record, place), context, question, choices, int(given) - 1)


def _mmmlu(where: str, number: int, record: Record) -> ChoiceRow:
    choices = tuple(_text(where, record, letter) for letter in "ABCD")
    given = str(record["Answer"]).strip()
    if given not in ("A", "B", "C", "D"):
        raise UserError(f"{where}: 'Answer' is {given!r}; it must be A, B, C or D")
    subject = str(record.get("Subject") or "")
    return ChoiceRow(
        _id(record, str(number)), "", _text(where, record, "Question"), choices, "ABCD".index(given), subject
    )


def _unified(where: str, number: int, record: Record) -> ChoiceRow:
    choices, answer = record["choices"], record["answer"]
    if not isinstance(choices, list | tuple) or not 2 <= len(choices) <= len(LETTERS):
        raise UserError(f"{where}: 'choices' must be a list of 2 to {len(LETTERS)} texts, got {choices!r:.60}")
    for choice in choices:
        if not isinstance(choice, str) or not choice.strip():
            raise UserError(f"{where}: 'choices' has the option {choice!r:.60}; each must be a text that is not blank")
    if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer < len(choices):
        raise UserError(f"{where}: 'answer' is {answer!r:.60}; it must be a number from 0 to {len(choices) - 1}")
    return ChoiceRow(
        _id(record, str(number)),
        _optional(where, record, "context"),
        _text(where, record, "question"),
        tuple(choices),
        answer,
        str(record.get("subject") or ""),
    )


def _answer_row(where: str, number: int, record: Record) -> tuple[str, AnswerRow]:
    answers: Any = next(
        (record[key] for key in ("answers", "answer_number", "answer") if record.get(key) is not None), None
    )
    if answers is None:
        raise UserError(f"{where}: the column 'answers' (or 'answer') is missing; it holds what is right")
    if isinstance(answers, Mapping):
        answers = answers.get("text")
    texts = tuple(map(str, answers)) if isinstance(answers, list | tuple) else (str(answers),)
    if not texts or not all(text.strip() for text in texts):
        raise UserError(f"{where}: 'answers' is {answers!r:.60}; it must hold at least one text and none that is blank")
    context = _optional(where, record, "context")
    return where, AnswerRow(_id(record, str(number)), context, _text(where, record, "question"), texts)


def _unique(rows: Iterable[tuple[str, Any]]) -> list[Any]:
    found: dict[str, Any] = {}
    for where, row in rows:
        if row.id in found:
            raise UserError(f"{where}: the id {row.id!r} occurs twice; make ids unique")
        found[row.id] = row
    return list(found.values())


def _id(record: Record, otherwise: str) -> str:
    """The row's id, or its place where the schema has none."""
    given = record.get("id")
    return otherwise if given is None or given == "" else str(given)


def _text(where: str, record: Record, key: str) -> str:
    value = record.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)  # options of MMLU that are numbers come as such from CSV
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}: the column {key!r} is missing, blank or not a text; fill it or drop the row")
    return value


def _optional(where: str, record: Record, key: str) -> str:
    return "" if record.get(key) in (None, "") else _text(where, record, key)


READERS: dict[str, Callable[[Iterable[tuple[str, Record]]], list[Any]]] = {
    "choice": choice_rows,
    "number": answer_rows,
    "span": answer_rows,
}
"""Kind of task -> reader of its records."""
