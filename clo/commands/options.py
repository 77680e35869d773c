"""``key=value`` words of a command line: declared once as the fields of a dataclass, with types, bounds and help."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from clo.errors import UserError

T = TypeVar("T")
WIDTH = 100


def option(text: str, default: Any = dataclasses.MISSING, shape: str = "", least: int = 1) -> Any:
    """One key of a command.

    Args:
        text: help.
        default: value where the key is not given; without one the key must be given.
        shape: what stands behind ``key=`` in the help, where the type does not say it.
        least: lowest number, of whole numbers.
    """
    return field(default=default, metadata={"text": text, "shape": shape, "least": least})


def dotted(prefix: str, text: str) -> Any:
    """All keys that begin with ``prefix``, as they were typed (``key=value``)."""
    return field(default=(), metadata={"text": text, "shape": "<value>", "prefix": prefix})


def read(cls: type[T], words: Sequence[str], command: str) -> T:
    """The options that the words give.

    Args:
        cls: a dataclass whose fields come from `option` and `dotted`.
        words: ``key=value``; of a key that is given twice the last one counts, as in Hydra.
        command: its name, for messages.

    Raises:
        UserError: an unknown or missing key, or a value of another type; a wrong key's value is never shown.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    given: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        rest = next((f.name for f in fields.values() if key.startswith(f.metadata.get("prefix") or "\0")), None)
        if equals and rest is not None:
            given[rest] = (*given.get(rest, ()), word)
            continue
        if not equals or key not in fields or "prefix" in fields[key].metadata:
            known = ", ".join(f"{f.metadata.get('prefix', f.name)}=" for f in fields.values())
            raise UserError(f"unknown argument {key!r}; known are {known}; `clo {command} --help` tells more")
        given[key] = _value(key, value, hints[key], fields[key].metadata)
    for name, one in fields.items():
        if one.default is dataclasses.MISSING and name not in given:
            raise UserError(f"{name}={_shape(hints[name], one.metadata)} is missing; `clo {command} --help` tells more")
    return cls(**given)


def _value(key: str, text: str, hint: Any, metadata: Any) -> Any:
    """``text`` as the type that a field has."""
    several = get_origin(hint) in (Union, types.UnionType)
    (kind,) = [t for t in get_args(hint) if t is not type(None)] if several else [hint]
    if kind is bool:
        if text not in ("true", "false"):
            raise UserError(f"{key}={text} must be true or false")
        return text == "true"
    if kind is int:
        least = metadata["least"]
        if not (text.isascii() and text.isdigit() and int(text) >= least):
            raise UserError(f"{key}={text} is not a whole number of at least {least}")
        return int(text)
    if kind is float:
        return _positive(key, text)
    if get_origin(kind) is Literal:
        return _one_of(key, text, get_args(kind))
    if get_origin(kind) is tuple:
        choices = get_args(get_args(kind)[0])
        return tuple(_one_of(key, word.strip(), choices) for word in text.split(","))
    if not text:
        raise UserError(f"{key}= is empty; give {key}={_shape(hint, metadata)}")
    return Path(text).expanduser() if kind is Path else text


def _positive(key: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise UserError(f"{key}={text} is not a number above 0")
    return number


def _one_of(key: str, text: str, choices: Sequence[str]) -> str:
    if text not in choices:
        raise UserError(f"{key}={text} must be one of {', '.join(choices)}")
    return text


def _shape(hint: Any, metadata: Any) -> str:
    """What stands behind ``key=`` in help and messages."""
    if metadata["shape"]:
        return str(metadata["shape"])
    names = {bool: "true|false", int: "<n>", float: "<number>", Path: "<path>", str: "<text>"}
    kinds = [kind for kind in (get_args(hint) or [hint]) if kind is not type(None)]
    return next((names[kind] for kind in kinds if kind in names), "<value>")


def described(cls: type) -> list[str]:
    """Lines of help, one or more per key: required ones first, the default where there is one."""
    hints, lines = get_type_hints(cls), []
    heads = []
    for one in dataclasses.fields(cls):
        shape = _shape(hints[one.name], one.metadata)
        text = one.metadata["text"]
        if one.default not in (dataclasses.MISSING, None, (), False):
            text += f" (default: {_written(one.default)})"
        heads.append(
            (f"{one.metadata.get('prefix', one.name)}{'<key>' if 'prefix' in one.metadata else ''}={shape}", text)
        )
    width = max(len(head) for head, _ in heads) + 2
    for head, text in heads:
        first, *more = _wrapped(text, WIDTH - width)
        lines += [f"  {head:<{width}}{first}", *(f"  {'':<{width}}{line}" for line in more)]
    return lines


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, max(30, width), break_on_hyphens=False) or [""]
