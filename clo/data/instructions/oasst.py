"""OpenAssistant's trees as examples, best first.

The CLO paper takes "top-ranked single-turn" English examples and does not say how it finds 6,400 of them, more than
there are English roots with a ranked reply. The rule here (ours): a question with its best valid reply; first the
questions that open a thread, then later ones that can be understood alone; within each by the label ``quality``.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clo.errors import UserError

if TYPE_CHECKING:
    from clo.config.sources import SourceConfig
    from clo.data.formats import Records
    from clo.data.instructions.example import Counts, Instruction

_OPENERS = re.compile(
    r"^(?:and|but|so|wow|well|hmm+|ok(?:ay)?|thanks?|thank you|yes|no|yeah|what about|how about|why(?: not)?\s*\?|then|"
    r"also|again|continue|go on|more|another|please (?:continue|explain more))\b",
    re.IGNORECASE,
)
_POINTERS = re.compile(
    r"\b(?:it|its|this|that|these|those|they|them|their|he|she|him|her|above|previous(?:ly)?|earlier|the topic|"
    r"you did|you don't|makes you|your (?:answer|response|last|list|code|example|suggestions?)|"
    r"you (?:said|mentioned|wrote|gave|listed|suggested)|"
    r"the (?:first|second|third|last|same|other) (?:one|point|option|example|step)s?)\b",
    re.IGNORECASE,
)
SHORTEST_ALONE = 5
"""Words of the shortest later question that counts as understandable alone."""


@dataclass(frozen=True, slots=True)
class _Message:
    id: str
    parent: str | None
    text: str
    prompter: bool
    rank: int | None
    quality: float


def oasst_examples(config: SourceConfig, records: Records, counts: Counts) -> Iterator[Instruction]:
    """Examples of the flat table or of the trees, in the order of the rule above.

    Raises:
        UserError: a record is neither a message nor a tree.
    """
    from clo.data.instructions.example import Instruction

    valid: dict[str, _Message] = {}
    for message in _valid(records, counts):
        valid[message.id] = message
    replies: dict[str, list[_Message]] = {}
    for message in valid.values():
        if not message.prompter and message.parent in valid and valid[message.parent].prompter:
            replies.setdefault(str(message.parent), []).append(message)
    chosen: list[tuple[tuple[bool, float, bytes], Instruction]] = []
    for question in valid.values():
        if not question.prompter:
            continue
        counts.read += 1
        worst: _Message | None = None
        deeper = question.parent is not None
        best = _best(replies.get(question.id, []), config)
        if best is None:
            counts.drop("no valid ranked reply")
        elif config.pairs and (worst := _worst(replies[question.id], best)) is None:
            counts.drop("no worse ranked reply beside the best one")
        elif deeper and not config.deeper_turns:
            counts.drop("not the first question of its thread")
        elif deeper and not stands_alone(question.text):
            counts.drop("a later question that leans on what was said before")
        else:
            key = (deeper, -best.quality, hashlib.sha256(question.id.encode()).digest())
            rejected = worst.text if config.pairs and worst is not None else None
            chosen.append((key, Instruction(question.id, question.text, best.text, rejected)))
    for _, example in sorted(chosen, key=lambda pair: pair[0]):
        yield example


def stands_alone(text: str) -> bool:
    """Whether a later question names all it is about: no opener or pointer to earlier turns in its first sentence."""
    first = re.split(r"(?<=[.?!])\s", text.strip(), maxsplit=1)[0]
    return len(first.split()) >= SHORTEST_ALONE and not _OPENERS.match(first) and not _POINTERS.search(first)


def _best(replies: list[_Message], config: SourceConfig) -> _Message | None:
    """The reply of the best rank; 0 is the best, and a missing rank is not 0."""
    ranked = [reply for reply in replies if reply.rank is not None]
    if ranked:
        return min(ranked, key=lambda reply: (reply.rank, reply.id))
    return replies[0] if config.unranked_only_child and len(replies) == 1 else None


def _worst(replies: list[_Message], best: _Message) -> _Message | None:
    """The reply of the worst rank: the quality pair of the widest gap (which pairs others take is their choice)."""
    ranked = [reply for reply in replies if reply.rank is not None and best.rank is not None and reply.rank > best.rank]
    return max(ranked, key=lambda reply: (reply.rank, reply.id), default=None)


def _valid(records: Records, counts: Counts) -> Iterator[_Message]:
    """English messages that are neither deleted nor failed in review."""
    for where, record in records:
        found: list[dict[str, Any]] = []
        with counts.bad.row():
            found = list(_messages(record, where))
        for message in found:
            if message.get("lang") != "en":
                counts.drop("message not labelled English")
            elif message.get("deleted"):
                counts.drop("message deleted")
            elif message.get("review_result") is False:
                counts.drop("message failed its review")
            else:
                whole: _Message | None = None
                with counts.bad.row():
                    whole = _message(message, where)
                if whole is not None:
                    yield whole


def _messages(record: dict[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """The record itself, or all messages of a tree with their parents."""
    if "prompt" not in record or not isinstance(record["prompt"], dict):
        yield record
        return
    waiting: list[tuple[str | None, dict[str, Any]]] = [(None, record["prompt"])]
    while waiting:
        parent, message = waiting.pop()
        yield {**message, "parent_id": parent, "replies": None}
        replies = message.get("replies") or []
        if not isinstance(replies, list) or not all(isinstance(reply, dict) for reply in replies):
            raise UserError(f"{where}: the field 'replies' is not a list of objects; is this an OpenAssistant file?")
        for reply in replies:
            waiting.append((str(message.get("message_id")), reply))


def _message(record: dict[str, Any], where: str) -> _Message:
    for name in ("message_id", "text", "role"):
        if not isinstance(record.get(name), str):
            raise UserError(f"{where}: the field {name!r} is missing or not a text; is this an OpenAssistant file?")
    rank: Any = record.get("rank")
    missing = rank is None or rank != rank  # a table may hold the missing ones as NaN
    if not missing and (not isinstance(rank, int | float) or abs(rank) == math.inf):
        raise UserError(f"{where}: the field 'rank' is {rank!r:.40}, not a number; 0 is the best")
    parent = record.get("parent_id")
    return _Message(
        record["message_id"],
        None if parent is None or parent != parent else str(parent),
        record["text"],
        record["role"] == "prompter",
        None if missing else int(rank),
        _quality(record.get("labels")),
    )


def _quality(labels: Any) -> float:
    """Value of the label ``quality``, 0 where there is none: a struct of lists on the hub, a dict in the trees."""
    if not isinstance(labels, dict):
        return 0.0
    names, values = labels.get("name"), labels.get("value")
    if isinstance(names, list) and isinstance(values, list):
        return next((_real(value) for name, value in zip(names, values, strict=False) if name == "quality"), 0.0)
    quality = labels.get("quality")
    return _real(quality.get("value")) if isinstance(quality, dict) else 0.0


def _real(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
