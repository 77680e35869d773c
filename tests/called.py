"""``clo <command>`` in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import pytest

from clo.commands.cli import main


def called(*words: str) -> int:
    """The exit code; what a shell would see of the error goes to stderr."""
    try:
        main(words)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    raise AssertionError("a command ends with an exit code")


def done(*words: str) -> None:
    assert called(*words) == 0, words


def refused(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence that a wrong command ends with."""
    capsys.readouterr()
    assert called(*words) == 1, words
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1, said
    return said


def program(command: str) -> Callable[[Sequence[str]], None]:
    """The command as a function: it returns when all is done, and exits with its last words where not."""

    def run(words: Sequence[str]) -> None:
        try:
            main([command, *words])
        except SystemExit as end:
            if end.code not in (0, None):
                raise

    return run
