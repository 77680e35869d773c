"""What a command is, and how it explains itself."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clo.commands.options import WIDTH, described, read


@dataclass(frozen=True)
class Command:
    """One word after ``clo``."""

    name: str
    summary: str
    """What it does, half a line."""
    reads: str
    writes: str
    example: str
    """Words after ``clo``; one command per line."""
    run: Callable[[Any], bool | None]
    """Takes the options (or the words, where Hydra reads them); false: not all of it could be done."""
    options: type | None = None
    """Dataclass of its keys; none: Hydra reads the words."""
    keys: str = ""
    """Help on keys that Hydra reads."""
    stopped: str = "the same command goes on"
    """What a person should know after Ctrl-C."""
    explains_itself: bool = False
    """``--help`` is answered by ``run`` too."""

    def call(self, words: Sequence[str]) -> bool:
        """Run it; whether everything asked for was done.

        Raises:
            UserError: the words are wrong, or the work cannot be done.
        """
        asked = words if self.options is None else read(self.options, words, self.name)
        return self.run(asked) is not False

    def help(self) -> str:
        """What it does, reads and writes, its keys, an example."""
        examples = "\n".join(f"  clo {line}" for line in self.example.splitlines())
        keys = self.keys if self.options is None else "\n".join(described(self.options))
        parts = [f"clo {self.name}: {self.summary}", _fact("Reads", self.reads), _fact("Writes", self.writes)]
        return "\n\n".join([parts[0], "\n".join(parts[1:]), keys.rstrip(), f"Example\n{examples}"])


def _fact(word: str, text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=f"{word:<8}", subsequent_indent=" " * 8, break_on_hyphens=False)
