"""Items over ranks: each once, about as many tokens for each."""

from __future__ import annotations

import pytest
from tiny_runs import random_items

from clo.data.batch import balanced, packed_tokens


@pytest.mark.parametrize("ranks", [1, 2, 5, 30])
def test_ranks_share_items_and_tokens(ranks: int) -> None:
    items, cells = random_items(24), [(0, 0), (0, 1), (1, 1)]
    shares = balanced(items, cells, ranks)
    assert sorted(item.id for share in shares for item in share) == sorted(item.id for item in items)
    loads = [sum(packed_tokens(item, cells) for item in share) for share in shares]
    assert max(loads) - min(loads) <= max(packed_tokens(item, cells) for item in items)
    assert shares[0] == (items if ranks == 1 else sorted(shares[0], key=items.index))
