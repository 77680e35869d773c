"""A judge behind an OpenAI-compatible server: calls within a budget, tried again where that can help."""

from __future__ import annotations

import math
import random
import threading
from typing import Any

from clo.errors import UserError
from clo.judge.endpoint import TEMPERATURE, Endpoint
from clo.judge.prompts import Reply

TRIES = 6
"""Times one request is sent before the judge is given up; assumed."""
BACK_OFF = 1.0
"""Seconds before the second try; doubled with every further one, less up to half at random; assumed."""
LONGEST_WAIT = 300.0
"""Seconds; a server that asks to wait longer ends the command, which goes on later; assumed."""
TOP = 5
"""Likeliest first tokens to ask for: what AlpacaEval 2 asks for, too."""


class BudgetSpent(Exception):
    """The next call would exceed the budget."""


class Refused(Exception):
    """This one prompt is refused (too long, filtered) by a server that answers others."""


class Stopped(Exception):
    """Another thread failed, or the user stops: no further call is begun."""


class Judge:
    """Asks one endpoint; its methods may be called from several threads.

    Args:
        endpoint: the server and the model.
        budget: calls allowed, every try counted; None allows any number.

    Raises:
        UserError: the ``openai`` package is missing, or the address is no address.
    """

    def __init__(self, endpoint: Endpoint, budget: int | None = None) -> None:
        try:
            import openai
        except ImportError as error:
            raise UserError("the judge needs the openai package; `pip install 'clo[judge]'`") from error
        self.endpoint, self.budget, self.calls = endpoint, budget, 0
        self.stop = threading.Event()
        self.client_version = str(openai.__version__)
        self._openai = openai
        self._lock = threading.Lock()
        self._logprobs, self._answered, self._limit = True, False, "max_tokens"
        self._client = openai.OpenAI(
            api_key=endpoint.key, base_url=endpoint.base_url, timeout=endpoint.timeout, max_retries=0
        )

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def reply(self, prompt: str, logprobs: bool) -> Reply:
        """The judge's reply to one prompt.

        Args:
            prompt: the user's message.
            logprobs: whether to ask for the first token's log-probabilities, as long as the server takes that.

        Raises:
            BudgetSpent: before the call that would exceed it.
            Refused: the server takes other prompts but not this one.
            Stopped: ``stop`` was set meanwhile.
            UserError: the server refuses, or is not there after all tries.
        """
        fault = ""
        for attempt in range(TRIES):
            wait, fault, reply = self._try(prompt, logprobs)
            if reply is not None:
                return reply
            if wait is not None and wait > LONGEST_WAIT:
                fault = f"it asks to wait {wait:.0f} s ({fault})"
                break
            delay = BACK_OFF * 2**attempt * random.uniform(0.5, 1) if wait is None else max(0.0, wait)
            if attempt + 1 < TRIES and self.stop.wait(delay):
                raise Stopped
        raise UserError(
            f"the judge at {self.endpoint.shown_url()} gives no answer: {fault}; the judgments so far are kept, the "
            "same command goes on (timeout=, parallel= for a slow server)"
        )

    def _try(self, prompt: str, logprobs: bool) -> tuple[float | None, str, Reply | None]:
        """(seconds the server asks to wait or None, what went wrong, the reply or None)."""
        openai = self._openai
        try:
            return None, "", self._call(prompt, logprobs)
        except openai.APITimeoutError:
            return None, f"no reply within {self.endpoint.timeout:g} s", None
        except openai.APIConnectionError:
            return None, "it cannot be reached or drops the connection", None
        except openai.APIStatusError as error:
            code = error.status_code
            if (code not in (408, 409, 429) and code < 500) or error.code == "insufficient_quota":
                raise self._refused(error) from None  # the cause holds the request and with it the key
            return _retry_after(error.response.headers), f"HTTP {code} {self._said(error)}", None
        except (openai.OpenAIError, ValueError, TypeError, AttributeError, IndexError, KeyError):
            return None, "its replies are no chat completions in JSON; see base_url=", None

    def _call(self, prompt: str, logprobs: bool) -> Reply:
        """One reply, with the requests it takes to learn which parameters the server knows."""
        bad = (self._openai.BadRequestError, self._openai.UnprocessableEntityError)
        wanted = asked = logprobs and self._logprobs
        limit = self._limit
        while True:
            try:
                reply = self._send(prompt, asked, limit)
            except bad as error:
                if limit == "max_tokens" and "max_completion_tokens" in str(error):
                    limit = "max_completion_tokens"
                elif asked:
                    asked = False
                elif self._answered:
                    raise Refused(f"HTTP {error.status_code} {self._said(error)}") from None
                else:
                    raise
                continue
            if wanted and not asked:
                self._logprobs = False
            self._limit, self._answered = limit, True
            return reply

    def _send(self, prompt: str, logprobs: bool, limit: str) -> Reply:
        with self._lock:
            if self.stop.is_set():
                raise Stopped
            if self.budget is not None and self.calls >= self.budget:
                raise BudgetSpent
            self.calls += 1
        more: dict[str, Any] = {limit: self.endpoint.max_tokens}
        if logprobs:
            more |= {"logprobs": True, "top_logprobs": TOP}
        done = self._client.chat.completions.create(
            model=self.endpoint.model, messages=[{"role": "user", "content": prompt}], temperature=TEMPERATURE, **more
        )
        choice = done.choices[0]
        text = choice.message.content
        if text is not None and not isinstance(text, str):
            raise TypeError("the content is no text")
        return Reply(self.endpoint.without_key(text or ""), _top(choice))

    def _refused(self, error: Any) -> UserError:
        where, model = self.endpoint.shown_url(), self.endpoint.model
        if error.status_code in (401, 403):
            return UserError(f"the judge at {where} refuses the key (HTTP {error.status_code}); set OPENAI_API_KEY")
        if error.status_code == 404:
            return UserError(f"{where} has no model '{model}' or is not the address of an API; see model=, base_url=")
        return UserError(f"the judge '{model}' at {where} refuses: HTTP {error.status_code} {self._said(error)}")

    def _said(self, error: Any) -> str:
        """The server's own words, short, on one line and without the key."""
        body = error.body
        message = body.get("message") if isinstance(body, dict) else None
        text = self.endpoint.without_key(" ".join(str(message or "").split()))
        return f"({text[:200]})" if text else "(no reason given)"


def _top(choice: Any) -> dict[str, float] | None:
    """The first token's log-probabilities, where the server gave some; in another shape they count as not given."""
    try:
        found = {str(entry.token): float(entry.logprob) for entry in choice.logprobs.content[0].top_logprobs}
    except (AttributeError, IndexError, TypeError, ValueError):
        return None
    return found if found and not any(map(math.isnan, found.values())) else None


def _retry_after(headers: Any) -> float | None:
    """Seconds of a ``Retry-After`` header (RFC 9110, 10.2.3: seconds or a date), None where there is none."""
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    value = headers.get("retry-after")
    if not value:
        return None
    try:
        return None if math.isnan(float(value)) else float(value)
    except ValueError:
        pass
    try:
        return (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
