"""The judge's prompts, filled in, and what its replies mean."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import exp
from pathlib import Path
from typing import Any, Literal

from clo.errors import UserError
from clo.server.reply import Reply

Kind = Literal["quality", "language"]
"""What is asked: which of two answers is better, or whether one is in the language of its instruction."""

PATH = Path(__file__).with_name("prompts.yaml")
_HOLE = re.compile(r"\{(instruction|first|second|answer)\}")
_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)
_WORDS: Mapping[Kind, tuple[str, ...]] = {"quality": ("A", "B", "tie"), "language": ("yes", "no")}


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask, with the wording for a judge that answers out of format."""

    kind: Kind
    text: str
    reminded: str


@lru_cache(maxsize=1)
def _prompts() -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(PATH.read_text(encoding="utf-8"))
        texts = [found[kind][part] for kind in _WORDS for part in ("prompt", "reminder")] + [found["version"]]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UserError(
            f"{PATH} is not readable as prompts ({' '.join(str(error).split())[:200]}); install again"
        ) from error
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise UserError(f"{PATH} has an empty prompt or a version without quotes; mend that file")
    return dict(found)


def version() -> str:
    """The prompts' version.

    Raises:
        UserError: the file of the prompts is broken.
    """
    return str(_prompts()["version"])


def digest() -> str:
    """Content hash of the prompts' wording, whatever their version says.

    Raises:
        UserError: the file of the prompts is broken.
    """
    text = json.dumps({kind: _prompts()[kind] for kind in _WORDS}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _question(kind: Kind, **values: str) -> Question:
    prompts = _prompts()[kind]
    # One pass: braces inside an answer are not filled in.
    text = _HOLE.sub(lambda hole: values[hole[1]], prompts["prompt"])
    text = text.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be sent
    return Question(kind, text, text + prompts["reminder"])


def quality(instruction: str, first: str, second: str) -> Question:
    """Which of the two answers is better."""
    return _question("quality", instruction=instruction, first=first, second=second)


def language(instruction: str, answer: str) -> Question:
    """Whether the answer is in the language of the instruction."""
    return _question("language", instruction=instruction, answer=answer)


def word(kind: Kind, text: str) -> str | None:
    """The one word of a reply (``A``, ``B``, ``tie``; ``yes``, ``no``), or None where it keeps to no format.

    Signs around the word and the thoughts of a reasoning model before it do not count, nor does case.
    """
    bare = re.sub(r"^[\W_]+|[\W_]+$", "", _THOUGHT.sub("", text)).casefold()
    return next((known for known in _WORDS[kind] if known.casefold() == bare), None)


def soft(reply: Reply) -> float | None:
    """Preference for the first answer by the first token's probabilities, or None where they do not tell.

    (P(A) + P(tie) / 2) / (P(A) + P(B) + P(tie)), which is P(A) / (P(A) + P(B)) for a judge that never ties. A judge
    whose first token is no word of the format (one that thinks aloud first) has said nothing with it yet.
    """
    if not reply.top or _first_token(max(reply.top, key=reply.top.__getitem__)) is None:
        return None
    mass = {"A": 0.0, "B": 0.0, "tie": 0.0}
    for token, logprob in reply.top.items():
        known = _first_token(token)
        if known is not None:
            mass[known] += exp(logprob)
    total = sum(mass.values())
    return (mass["A"] + mass["tie"] / 2) / total if total > 0 else None


def _first_token(token: str) -> str | None:
    bare = token.strip(" \n\t\"'*`.▁Ġ")
    return bare if bare in ("A", "B") else "tie" if bare.casefold() in ("t", "ti", "tie") else None


def preference(reply: Reply) -> tuple[float, bool] | None:
    """Preference for the first answer in [0, 1] and whether log-probabilities gave it; None out of format."""
    said = word("quality", reply.text)
    if said is None:
        return None
    value = soft(reply)
    if value is not None:
        return value, True
    return {"A": 1.0, "B": 0.0, "tie": 0.5}[said], False


def same_language(reply: Reply) -> bool | None:
    """The verdict of a reply about language; None out of format."""
    said = word("language", reply.text)
    return None if said is None else said == "yes"


READ: Mapping[Kind, Callable[[Reply], object | None]] = {"quality": preference, "language": same_language}
"""How a reply is read; None means out of format."""
