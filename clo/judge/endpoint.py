"""Which model judges, where and how: from the command line and the environment."""

from __future__ import annotations

import math
import os

from clo.errors import UserError
from clo.server.endpoint import Endpoint, Purpose, Sampling
from clo.server.endpoint import endpoint as server_endpoint

JUDGE = Purpose("judge", "judgments", "raise timeout= or lower parallel=")
QUALITY = Sampling(top=5)
"""How a comparison is asked: with as many of the likeliest first tokens as AlpacaEval 2 asks for."""
LANGUAGE = Sampling()
"""How the language of an answer is asked; the temperature is 0 in both, and part of a reply's place in the cache."""


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
    timeout = _seconds(options.get("timeout", "120"))
    return server_endpoint(JUDGE, url, model, timeout, whole_number(options, "max_tokens", 16))


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < 1e6:
        raise UserError(f"timeout={value} is not a number of seconds above 0")
    return seconds
