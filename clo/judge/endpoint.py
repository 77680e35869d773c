"""Which model judges, where and how: from the command line and the environment."""

from __future__ import annotations

import os

from clo.errors import UserError
from clo.server.endpoint import Endpoint, Purpose, Sampling
from clo.server.endpoint import endpoint as server_endpoint

JUDGE = Purpose("judge", "judgments", "raise timeout= or lower parallel=")
QUALITY = Sampling(top=5)
"""How a comparison is asked: with as many of the likeliest first tokens as AlpacaEval 2 asks for."""
LANGUAGE = Sampling()
"""How the language of an answer is asked; the temperature is 0 in both, and part of a reply's place in the cache."""


def endpoint(model: str | None, base_url: str | None, timeout: float = 120.0, max_tokens: int = 16) -> Endpoint:
    """The judge that options and environment name.

    Args:
        model: its name; none is CLO_JUDGE_MODEL.
        base_url: its server's address; none is OPENAI_BASE_URL.
        timeout: seconds a call may take.
        max_tokens: tokens of a reply.

    Raises:
        UserError: model, address or key is missing, or the address is none.
    """
    model = model or os.environ.get("CLO_JUDGE_MODEL", "")
    if not model:
        raise UserError("the judge's name is missing; give model=<name> or set CLO_JUDGE_MODEL")
    url = base_url or os.environ.get("OPENAI_BASE_URL", "")
    if not url:
        raise UserError(
            "the judge's address is missing; give base_url= (such as http://localhost:8000/v1 or "
            "https://api.openai.com/v1) or set OPENAI_BASE_URL"
        )
    return server_endpoint(JUDGE, url, model, timeout, max_tokens)
