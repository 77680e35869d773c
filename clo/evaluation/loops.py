"""Answers that turn into a loop: greedy decoding then says the same for ever."""

from __future__ import annotations

from collections.abc import Sequence

REPEATS = 4
"""Times that a block stands one after the other before it counts as a loop."""
TOKENS = 32
"""Tokens that these repetitions are at least: rules of dashes, wide tables and long zeros stay below it."""


def loop_of(ids: Sequence[int]) -> int:
    """Tokens of the shortest block that an answer so far ends in a loop of; 0 where it does not.

    A loop is `REPEATS` or more whole repetitions of one block, of `TOKENS` tokens or more together.

    Args:
        ids: token ids of the answer so far.
    """
    if len(ids) < TOKENS:
        return 0
    last, before = ids[-1], ids[-2]
    for block in range(1, len(ids) // REPEATS + 1):
        if ids[-1 - block] != last or ids[-2 - block] != before:
            continue
        length = max(TOKENS, REPEATS * block)
        if length <= len(ids) and ids[-length:-block] == ids[block - length :]:
            return block
    return 0


def looped(ids: Sequence[int]) -> bool:
    """Whether an answer was in a loop at any of its tokens."""
    return any(loop_of(ids[:end]) for end in range(TOKENS, len(ids) + 1))


def go_round(ids: Sequence[int], length: int) -> list[int]:
    """An answer that is in a loop, gone on with up to a length, as greedy decoding would.

    Args:
        ids: token ids of the answer up to where `loop_of` found the loop.
        length: tokens of the whole.
    """
    block = loop_of(ids)
    whole = list(ids)
    while len(whole) < length:
        whole.append(whole[-block])
    return whole
