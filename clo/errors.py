"""The one exception that means: the user can mend this."""

from __future__ import annotations

import math


class UserError(Exception):
    """A mistake of the user, told in one sentence: what is wrong, where, and how to mend it.

    The command line prints it as ``error: …`` with exit code 1 and without a traceback.
    """


def check(ok: bool, key: str, meaning: str, value: object) -> None:
    """Refuse a value in one sentence unless ``ok``."""
    if not ok:
        raise UserError(f"{key} is {meaning}, got {value}")


def plain_name(key: str, value: str) -> None:
    """Refuse a value that cannot be part of a folder's name."""
    ok = value.isascii() and value.replace("-", "").replace("_", "").isalnum()
    check(ok, key, "letters, digits, - and _", value)


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
