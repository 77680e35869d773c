"""The embedded rows: counts, splits, blend, wording, and that they stay what they are."""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from clo.data.cldr import EVALUATION_SIZES, FORMS, SPLITS, cldr_rows, facts, names, wording
from clo.data.cldr.splits import UNSEEN, Fact, order
from clo.data.rows import Row
from clo.errors import UserError

LANGUAGES = facts.CORE_LANGUAGES
TARGETS = LANGUAGES[1:]
SIZES = (100, 200, 400, 800, 1600, 3200, 6400)
HASHES = {
    "en": "ee43cc9b01976a51",
    "zh": "9899182b3c029179",
    "de": "a546740dc006e2f7",
    "ko": "20c2fd17d54dfca1",
    "id": "d2ef5ce7d0d4c807",
    "sw": "d5a413e2cebbc6fb",
    "yo": "a07e71aae4c2bf83",
}


@pytest.fixture(scope="module")
def rows() -> dict[str, list[Row]]:
    return {split: cldr_rows(split, LANGUAGES) for split in SPLITS}


def relation(row: Row) -> str:
    return row.id.split(".")[0]


FACTS = {fact.id: fact for fact in (*facts.closed_facts(), *facts.generated_facts())}


def fact_of(row: Row) -> Fact:
    return FACTS[row.id.rsplit(".", 1)[0]]


def letters(text: str) -> int:
    return sum(character.isalpha() for character in text)


@pytest.mark.parametrize("target", TARGETS)
def test_a_pair_has_enough_distinct_rows_and_comes_fast(target: str) -> None:
    began = time.monotonic()
    train = cldr_rows("train", ["en", target])
    assert time.monotonic() - began < 3
    for code in ("en", target):
        assert len({(row.prompts[code], row.responses[code]) for row in train}) >= 6400
        assert len({row.prompts[code] for row in train}) == len(train)
    assert len({row.id for row in train}) == len(train)
    assert set(train[0].prompts) == set(train[0].responses) == set(train[0].gold) == {"en", target}


def test_evaluation_sets_have_their_sizes_and_groups(rows: dict[str, list[Row]]) -> None:
    for split, parts in EVALUATION_SIZES.items():
        counts = Counter(row.group for row in rows[split])
        assert counts == {"seen": parts["closed"] + parts["formats"], "unseen": parts["unseen"]}
        assert sum(relation(row) in facts.FORMATS for row in rows[split]) == parts["formats"]
        assert len({row.prompts["sw"] for row in rows[split]}) == len(rows[split])
    assert Counter(row.group for row in rows["test"]) == {"seen": 120, "unseen": 80}
    assert Counter(row.group for row in rows["dev"]) == {"seen": 100, "unseen": 50}
    assert {row.group for row in rows["train"]} == {""}


def test_no_fact_nor_its_reverse_is_in_two_splits(rows: dict[str, list[Row]]) -> None:
    keys = {split: {fact_of(row).key for row in rows[split]} for split in SPLITS}
    assert not keys["train"] & keys["dev"]
    assert not keys["train"] & keys["test"]
    assert not keys["dev"] & keys["test"]


def test_unseen_relations_never_occur_in_train(rows: dict[str, list[Row]]) -> None:
    trained = {relation(row) for row in rows["train"]}
    assert not trained & set(UNSEEN)
    for split in ("dev", "test"):
        assert {relation(row) for row in rows[split] if row.group == "unseen"} == set(UNSEEN)
        assert {relation(row) for row in rows[split] if row.group == "seen"} <= trained


def test_units_have_their_plural_forms_and_a_name_everywhere() -> None:
    said = {code: [names.name("full_unit", f"{n} st", code) for n in (1, 2)] for code in ("en", "de", "sw")}
    assert said == {"en": ["1 stone", "2 stones"], "de": ["1 Stone", "2 Stones"], "sw": ["jiwe 1", "mawe 2"]}
    for symbol, unit in names.UNITS.items():
        found = {code: names.name("full_unit", f"5 {symbol}", code) for code in LANGUAGES}
        assert all(text and "5" in text and unit not in text and text != f"5 {symbol}" for text in found.values()), (
            found
        )


def test_amounts_name_no_currency_that_is_held_out(rows: dict[str, list[Row]]) -> None:
    held = {f.subject for f in facts.closed_facts() if f.relation == "code_currency" and f.split != "train"}
    assert held
    assert not {row.id.split(".")[1].split("_")[1] for row in rows["train"] if relation(row) == "amount"} & held


def test_about_three_quarters_of_every_large_relation_are_trained_on() -> None:
    counts = Counter((fact.relation, fact.split == "train") for fact in facts.closed_facts() if fact.group == "seen")
    for name in {fact.relation for fact in facts.closed_facts() if fact.group == "seen"}:
        share = counts[name, True] / (counts[name, True] + counts[name, False])
        assert 0.70 <= share <= 0.80, name


def test_every_prefix_has_the_blend_of_the_whole(rows: dict[str, list[Row]]) -> None:
    train = rows["train"]
    whole = Counter(relation(row) for row in train)
    forms = Counter(row.id.rsplit(".", 1)[1] for row in train)
    for size in SIZES:
        part, part_forms = (
            Counter(relation(r) for r in train[:size]),
            Counter(r.id.rsplit(".", 1)[1] for r in train[:size]),
        )
        for name, count in whole.items():
            expected = size * count / len(train)
            # every (relation, form) stratum is at most one row off its share
            assert abs(part[name] - expected) <= FORMS + 1, (size, name)
        assert all(abs(part_forms[form] / size - count / len(train)) < 0.10 for form, count in forms.items())
    closed = sum(count for name, count in whole.items() if name not in facts.FORMATS)
    assert closed / len(train) > 0.7


