"""What Hydra says about a wrong command line, as one sentence without traces."""

from __future__ import annotations

import re
from collections.abc import Sequence

UNDER_NULL = "a key lies under one that is null"
_CAUSES = (
    (r"clo\.errors\.UserError: (.*)", r"\1"),
    ("Config group override must be a string", "a group needs the name of an option, as in lang=sw"),
    (
        "Unexpected type for root: NoneType",
        f"{UNDER_NULL}; choose the option that fills it (tuning=attention_lora for tuning.lora.r)",
    ),
    (
        r"(?:NotADirectory|Permission|FileExists|OS)Error: \[.*'(.*)'",
        r"cannot write cache_dir=\1; set a writable place",
    ),
)
"""Failures inside Hydra that it reports as a bare Python exception, and what they mean."""
_NOISE = ("full_key:", "reference_type=", "object_type=", "See https://", "Set the environment", "To append to your")


def one_sentence(text: str, arguments: Sequence[str]) -> str:
    """The cause of a failed composition.

    Args:
        text: what Hydra wrote to stderr.
        arguments: the command line, named where Hydra does not say which part is wrong.
    """
    if own := re.search(r"UserError raised while resolving interpolation: (.+)", text):
        return own[1].strip()  # of a resolver of ours
    lines = [line for line in text.split("Config search path")[0].splitlines() if line.strip()]
    lines = [line for line in lines if not line.strip().startswith(_NOISE)]
    if not lines:
        return "the command line could not be read"
    missing = "missing EQUAL" in text
    if nameless := next(
        (w for w in arguments if w.startswith("=") or (missing and "=" not in w and w[:1] not in "-~")), None
    ):
        return f"{nameless!r} is not key=value, such as lang=sw"
    if any(line.startswith("Traceback") for line in lines):
        return f"{_known_cause(lines[-1].strip())} (arguments: {' '.join(arguments)})"
    if lines[0].startswith("usage:"):
        if re.search(r"unrecognized arguments: [^-]", text) and {"-m", "--multirun"} & set(arguments):
            return f"-m comes before every key=value, as in -m lang=ko,sw (arguments: {' '.join(arguments)})"
        return " ".join(" ".join(lines).split()).split(" error: ")[-1] + "; `python train.py --help` tells more"
    if (word := _unreadable(lines, arguments)) is not None:
        return (
            f"{word} cannot be read; close every bracket and quote, and put a value that holds signs such as "
            "[ ] { } , : = # or blanks into two kinds of quotes, as in 'data.train=\"my rows.jsonl\"'"
        )
    sentence = lines[0].strip().removesuffix(".")
    for line in lines[1:]:
        separator = " " if sentence.endswith(":") else ", " if line.startswith("\t") else "; "
        sentence += separator + line.strip().removesuffix(".")
    if "Could not override" in sentence:
        sentence += "; `python train.py --cfg job` lists the keys there are"
    if not any(argument in sentence or argument.partition("=")[0] in sentence for argument in arguments):
        sentence += f" (arguments: {' '.join(arguments)})"
    return " ".join(sentence.split())


_PARSER = (
    "Error parsing override",
    "no viable alternative",
    "mismatched input",
    "extraneous input",
    "token recog",
    "Lexer",
)


def _unreadable(lines: Sequence[str], arguments: Sequence[str]) -> str | None:
    """The word of the command line that Hydra's grammar does not take, or none where it took all of them."""
    if not lines[0].startswith(_PARSER):
        return None
    return next((word for word in arguments if any(word in line for line in lines)), " ".join(arguments))


def _known_cause(line: str) -> str:
    for pattern, meaning in _CAUSES:
        if match := re.search(pattern, line):
            return match.expand(meaning)
    return line
