"""Prompt and response of a record: by the names the user gives, or by the common ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from clo.data.texts import visible
from clo.errors import UserError

if TYPE_CHECKING:
    from clo.config.sources import SourceConfig
    from clo.data.formats import Records
    from clo.data.instructions.example import Counts, Instruction

PAIRS = (
    ("prompt", "response"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("question", "answer"),
    ("prompt", "completion"),
    ("inputs", "targets"),
)
"""(prompt, response) columns, the first that fits counts; ``input`` or ``context`` joins an instruction."""
CHATS = ("messages", "conversations", "conversation")
_USER, _ASSISTANT = ("user", "human", "prompter"), ("assistant", "gpt", "bot")


def table_examples(config: SourceConfig, records: Records, counts: Counts) -> Iterator[Instruction]:
    """Examples of a table in its own order.

    Raises:
        UserError: a record has no such columns, or one of them is no text.
    """
    from clo.data.instructions.example import Instruction

    for number, (where, record) in enumerate(records):
        counts.read += 1
        prompt, response = _pair(config, record, where)
        if not visible(prompt) or not visible(response):
            counts.drop("empty prompt or response")
            continue
        given = record.get("id")
        yield Instruction(str(number if given in (None, "") else given), prompt, response)


def _pair(config: SourceConfig, record: dict[str, Any], where: str) -> tuple[str, str]:
    if config.prompt is not None or config.response is not None:
        names = (config.prompt or "prompt", config.response or "response")
        return _texts(record, names, where)
    for names in PAIRS:
        if all(name in record for name in names):
            prompt, response = _texts(record, names, where)
            context = record.get("input", record.get("context")) if names[0] == "instruction" else None
            return (f"{prompt}\n\n{context}" if isinstance(context, str) and context.strip() else prompt), response
    for name in CHATS:
        if isinstance(record.get(name), list):
            return _first_turn(record[name], where)
    raise UserError(
        f"{where}: no prompt and response among the columns {', '.join(map(str, record))}; "
        "name them with data.source.prompt= and data.source.response="
    )


def _texts(record: dict[str, Any], names: tuple[str, str], where: str) -> tuple[str, str]:
    for name in names:
        if not isinstance(record.get(name), str):
            raise UserError(f"{where}: the column {name!r} is missing or not a text")
    return record[names[0]], record[names[1]]


def _first_turn(messages: list[Any], where: str) -> tuple[str, str]:
    """The first question and its answer of a chat."""
    turns = [
        (str(m.get("role", m.get("from"))), m.get("content", m.get("value"))) for m in messages if isinstance(m, dict)
    ]
    turns = [turn for turn in turns if turn[0] != "system"]
    roles = [turn[0] for turn in turns[:2]]
    if len(roles) < 2 or roles[0] not in _USER or roles[1] not in _ASSISTANT:
        raise UserError(f"{where}: the chat does not begin with a user's message and the assistant's answer")
    question, answer = turns[0][1], turns[1][1]
    if not isinstance(question, str) or not isinstance(answer, str):
        raise UserError(f"{where}: a message of the chat is not a text")
    return question, answer
