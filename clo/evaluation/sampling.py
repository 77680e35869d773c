"""Drawing answers at a temperature: each prompt draws from a sequence of its own, in any company and after any stop."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn."""

    temperature: float
    """Above 0: logits are divided by it."""
    seed: int

    def draws(self, prompt: Sequence[int]) -> random.Random:
        """The numbers that the answer to a prompt is drawn by."""
        return random.Random(self.seed_of([prompt]))

    def seed_of(self, prompts: Sequence[Sequence[int]]) -> int:
        """A seed for prompts that are answered together."""
        text = repr((self.seed, [list(prompt) for prompt in prompts]))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def drawn(logits_rv: Tensor, temperature: float, uniforms_r: Sequence[float]) -> list[int]:
    """One token of each row, by its own number in [0, 1): the first whose cumulated probability is above it.

    Args:
        logits_rv: of the next token.
        temperature: above 0.
        uniforms_r: one number of each row.
    """
    import torch

    below_rv = (logits_rv.double() / temperature).softmax(-1).cumsum(-1)
    wanted_r = torch.tensor(uniforms_r, dtype=torch.float64, device=logits_rv.device) * below_rv[:, -1]
    return torch.searchsorted(below_rv, wanted_r[:, None], right=True)[:, 0].clamp(max=logits_rv.shape[1] - 1).tolist()