def test_rows_do_not_depend_on_which_languages_are_asked_for(rows: dict[str, list[Row]]) -> None:
    trio = cldr_rows("train", ["en", "sw", "yo"])
    pair = cldr_rows("train", ["en", "sw"])
    assert [row.id for row in trio] == [row.id for row in pair] == [row.id for row in rows["train"]]
    assert set(trio[0].prompts) == {"en", "sw", "yo"}
    assert all(
        a.responses["sw"] == b.responses["sw"] and a.prompts["en"] == b.prompts["en"]
        for a, b in zip(trio, pair, strict=True)
    )


@pytest.mark.parametrize("code", LANGUAGES)
def test_texts_are_whole_sentences(rows: dict[str, list[Row]], code: str) -> None:
    for split in SPLITS:
        for row in rows[split]:
            prompt, response, gold = row.prompts[code], row.responses[code], row.gold[code]
            for text in (prompt, response, gold):
                assert text.strip() == text and text, row.id
                assert not re.search(r"[{}]|length-|None|  ", text), (row.id, text)
            assert gold in response, row.id
            assert not response.startswith(gold), row.id
            assert response[-1] in ".。", row.id
            fact = fact_of(row)
            subject = str(names.name(facts.RELATIONS[fact.relation][0], fact.subject, code))
            assert subject in prompt, row.id
            assert not response.startswith(subject), row.id
            if code in ("zh", "ko"):
                assert len(re.findall(r"[\u4e00-\u9fff\uac00-\ud7a3]", response)) >= 8, (row.id, response)
            else:
                assert letters(response) >= 20, (row.id, response)


def test_most_objects_that_are_names_differ_from_english(rows: dict[str, list[Row]]) -> None:
    named = [row for row in rows["train"] if not relation(row).endswith("_code")]
    for code in TARGETS:
        different = sum(row.gold[code] != row.gold["en"] for row in named) / len(named)
        assert different > 0.75, (code, different)


def test_known_facts_are_right() -> None:
    table = {(fact.relation, fact.subject): fact for fact in facts.closed_facts()}
    answers = {
        ("territory_currency", "DE"): "The currency used in Germany is called Euro.",
        ("code_territory", "US"): "The country with the two-letter code US is the United States.",
        ("month_before", "1"): "The month that comes before January is December.",
        ("day_after", "6"): "The day of the week that comes after Sunday is Monday.",
        ("territory_city", "JP"): "The time zone of Japan is named after the city of Tokyo.",
    }
    for key, sentence in answers.items():
        assert wording.answer(table[key], "en") == sentence
    assert wording.gold(table["code_territory", "US"], "en") == "United States"
    assert wording.gold(table["territory_currency", "DE"], "sw") == "Yuro"
    assert wording.gold(table["code_language", "de"], "yo") == "Èdè Jámánì"


def test_formats_follow_the_language() -> None:
    assert [names.name("full_date", "2024-03-05", code) for code in ("en", "de", "zh", "sw")] == [
        "March 5, 2024",
        "5. März 2024",
        "2024年3月5日",
        "5 Machi 2024",
    ]
    assert names.name("full_amount", "7 KES", "sw") == "shilingi za Kenya 7"
    assert names.name("full_amount", "7 KES", "en") == "7 Kenyan shillings"


def test_names_are_composed_and_awkward_ones_refused() -> None:
    assert names.name("territory", "MM", "en") is None  # Myanmar (Burma)
    assert names.name("script", "Hans", "yo") is None  # ends with a full stop
    assert names.clean("E\u0301\u00a0 a ") == "É a"


def test_unknown_language_and_split_are_the_users_mistake() -> None:
    with pytest.raises(UserError, match="no wording for language 'xx'"):
        cldr_rows("train", ["en", "xx"])
    with pytest.raises(UserError, match="no split 'validation'"):
        cldr_rows("validation", ["en", "sw"])


def test_broken_wording_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (wording.FOLDER / "sw.yaml").read_text(encoding="utf-8")
    text = re.sub(r"(territory_currency:\n    questions: \[)\"[^\"]*\"", r'\1"Sarafu?"', text)
    (tmp_path / "sw.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(wording, "FOLDER", tmp_path)
    wording.load_wording.cache_clear()
    try:
        with pytest.raises(UserError, match=r"territory_currency\.questions must be 3 different texts"):
            wording.load_wording("sw")
    finally:
        monkeypatch.undo()
        wording.load_wording.cache_clear()


def test_blend_does_not_hang_on_python_hashing() -> None:
    assert order("clo") == 6222341486505423270


@pytest.mark.parametrize("code", LANGUAGES)
def test_content_is_what_the_weights_were_trained_on(rows: dict[str, list[Row]], code: str) -> None:
    digest = hashlib.sha256()
    for split in SPLITS:
        for row in rows[split]:
            digest.update(
                "\t".join((row.id, row.prompts[code], row.responses[code], row.gold[code], row.group)).encode()
            )
    assert digest.hexdigest()[:16] == HASHES[code], (
        "wording or names changed: rebuild the weights, then update the hash"
    )
