"""Answers to open prompts by a server that renders and generates by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clo.errors import UserError
from clo.server.client import Client
from clo.server.endpoint import Purpose, Sampling, endpoint
from clo.server.faults import Refused
from clo.server.reply import Reply, short
from clo.server.several import Asker

ANSWERING = Purpose("answering server", "answers", "lower max_new_tokens=, or try later")
PARALLEL = 8
"""Calls at a time; assumed."""
TIMEOUT = 120.0
"""Seconds an answer may take; assumed."""


def answering(base_url: str, model: str, longest: int) -> Callable[[Sequence[str]], list[Reply]]:
    """A function from prompts to their answers at temperature 0.

    Replies are not kept by content: two runs may be served under one name, one after the other.

    Args:
        base_url: address of the server.
        model: its name of the model.
        longest: tokens of an answer; one that reaches them is ``cut``.

    Returns:
        The function; it raises UserError where the server fails or refuses a prompt.

    Raises:
        UserError: the address is none, or a remote server's key is missing.
    """
    place = endpoint(ANSWERING, base_url, model, TIMEOUT, longest)
    asker = Asker(Client(place), PARALLEL)

    def answer(prompts: Sequence[str]) -> list[Reply]:
        answers = []
        for prompt, reply in zip(prompts, asker.replies(prompts, Sampling()), strict=True):
            if isinstance(reply, Refused):
                raise UserError(
                    f"{place.who()} refuses the prompt '{short(prompt)[:60]}': {reply}; leave it out of prompts="
                )
            answers.append(reply)
        return answers

    return answer
