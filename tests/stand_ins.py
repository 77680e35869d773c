"""Stand-ins for what is large or far away."""

from __future__ import annotations

from collections.abc import Sequence

from clo.translate.segments import numbers


class Swahili:
    """Says the same sentence about everything, with the source's numbers."""

    made = 0

    def translate(self, sentences: Sequence[str], attempt: int) -> list[str]:
        Swahili.made += len(sentences)
        return [" ".join(["Hii ni sentensi ya Kiswahili kuhusu paka na mbwa", *numbers(s)]) for s in sentences]
