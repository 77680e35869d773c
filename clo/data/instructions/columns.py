"""Prompt and response of a record: by the names the user gives, or by the common ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from clo.data.tables import id_of
from clo.data.texts import visible
from clo.errors import UserError

if TYPE_CHECKING:
    from clo.config.sources import SourceConfig
    from clo.data.bad_rows import BadRows
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
"""(prompt, response) columns, the first that fits counts; ``input`` or ``context`` joins the prompt."""
NOTHING = ("<noinput>", "<no input>", "<nocontext>", "<none>")
"""What stands in a column of inputs where there is none."""
CHATS = ("messages", "conversations", "conversation")
_USER, _ASSISTANT = ("user", "human", "prompter"), ("assistant", "gpt", "bot")


def table_examples(config: SourceConfig, records: Records, counts: Counts) -> Iterator[Instruction]:
    """Examples of a table in its own order.

    Raises:
        UserError: a record has no such columns, one of them is no text, or ids are double or partly missing.
    """
    from clo.data.instructions.example import Instruction

    for where, record, name in identified(records, counts.bad):
        counts.read += 1
        texts: tuple[str, ...] | None = None
        with counts.bad.row():
            read = _quality_pair if config.pairs else _pair
            texts = read(config, record, where, counts)
        if texts is None:
            counts.drop("refused and skipped")
        elif record.get("label") is False or str(record.get("label")).casefold() == "false":
            counts.drop("its label says that the answer is a bad one")
        elif not all(map(visible, texts)):
            counts.drop("empty prompt or response")
        else:
            yield Instruction(name, *texts)


def identified(records: Records, bad: BadRows) -> Iterator[tuple[str, dict[str, Any], str]]:
    """(place, record, id): the id that it gives itself, or its number where none gives one.

    Raises:
        UserError: an id comes twice, is neither text nor whole number, or some records have one and others have not.
    """
    seen: dict[str, int] = {}
    given: bool | None = None
    for number, (where, record) in enumerate(records):
        name: str | None = None
        with bad.row():
            own = id_of(record, where)
            given = own is not None if given is None else given
            if given != (own is not None):
                has = "has no id, but others before it have" if given else "has an id, but none before it has"
                raise UserError(f"{where} {has}; give every record an id of its own, or none of them")
            if own is not None and own in seen:
                raise UserError(
                    f"{where}: id {own!r} is also that of record {seen[own]}; give every record an id of its own"
                )
            name = str(number) if own is None else own
        if name is not None:
            if given:
                seen[name] = number + 1
            yield where, record, name


def _pair(config: SourceConfig, record: dict[str, Any], where: str, counts: Counts) -> tuple[str, str]:
    if config.prompt is not None or config.response is not None:
        names = (config.prompt or "prompt", config.response or "response")
        prompt, response = _texts(record, names, where)
        return prompt, response
    for names in PAIRS:
        if all(name in record for name in names):
            prompt, response = _texts(record, names, where)
            context = record.get("input", record.get("context"))
            has = isinstance(context, str) and context.strip() and context.strip().casefold() not in NOTHING
            return (f"{prompt}\n\n{context}" if has else prompt), response
    for name in CHATS:
        if isinstance(record.get(name), list):
            return first_turn(record[name], where, counts)
    raise UserError(
        f"{where}: no prompt and response among the columns {', '.join(map(str, record))}; "
        f"name them with {config.key()}.prompt= and {config.key()}.response="
    )


def _quality_pair(config: SourceConfig, record: dict[str, Any], where: str, counts: Counts) -> tuple[str, str, str]:
    """Prompt, better and worse response.

    Read are a column for each (``chosen`` or ``response``, and ``rejected``), which may hold chats that begin with the
    prompt, and UltraFeedback's own list of scored ``completions``, of which the best and the worst are taken.
    """
    if isinstance(record.get("completions"), list) and config.rejected is None:
        return _scored(record, where)
    worse = config.rejected or "rejected"
    better = config.response or ("chosen" if "chosen" in record else "response")
    if record.get(better) is None or record.get(worse) is None:
        missing = worse if record.get(worse) is None else better
        raise UserError(
            f"{where}: one side of a quality pair is missing, the column {missing!r}; the columns are "
            f"{', '.join(map(str, record))}; name the two with data.source.response= and data.source.rejected="
        )
    answers = []
    for name in (better, worse):
        if isinstance(record[name], list):
            prompt, answer = first_turn(record[name], where, counts)
            record = {"prompt": prompt, **record}
        else:
            (answer,) = _texts(record, (name,), where)
        answers.append(answer)
    asked = config.prompt or next((name for name, _ in PAIRS if name in record), "prompt")
    (prompt,) = _texts(record, (asked,), where)
    return prompt, answers[0], answers[1]


def _scored(record: dict[str, Any], where: str) -> tuple[str, str, str]:
    """The best and the worst of several scored answers; of equal ones the first, so that all equal are one."""
    try:
        found = [(float(one["overall_score"]), str(one["response"])) for one in record["completions"]]
        best, worst = (choose(found, key=lambda one: one[0])[1] for choose in (max, min))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{where}: the column 'completions' is no list of answers with 'response' and a number 'overall_score'; "
            "drop the record, or give columns 'chosen' and 'rejected'"
        ) from error
    (prompt,) = _texts(record, ("instruction" if "instruction" in record else "prompt",), where)
    return prompt, best, worst


def _texts(record: dict[str, Any], names: Sequence[str], where: str) -> list[str]:
    for name in names:
        if not isinstance(record.get(name), str):
            raise UserError(f"{where}: the column {name!r} is missing or not a text")
    return [record[name] for name in names]


def first_turn(messages: list[Any], where: str, counts: Counts) -> tuple[str, str]:
    """The first question and its answer of a chat; a system turn before it is the beginning of the question.

    Raises:
        UserError: the chat begins otherwise, or a message is no text.
    """
    turns = [
        (str(m.get("role", m.get("from"))), m.get("content", m.get("value"))) for m in messages if isinstance(m, dict)
    ]
    system = [content for role, content in turns if role == "system"]
    turns = [turn for turn in turns if turn[0] != "system"]
    roles = [turn[0] for turn in turns[:2]]
    if len(roles) < 2 or roles[0] not in _USER or roles[1] not in _ASSISTANT:
        raise UserError(f"{where}: the chat does not begin with a user's message and the assistant's answer")
    texts = [text for text in (*system, turns[0][1], turns[1][1]) if isinstance(text, str)]
    if len(texts) < len(system) + 2:
        raise UserError(f"{where}: a message of the chat is not a text")
    if len(turns) > 2:
        counts.note("the turns of a chat after its first answer")
    return "\n\n".join([*(text for text in texts[:-2] if text.strip()), texts[-2]]), texts[-1]
