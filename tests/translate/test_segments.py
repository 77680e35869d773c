"""What of a text is translated, and what is wrong with a translation."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clo.translate.checks import fault, repeats
from clo.translate.segments import around_protected, numbers, pieces, protected

PARTS = st.sampled_from(
    ["Hello there.", " How are you? ", "\n", "\r\n", "```\ncode. Here\n```\n", "`x.y` is", "- item\n", "1. ", "## ",
     "$a+b$", "https://a.b/c.", "Dr. Who", "e.g. this", "你好。", "再见！好", "| a | b |", "\t", "...", "~~~", "{name}",
     "<b>", "3.14", "“Yes.” "]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(PARTS | st.text(max_size=12), max_size=12))
def test_joining_the_pieces_gives_the_text_back(parts: list[str]) -> None:
    text = "".join(parts)
    assert "".join(piece.text for piece in pieces(text)) == text
    for piece in pieces(text):
        if piece.translate:
            assert piece.text == piece.text.rstrip() and any(char.isalpha() for char in piece.text)
            assert "".join(p.text for p in around_protected(piece.text)) == piece.text


def test_what_is_a_sentence() -> None:
    text = "# Title\n1. Use `a.b` now. Then see https://x.y/z, e.g. Dr. Who's page.\n```\nNo. Not this.\n```\n"
    text += "42\nDone? Yes!"
    assert [p.text for p in pieces(text) if p.translate] == [
        "Title", "Use `a.b` now.", "Then see https://x.y/z, e.g. Dr. Who's page.", "Done?", "Yes!",
    ]  # fmt: skip
    kept = ["`a.b`", "$x$", "{n}", "me@b.co", "https://x.y/z"]
    assert protected("Use `a.b`, $x$ and {n} at me@b.co or https://x.y/z.") == kept
    assert numbers("1,000 and 2.5 of 7") == numbers("7 von 1.000 und 2,5") != numbers("1,000 and 2.6 of 7")


SOURCE = "The cat sat on the mat for 3 hours with `tool`."


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Paka alikaa kwenye mkeka kwa saa 3 na `tool`.", None),
        ("", "empty"),
        ("Paka alikaa kwenye mkeka kwa saa 3.", "code, formula, address or placeholder lost"),
        ("Paka alikaa kwenye mkeka kwa saa 4 na `tool`.", "numbers differ"),
        ("`tool` 3 " + "na paka na mkeka " * 6, "repeats itself"),
        (SOURCE, "not translated"),
        ("`tool` 3", None),
        ("`tool` 3 " + " ".join(a + b for a in "abcdefghijklm" for b in "nopqrstu"), "too short or too long"),
    ],
)
def test_faults(text: str, why: str | None) -> None:
    assert fault(SOURCE, text, lambda _: "target") == why


def test_language_of_a_translation() -> None:
    long = "A sentence that is long enough to tell which language it has been written in."
    assert fault(long, "Noch ein Satz ohne Sinn, aber lang.", lambda _: "other") == "in another language"
    assert fault(long, "Still English, other words though.", lambda _: "en") == "not translated"
    assert (
        fault("Yes, of course it is so.", "Naam, bila shaka ni hivyo.", lambda _: "other") is None
    )  # too short to tell
    assert repeats("我爱你们大家好" * 5) and not repeats("我爱你，你爱她，她爱他们大家")
