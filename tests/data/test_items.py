from __future__ import annotations

import pytest
from conftest import byte_level_tokenizer, rows
from hypothesis import given
from hypothesis import strategies as st

from clo.config.choices import LengthPolicy
from clo.data.items import Item, build_items
from clo.data.prompt import Renderer
from clo.data.rows import Row
from clo.errors import UserError

RENDER = Renderer(byte_level_tokenizer(), "chat")
LANGUAGES = ("en", "sw")
ITEMS, _ = build_items(rows(), LANGUAGES, RENDER, 1000)
LENGTHS = [item.longest() for item in ITEMS]


def test_an_item_is_the_rendered_row_source_first() -> None:
    row = rows()[0]
    item = ITEMS[0]
    assert item.id == row.id
    assert item.prompts == tuple(tuple(RENDER.prompt_ids(row.prompts[lang])) for lang in LANGUAGES)
    assert item.responses == tuple(tuple(RENDER.response_ids(row.responses[lang])) for lang in LANGUAGES)


def test_longest_is_that_of_any_cell_of_the_square() -> None:
    item = Item("a", ((1, 1, 1), (1,)), ((2,), (2, 2, 2, 2)))
    assert item.longest() == 3 + 4  # English prompt, target response: off the diagonal


@given(st.integers(1, max(LENGTHS) + 5), st.none() | st.integers(1, 8))
def test_too_long_items_are_left_out_whole_and_counted(window: int, limit: int | None) -> None:
    wanted = [item for item in ITEMS if item.longest() <= window]
    if not wanted:
        with pytest.raises(UserError, match=f"no item fits model.max_length={window}; the first is 'r0'"):
            build_items(rows(), LANGUAGES, RENDER, window, limit=limit)
        return
    items, counts = build_items(rows(), LANGUAGES, RENDER, window, limit=limit)
    assert items == wanted[:limit]
    assert counts.kept == len(items)
    read = len(ITEMS) if limit is None or len(wanted) < limit else ITEMS.index(items[-1]) + 1
    left_out = [item for item in ITEMS[:read] if item.longest() > window]
    assert counts.too_long == len(left_out)
    wanted_first = f"{left_out[0].id!r} ({left_out[0].longest()} tokens)" if left_out else None
    assert counts.first_too_long == wanted_first


@given(st.integers(1, 6), st.integers(1, 6))
def test_sizes_are_nested(a: int, b: int) -> None:
    small, large = (build_items(rows(), LANGUAGES, RENDER, 60, limit=size)[0] for size in sorted((a, b)))
    assert large[: len(small)] == small


def test_the_error_policy_names_the_item_and_its_length() -> None:
    row = rows()[1]
    item = ITEMS[1]
    with pytest.raises(UserError, match=rf"item 'r1' \({item.longest()} tokens\) is longer than model.max_length=20"):
        build_items([row], LANGUAGES, RENDER, 20, LengthPolicy.error)


def test_the_key_is_the_content_and_not_the_name() -> None:
    row = rows()[0]
    other = Row("another", row.prompts, row.responses)
    (a,), (b,) = (build_items([r], LANGUAGES, RENDER, 1000)[0] for r in (row, other))
    assert a.key() == b.key() and len(a.key()) == 32
    assert len({item.key() for item in ITEMS}) == len(ITEMS)
    split = Item("x", ((1, 2), (3,)), ((4,), (5,)))
    assert split.key() != Item("x", ((1,), (2, 3)), ((4,), (5,))).key()
