"""What a server replied: read from the body of its response, whatever that may hold."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said to one prompt."""

    text: str
    top: dict[str, float] | None = None
    """Log-probabilities (nats) of the likeliest first tokens, where they were asked for and the server gave them."""
    cut: bool = False
    """Whether it ends only because it reached the longest reply allowed."""
    silent: bool = False
    """Whether the server gave no text at all (``content`` is null), not even an empty one."""


class OddReply(Exception):
    """A response that is no chat completion; its text says what it is instead."""


def sendable(text: str) -> str:
    """The text as UTF-8 can hold it: half a surrogate pair becomes "?"."""
    return text.encode("utf-8", "replace").decode()


def read(body: bytes, kind: str) -> tuple[Reply, str]:
    """The reply in a response, and the name of the model that gave it (empty where it is not told).

    Args:
        body: of the response.
        kind: its ``Content-Type``.

    Raises:
        OddReply: it is no chat completion.
    """
    text = body.decode("utf-8", "replace").strip()
    if "text/event-stream" in kind or text.startswith(("data:", "event:")):
        raise OddReply("it streams its reply, although asked not to")
    if "text/html" in kind or text.startswith("<"):
        raise OddReply("it replies with a web page")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise OddReply("its reply is no JSON") from None
    if not isinstance(found, dict):
        raise OddReply("its reply is JSON but no chat completion")
    choices = found.get("choices")
    if not isinstance(choices, list) or not choices:
        said = found.get("error")
        said = said.get("message") if isinstance(said, dict) else said
        raise OddReply(f"its reply has no choices{f' but an error: {short(said)}' if said else ''}")
    choice = choices[0]
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict) or "content" not in message:
        raise OddReply("its reply has a choice without a message")
    content = message["content"]
    if content is not None and not isinstance(content, str):
        raise OddReply("its reply's content is no text")
    cut = choice.get("finish_reason") == "length"
    reply = Reply(sendable(content or ""), _top(choice), cut, content is None)
    return reply, str(found.get("model") or "")


def short(said: object) -> str:
    """Words of a server on one line and not too long."""
    return sendable(" ".join(str(said).split()))[:200]


def _top(choice: Any) -> dict[str, float] | None:
    """The first token's log-probabilities, where the server gave some; in another shape they count as not given."""
    try:
        entries = choice["logprobs"]["content"][0]["top_logprobs"]
        found = {sendable(str(entry["token"])): float(entry["logprob"]) for entry in entries}
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        return None
    return found if found and not any(map(math.isnan, found.values())) else None
