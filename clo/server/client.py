"""Calls to a server within a budget, tried again where that can help."""

from __future__ import annotations

import logging
import random
import sys
import threading
import time
from typing import Any

from clo.errors import UserError
from clo.server.endpoint import Endpoint, Sampling
from clo.server.faults import BudgetSpent, Hiccup, Refused, Stopped, met, refusal
from clo.server.reply import OddReply, Reply, read, sendable, short

TRIES = 6
"""Times one request is sent before the server is given up; assumed."""
BACK_OFF = 1.0
"""Seconds before the second try; doubled with every further one, less up to half at random; assumed."""
LONGEST_WAIT = 300.0
"""Seconds; a server that asks to wait longer ends the command, which goes on later; assumed."""
MOST_BYTES = 2**26
"""A longer response is none of a chat; assumed."""


class Client:
    """Asks one endpoint; its methods may be called from several threads.

    Tries again by itself and not through the openai client, whose tries a budget could not count.

    Args:
        endpoint: the server and the model.
        budget: calls allowed, every try counted; None allows any number.

    Raises:
        UserError: the environment keeps a client from being made (proxies, certificates).
    """

    def __init__(self, endpoint: Endpoint, budget: int | None = None) -> None:
        import openai

        self.endpoint, self.budget, self.calls = endpoint, budget, 0
        self.stop = threading.Event()
        """Set when one thread failed or the user stops: no further call is begun."""
        self.version = str(openai.__version__)
        self._lock = threading.Lock()
        self._logprobs, self._answered, self._limit, self._other = True, False, "max_tokens", False
        for name in ("httpx", "httpx2"):  # a line of each for every request, with the whole address in it
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            self._client = openai.OpenAI(
                api_key=endpoint.key, base_url=endpoint.base_url, timeout=endpoint.timeout, max_retries=0
            )
        except Exception as error:  # of many classes, by what is wrong in the environment
            raise UserError(
                f"{endpoint.who()} cannot be asked ({type(error).__name__}); see {endpoint.purpose.base_url}= and the "
                "proxies and certificates that the environment names"
            ) from None

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def reply(self, prompt: str, sampling: Sampling) -> Reply:
        """The model's reply to one prompt.

        Args:
            prompt: the user's message.
            sampling: how to make the reply; log-probabilities are asked for as long as the server takes that.

        Raises:
            BudgetSpent: before the call that would exceed it.
            Refused: the server takes other prompts but not this one.
            Stopped: ``stop`` was set meanwhile.
            UserError: the server refuses, or is not there after all tries.
        """
        for attempt in range(TRIES):
            try:
                return self._call(prompt, sampling)
            except Hiccup as hiccup:
                # Not raised from it: the cause holds the request and with it the key.
                last = hiccup
            wait = last.wait
            if wait is not None and wait > LONGEST_WAIT:
                last = Hiccup(f"it asks to wait {wait:.0f} s, {last}", last.mend)
                break
            delay = BACK_OFF * 2**attempt * random.uniform(0.5, 1) if wait is None else max(0.0, wait)
            if attempt + 1 < TRIES and self.stop.wait(delay):
                raise Stopped
        raise last.given_up(self.endpoint)

    def _call(self, prompt: str, sampling: Sampling) -> Reply:
        """One reply, with the requests it takes to learn which parameters the server knows."""
        wanted = asked = sampling.top > 0 and self._logprobs
        limit = self._limit
        while True:
            try:
                reply = self._send(prompt, sampling, asked, limit)
            except Refused as refused:
                if limit == "max_tokens" and "max_completion_tokens" in refused.whole:
                    limit = "max_completion_tokens"
                elif asked:
                    asked = False
                elif self._answered:
                    raise
                else:
                    raise refusal(self.endpoint, refused) from None
                continue
            if wanted and not asked:
                self._logprobs = False
            self._limit, self._answered = limit, True
            return reply

    def _send(self, prompt: str, sampling: Sampling, logprobs: bool, limit: str) -> Reply:
        with self._lock:
            if self.stop.is_set():
                raise Stopped
            if self.budget is not None and self.calls >= self.budget:
                raise BudgetSpent
            self.calls += 1
        messages = [{"role": "system", "content": sampling.system}] if sampling.system else []
        messages.append({"role": "user", "content": sendable(prompt)})
        more: dict[str, Any] = {} if self.endpoint.max_tokens is None else {limit: self.endpoint.max_tokens}
        if logprobs:
            more |= {"logprobs": True, "top_logprobs": sampling.top}
        try:
            body, kind = self._receive(
                {"model": self.endpoint.model, "messages": messages, "temperature": sampling.temperature, **more}
            )
            reply, model = read(body, kind)
        except Exception as error:  # of the openai client and of the HTTP library below it
            raise met(error, self.endpoint) from None
        self._check_model(model)
        return Reply(self.endpoint.without_key(reply.text), reply.top, reply.cut, reply.silent)

    def _receive(self, request: dict[str, Any]) -> tuple[bytes, str]:
        """(body, content type), read by hand: the client's own timeout starts anew with every byte that drips in."""
        end, body = time.monotonic() + self.endpoint.timeout, bytearray()
        create: Any = self._client.chat.completions.with_streaming_response.create
        with create(**request) as response:
            for part in response.iter_bytes():
                body += part
                if time.monotonic() > end:
                    raise TimeoutError
                if len(body) > MOST_BYTES:
                    raise OddReply("its reply does not end")
            return bytes(body), response.headers.get("content-type", "")

    def _check_model(self, model: str) -> None:
        """Say once that another model answers; names differ for good reasons, so it is no error."""
        told, wanted = model.casefold(), self.endpoint.model.casefold()
        if not told or told in wanted or wanted in told:
            return
        with self._lock:
            said, self._other = self._other, True
        if not said:
            shown, setting = self.endpoint.without_key(short(model)), f"{self.endpoint.purpose.model}="
            print(
                f"{self.endpoint.who()} answers as '{shown}', not as '{self.endpoint.model}'; see {setting}",
                file=sys.stderr,
            )
