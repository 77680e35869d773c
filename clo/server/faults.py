"""Whatever can go wrong between us and a server, told in the caller's words and sorted by what helps."""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from clo.errors import UserError
from clo.server.endpoint import Endpoint
from clo.server.reply import OddReply, short


class BudgetSpent(Exception):
    """The next call would exceed the budget."""


class Stopped(Exception):
    """Another thread failed, or the user stops: no further call is begun."""


class Refused(Exception):
    """This one prompt is refused (too long, filtered) by a server that answers others.

    Args:
        said: the status and the server's reason, short.
        whole: all the server said.
    """

    def __init__(self, said: str, whole: str = "") -> None:
        super().__init__(said)
        self.whole = whole


class Hiccup(Exception):
    """Another try may help.

    Args:
        said: what went wrong.
        mend: what to do about it, should no try help.
        wait: seconds the server asks to wait; None where it does not say.
    """

    def __init__(self, said: str, mend: str, wait: float | None = None) -> None:
        super().__init__(said)
        self.mend, self.wait = mend, wait

    def given_up(self, endpoint: Endpoint) -> UserError:
        """What to tell when no try helped."""
        return UserError(
            f"{endpoint.who()} gives no answer: {self}; {self.mend} (the {endpoint.purpose.kept} so far are kept, the "
            "same command goes on)"
        )


def met(error: Exception, endpoint: Endpoint) -> Hiccup | Refused | UserError:
    """What an exception of a request means."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return _status(error, endpoint)
    base_url = f"{endpoint.purpose.base_url}="
    if isinstance(error, OddReply):
        return Hiccup(endpoint.without_key(str(error)), f"see {base_url}, which ends in /v1 for most servers")
    # By name: the HTTP library's own class, which a reply that stops in its midst raises, differs between versions.
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return Hiccup(f"no reply within {endpoint.timeout:g} s", endpoint.purpose.slow)
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            said = short(cause.verify_message or "not trusted")
            return UserError(
                f"{endpoint.who()} has a certificate that does not hold ({said}); see {base_url} and the certificates "
                "of this machine (SSL_CERT_FILE)"
            )
        if isinstance(cause, ssl.SSLError) and cause.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
            return UserError(f"{endpoint.who()} speaks no TLS; see {base_url} (http:// instead of https://?)")
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Hiccup("it cannot be reached (no such host)", f"see {base_url} and the network")
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return Hiccup("it cannot be reached (nothing listens there)", f"start it, or see {base_url}")
    name = type(causes[-1]).__name__
    return Hiccup(f"it drops the connection or cannot be reached ({name})", f"see {base_url} and the server's log")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _status(error: Any, endpoint: Endpoint) -> Hiccup | Refused | UserError:
    code, purpose = error.status_code, endpoint.purpose
    body = error.body
    message = body.get("message") or body.get("detail") if isinstance(body, dict) else body
    told = isinstance(message, str) and not message.lstrip().startswith("<")  # a web page gives no reason
    reason = endpoint.without_key(short(message)) if told else ""
    said = f"HTTP {code} ({reason or 'no reason given'})"
    if code in (400, 422):
        return Refused(said, str(error))
    if code in (401, 403):
        return UserError(f"{endpoint.who()} refuses the key (HTTP {code}); set OPENAI_API_KEY")
    if code == 404:
        return UserError(
            f"{endpoint.who()} has no model '{endpoint.model}' or is not the address of an API (HTTP 404); see "
            f"{purpose.model}=, {purpose.base_url}="
        )
    if (code not in (408, 409, 429) and code < 500) or error.code == "insufficient_quota":
        return refusal(endpoint, said)
    mend = purpose.slow if code < 500 else f"see the server's log, or {purpose.slow}"
    return Hiccup(said, mend, retry_after(error.response.headers))


def refusal(endpoint: Endpoint, said: object) -> UserError:
    """A server that takes no request of this kind."""
    return UserError(
        f"{endpoint.who()} refuses to answer as '{endpoint.model}': {said}; see {endpoint.purpose.model}= and what the "
        "server allows"
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
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
