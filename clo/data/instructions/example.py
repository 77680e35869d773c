"""An English example, and the count of what became of all of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from clo.data.bad_rows import BadRows


@dataclass(frozen=True, slots=True)
class Instruction:
    """One example in the source language."""

    id: str
    prompt: str
    response: str
    rejected: str | None = None
    """The worse response of a quality pair, where pairs are read."""

    def texts(self) -> tuple[str, ...]:
        """Prompt, response, and the worse response where there is one."""
        return (self.prompt, self.response, *([] if self.rejected is None else [self.rejected]))


@dataclass
class Counts:
    """What became of the input, filter by filter in the order they are applied."""

    read: int = 0
    removed: dict[str, int] = field(default_factory=dict)
    kept: int = 0
    noted: dict[str, int] = field(default_factory=dict)
    """What was left out of examples that were kept."""
    bad: BadRows = field(default_factory=BadRows)
    """Records that cannot be used."""

    def note(self, what: str) -> None:
        """Count something that was left out of one example."""
        self.noted[what] = self.noted.get(what, 0) + 1

    def drop(self, reason: str) -> None:
        """Count one example that a filter removed."""
        self.removed[reason] = self.removed.get(reason, 0) + 1

    def lines(self) -> list[str]:
        """For a person."""
        removed = [f"{count:,} removed: {reason}" for reason, count in self.removed.items()]
        noted = [f"{count:,} without {what}" for what, count in self.noted.items()]
        return [f"{self.read:,} read", *removed, f"{self.kept:,} kept", *noted, *self.bad.lines()]
