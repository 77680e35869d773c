"""The one exception that means: the user can mend this."""

from __future__ import annotations

import math

LONGEST = 2000
"""Characters of a message."""


class UserError(Exception):
    """A mistake of the user, told in one sentence: what is wrong, where, and how to mend it.

    The command line prints it as ``error: …`` with exit code 1 and without a traceback. Whatever a message quotes, it
    is one line that can be printed and written, and no longer than a screen.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.splitlines()).encode("utf-8", "backslashreplace").decode("utf-8")
        super().__init__(line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}")


class InUse(UserError):
    """Another process works where this one was to: nothing is wrong, and later it may be free."""


def cause(error: BaseException) -> str:
    """The first line of what a library says, short enough to quote; its kind where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:240].rstrip(" .:;")


def check(ok: bool, key: str, meaning: str, value: object) -> None:
    """Refuse a value in one sentence unless ``ok``."""
    if not ok:
        raise UserError(f"{key} is {meaning}, got {value}")


def plain_name(key: str, value: str) -> None:
    """Refuse a value that cannot be part of a folder's name."""
    ok = value.isascii() and value.replace("-", "").replace("_", "").isalnum()
    check(ok, key, "letters, digits, - and _", value if value.strip() else repr(value))


def positive(key: str, meaning: str, value: float) -> None:
    """Refuse a value that is not finite and above 0."""
    check(math.isfinite(value) and value > 0, key, f"{meaning} and must be above 0", value)


def was_stopped(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind it: Lightning makes an exit of it, a class that is just being made a RuntimeError."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            return True
        error = error.__cause__ or error.__context__
    return False
