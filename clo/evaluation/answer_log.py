"""Answers on disk as they are generated, so that a stopped evaluation goes on from what it has."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from clo.storage.jsonl import append_lines, read_lines


class Answer(NamedTuple):
    """What a model said to one prompt."""

    text: str
    """Without the prompt and special tokens."""
    looped: bool = False
    """Whether it fell into a loop: the same block of tokens again and again."""
    cut: bool = False
    """Whether it was as long as an answer may be, and had no end."""


@dataclass(frozen=True)
class AnswerLog:
    """Answers to one list of prompts.

    What is answered together is kept whole, and generated again whole where a part of it is missing: an answer never
    depends on where the work was stopped.
    """

    path: Path
    key: str
    """Content hash of all that the answers depend on; lines of another key are not read."""

    def known(self) -> dict[int, Answer]:
        """Answers by the place of their prompt."""
        found: dict[int, Answer] = {}
        for line in read_lines(self.path):
            with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
                if line["key"] == self.key:
                    found |= {
                        int(place): Answer(str(text), *map(bool, told))
                        for place, (text, *told) in line["answers"].items()
                    }
        return found

    def add(self, answers: Mapping[int, Answer]) -> None:
        """Keep what was answered together."""
        append_lines(self.path, [{"key": self.key, "answers": dict(answers)}])

    def close(self) -> None:
        """Forget it: what was made of the answers is in place."""
        self.path.unlink(missing_ok=True)
