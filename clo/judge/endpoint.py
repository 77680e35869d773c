"""Which judge, where, and with which key: from the command line and the environment."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from clo.errors import UserError

TEMPERATURE = 0
"""The judge's; part of a reply's place in the cache."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the judge is and how it is asked."""

    base_url: str
    model: str
    key: str = field(repr=False)
    """Never shown, logged or written."""
    timeout: float = 120.0
    """Seconds a request may take."""
    max_tokens: int = 16
    """Tokens of a reply."""

    def without_key(self, text: str) -> str:
        """The text, should a server repeat the key in it, without the key."""
        return text.replace(self.key, "***") if len(self.key) >= 6 else text

    def shown_url(self) -> str:
        """The address without what could be secret in it (user, password, query)."""
        parts = urlsplit(self.base_url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def whole_number(options: dict[str, str], key: str, default: int) -> int:
    """The whole number above 0 that an option holds.

    Raises:
        UserError: it holds something else.
    """
    value = options.get(key, str(default))
    if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value) > 0):
        raise UserError(f"{key}={value} is not a whole number above 0")
    return int(value)


def endpoint(options: dict[str, str]) -> Endpoint:
    """The judge that options and environment name.

    Raises:
        UserError: model, address or key is missing, or a value is none.
    """
    model = options.get("model") or os.environ.get("CLO_JUDGE_MODEL", "")
    if not model:
        raise UserError("the judge's name is missing; give model=<name> or set CLO_JUDGE_MODEL")
    url = options.get("base_url") or os.environ.get("OPENAI_BASE_URL", "")
    if not url:
        raise UserError(
            "the judge's address is missing; give base_url= (such as http://localhost:8000/v1 or "
            "https://api.openai.com/v1) or set OPENAI_BASE_URL"
        )
    try:
        host = urlsplit(url).hostname if re.match(r"https?://", url) else None
        urlsplit(url).port  # noqa: B018  # raises where it is no number
    except ValueError:
        host = None
    if not host:
        raise UserError("base_url is no http:// or https:// address; give one such as http://localhost:8000/v1")
    timeout = _seconds(options.get("timeout", "120"))
    return Endpoint(url, model, _key(host), timeout, whole_number(options, "max_tokens", 16))


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < 1e6:
        raise UserError(f"timeout={value} is not a number of seconds above 0")
    return seconds


def _key(host: str) -> str:
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key:
        if host == "localhost" or host == "::1" or host.startswith("127."):
            return "none"  # a server of one's own asks for none, but the client wants a word
        raise UserError("the key is missing; set OPENAI_API_KEY (to none, where the server asks for no key)")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UserError("OPENAI_API_KEY holds characters that no key has; set it again")
    return key
