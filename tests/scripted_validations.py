"""Validations that say a given held-out NLL at every step, so that the kept step does not hang on rounding."""

from __future__ import annotations

from collections.abc import Callable

from clo.training.module import CLOModule

TARGET = {0: 9.0, 1: 5.0, 2: 4.0, 3: 3.0, 4: 3.5, 5: 3.2, 6: 2.0, 7: 1.0, 8: 0.5}
ENGLISH = {0: 1.0, 1: 1.0, 2: 1.019, 3: 1.02, 4: 1.0, 5: 1.0, 6: 1.01, 7: 1.03, 8: 1.5}
"""Held-out NLL by step: 6 has the lowest target NLL among those with English within 2 %."""


def telling(real: Callable[[CLOModule], dict[str, float]]) -> Callable[[CLOModule], dict[str, float]]:
    """What a module measures on held-out rows, with the NLLs of ``TARGET`` and ``ENGLISH`` in place of its own."""

    def told(self: CLOModule) -> dict[str, float]:
        return real(self) | {"nll_target": TARGET[self.global_step], "nll_en": ENGLISH[self.global_step]}

    return told


def install() -> None:
    """For the rest of this process (a run of ``warm_runs``)."""
    CLOModule._held_out = telling(CLOModule._held_out)  # type: ignore[method-assign]
