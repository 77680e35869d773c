"""``clo <command>`` and ``python -m clo <command>``: one place for help, errors and exit codes.

Exit codes: 0, everything asked for is done; 1, it is not, and a sentence on stderr says why; 130, stopped by Ctrl-C (or
SIGTERM, which is a scheduler's Ctrl-C).
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from pathlib import Path

from clo import __version__
from clo.commands.command import Command
from clo.errors import UserError
from clo.storage.files import cannot_write

NAMES = ("train", "plan", "report", "advise", "evaluate", "answer", "chat", "judge", "translate", "export")
STOPPED = 130
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""A disk that takes no more, wherever a library meets it: many write temporary files."""


def command_of(name: str) -> Command:
    """The command of this name; its file is imported, nothing heavy with it."""
    found: Command = import_module(f"clo.commands.{name}").COMMAND
    return found


def main(words: Sequence[str] | None = None) -> None:
    """The command line (``sys.argv`` where no words are given); exits."""
    name, *words = (sys.argv[1:] if words is None else words) or [""]
    if name in ("-h", "--help", "help", ""):
        print(overview())
        sys.exit(0 if name else 1)
    if name in ("-V", "--version"):
        print(__version__)
        sys.exit(0)
    if name not in NAMES:
        close = get_close_matches(name, NAMES, 1)
        meant = f"; did you mean `clo {close[0]}`?" if close else ""
        sys.exit(f"error: unknown command {name!r}{meant} (commands: {', '.join(NAMES)})")
    run(command_of(name), words)


def run(command: Command, words: Sequence[str]) -> None:
    """One command, from its words to the exit code."""
    if {"-h", "--help"} & set(words) and not command.explains_itself:
        print(command.help())
        sys.exit(0)
    if not words and command.name not in ("train", "plan"):
        print(command.help(), file=sys.stderr)
        sys.exit(1)
    exit_after(partial(command.call, words), command.stopped)


def exit_after(work: Callable[[], object], stopped: str) -> None:
    """Do the work and end the process with its exit code; work that returns false is not all done."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        done = work()
    except UserError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # `clo … | head`: what was to be done is done, nobody reads the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in FULL:
            raise
        sys.exit(f"error: {cannot_write(error, Path(error.filename or tempfile.gettempdir()))}")
    except KeyboardInterrupt as end:
        print(f"stopped; {end.args[0] if end.args else stopped}", file=sys.stderr)
        sys.exit(STOPPED)
    sys.exit(1 if done is False else 0)


def overview() -> str:
    """All commands, a line each."""
    lines = [f"  {name:<10} {command_of(name).summary}" for name in NAMES]
    head = "clo: teach a language model that speaks English to answer in another language\n"
    return "\n".join([head, "  clo <command> [key=value ...]", "", *lines, "", "`clo <command> --help` tells more."])
