"""Which server, which model, with which key; and what the server is to the one who asks."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from clo.errors import UserError


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a server is asked for, in the words of the caller: every message is made of them."""

    what: str
    """Who the server is, such as "judge"."""
    kept: str
    """What stays when a command ends early, such as "judgments"."""
    slow: str
    """What to do about a server that is slow or overloaded."""
    base_url: str = "base_url"
    """The setting of the address."""
    model: str = "model"
    """The setting of the model's name."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the server is to make a reply to a prompt."""

    temperature: float = 0
    system: str = ""
    """The system's message, where there is one."""
    top: int = 0
    """Likeliest first tokens to give with their log-probabilities, where the server can."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the model is, for what, and within which limits it replies."""

    purpose: Purpose
    base_url: str
    model: str
    key: str = field(repr=False)
    """Never shown, logged or written."""
    timeout: float = 120.0
    """Seconds a request may take."""
    max_tokens: int | None = None
    """Tokens of a reply; None leaves it to the server."""

    def who(self) -> str:
        """The server, as messages call it."""
        return f"the {self.purpose.what} at {self.shown_url()}"

    def shown_url(self) -> str:
        """The address without what could be secret in it (user, password, query)."""
        parts = urlsplit(self.base_url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    def without_key(self, text: str) -> str:
        """The text, should a server repeat the key in it, without the key."""
        return text.replace(self.key, "***") if len(self.key) >= 6 else text

    def settings(self, sampling: Sampling) -> dict[str, object]:
        """What a reply depends on besides the prompt: part of its place in the cache.

        The address is not: the same model may be served at another one tomorrow. Nor is ``top``, which adds to a
        reply and changes nothing of it.
        """
        found: dict[str, object] = {
            "model": self.model,
            "temperature": sampling.temperature,
            "max_tokens": self.max_tokens,
        }
        return {**found, "system": sampling.system} if sampling.system else found


def endpoint(
    purpose: Purpose, base_url: str, model: str, timeout: float = 120.0, max_tokens: int | None = None
) -> Endpoint:
    """The endpoint of these settings, with the key of the environment variable OPENAI_API_KEY.

    Args:
        purpose: what it is for.
        base_url: address of the API, such as ``http://localhost:8000/v1``.
        model: the server's name of the model.
        timeout: seconds a request may take.
        max_tokens: of a reply; None leaves it to the server.

    Raises:
        UserError: the address is none, or a remote server's key is missing.
    """
    try:
        host = urlsplit(base_url).hostname if re.match(r"https?://", base_url) else None
        urlsplit(base_url).port  # noqa: B018  # raises where it is no number
    except ValueError:
        host = None
    if not host:
        raise UserError(
            f"the {purpose.what}'s address {purpose.base_url}= is no http:// or https:// address; give one such as "
            "http://localhost:8000/v1"
        )
    if not 0 < timeout < 1e6:
        raise UserError(f"the {purpose.what}'s timeout of {timeout:g} s is not above 0 and below a million")
    return Endpoint(purpose, base_url, model, _key(host, purpose.what), timeout, max_tokens)


def _key(host: str, what: str) -> str:
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key:
        if host == "localhost" or host == "::1" or host.startswith("127."):
            return "none"  # a server of one's own asks for none, but the client wants a word
        raise UserError(f"the {what}'s key is missing; set OPENAI_API_KEY (to none, where the server asks for no key)")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UserError("OPENAI_API_KEY holds characters that no key has; set it again")
    return key
