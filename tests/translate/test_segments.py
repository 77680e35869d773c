"""What of a text is translated, and what is wrong with a translation."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clo.translate.checks import fault, repeats
from clo.translate.segments import around_protected, numbers, pieces, protected, same_numbers
from clo.translate.spoilt import is_spoilt

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


@pytest.mark.parametrize(
    ("source", "translation", "same"),
    [
        ("7 cats and 12 dogs", "৭ টি বিড়াল এবং ১২ টি কুকুর", True),  # Bengali
        ("7 cats and 12 dogs", "৭ টি বিড়াল এবং ১৩ টি কুকুর", False),
        ("In 1999, 2,500 people", "في ١٩٩٩، ٢٬٥٠٠ شخص", True),  # Arabic, its own separators
        ("It costs 3.5 million", "इसकी कीमत ३.५ मिलियन है", True),  # Devanagari
        ("It costs 3.5 million", "इसकी कीमत ३.६ मिलियन है", False),
        ("page 42", "صفحهٔ ۴۲", True),  # Persian
        ("page 42", "第４２页", True),
        ("Add 1, 2, 3.", "Jumlisha 1,2,3.", True),  # a list by its elements
        ("Add 1, 2, 3.", "Jumlisha 1,2,4.", False),
        ("Add 1, 2.", "Jumlisha 1,2.", True),
        ("1,234,567 and 12.5", "1.234.567 na 12,5", True),
        ("100,000 rupees", "1,00,000 रुपये", True),
        ("version 1.2.3", "toleo 1.2.3", True),
        ("1000 of 7", "1 000 kati ya 7", True),
        ("1000", "100", False),
        ("no number", "hakuna 5", False),
    ],
)
def test_numbers_are_compared_by_value(source: str, translation: str, same: bool) -> None:
    assert same_numbers(source, translation) is same
    assert (fault(source, translation, lambda _: "target") == "numbers differ") is not same


@pytest.mark.parametrize(
    ("prompt", "spoilt"),
    [
        ("Translate the following sentence into French: I like cats.", True),
        ("How do you say good morning in Spanish?", True),
        ("Write a haiku about rain.", True),
        ("Which words rhyme with cat?", True),
        ("Correct the grammar of this text.\nI has a cat.", True),
        ("I has a cat.\nProofread the text above", True),
        ("How many letters has the word 'strawberry'?", True),
        ("What led to German reunification?", False),
        ("Tell me about the cuisine of Latin America.", False),
        ("Which nail polish dries quickly?", False),
        ("Summarise:\nThe book was translated by Ann.\nIt sold well.", False),  # what it is about, not what it asks
        ("Name three causes of the French Revolution.", False),
    ],
)
def test_instructions_that_a_translation_would_spoil(prompt: str, spoilt: bool) -> None:
    assert is_spoilt(prompt) is spoilt
