"""The embedded rows: counts, splits, blend, wording, and that they stay what they are."""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from clo.data.cldr import EVALUATION_SIZES, FORMS, SPLITS, answer_of, cldr_rows, facts, names, wording
from clo.data.cldr.splits import Fact, held_out, order
from clo.data.rows import Row
from clo.data.splits import drawn
from clo.errors import UserError

LANGUAGES = facts.CORE_LANGUAGES
TARGETS = LANGUAGES[1:]
SIZES = (100, 200, 400, 800, 1600, 3200, 6400)
HASHES = {
    "en": "4ff594e49c472ae2",
    "zh": "368f44035f9bab69",
    "de": "ff7b5083facae86b",
    "ko": "1c0d5cf80320ddb4",
    "id": "7e260e3a84487068",
    "sw": "1009895fec5cef62",
    "yo": "cb7f991a94c3a0bb",
}


FOLD_NUMBERS = range(len(facts.FOLDS))


@pytest.fixture(scope="module")
def rows() -> dict[str, list[Row]]:
    return {split: cldr_rows(split, LANGUAGES) for split in SPLITS}


def relation(row: Row) -> str:
    return row.id.split(".")[0]


FORMAT_FACTS = [fact for part in facts.generated_facts().values() for fact in part]
FACTS = {fact.id: fact for fact in (*facts.closed_facts(), *FORMAT_FACTS)}


def fact_of(row: Row) -> Fact:
    return FACTS[row.id.rsplit(".", 1)[0]]


def letters(text: str) -> int:
    return sum(character.isalpha() for character in text)


@pytest.mark.parametrize("target", TARGETS)
def test_a_pair_has_enough_distinct_rows_and_comes_fast(target: str) -> None:
    began = time.process_time()
    train = cldr_rows("train", ["en", target])
    assert time.process_time() - began < 3
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
    assert Counter(row.group for row in rows["test"]) == {"seen": 100, "unseen": 100}
    assert Counter(row.group for row in rows["dev"]) == {"seen": 100, "unseen": 80}
    assert {row.group for row in rows["train"]} == {""}


@pytest.mark.parametrize("fold", FOLD_NUMBERS)
def test_no_fact_nor_its_reverse_is_in_two_splits(fold: int) -> None:
    keys = {split: {fact_of(row).key for row in cldr_rows(split, ["en", "sw"], fold)} for split in SPLITS}
    assert not keys["train"] & keys["dev"]
    assert not keys["train"] & keys["test"]
    assert not keys["dev"] & keys["test"]


@pytest.mark.parametrize("fold", FOLD_NUMBERS)
def test_unseen_relations_never_occur_in_train(fold: int) -> None:
    unseen = set(facts.FOLDS[fold])
    trained = {relation(row) for row in cldr_rows("train", ["en", "sw"], fold)}
    assert trained == set(facts.RELATIONS) - unseen
    for split in ("dev", "test"):
        held = cldr_rows(split, ["en", "sw"], fold)
        assert {relation(row) for row in held if row.group == "unseen"} == unseen
        assert {relation(row) for row in held if row.group == "seen"} <= trained


def test_every_relation_is_unseen_in_one_fold_and_formats_in_none() -> None:
    assert sorted(name for fold in facts.FOLDS for name in fold) == sorted(set(facts.RELATIONS) - set(facts.FORMATS))
    assert len(facts.RELATIONS) - len(facts.FORMATS) >= 20


def test_what_one_fold_tests_of_seen_relations_no_fold_trains_on() -> None:
    trained = {fact_of(row).id for fold in FOLD_NUMBERS for row in cldr_rows("train", ["en", "sw"], fold)}
    for fold in FOLD_NUMBERS:
        seen = {fact_of(row).id for row in cldr_rows("test", ["en", "sw"], fold) if row.group == "seen"}
        assert not seen & trained


def test_an_evaluated_object_is_not_hidden_in_the_name_of_another() -> None:
    """Guinea is found in Equatorial Guinea: a wrong answer would count as right."""
    for fold in FOLD_NUMBERS:
        for row in cldr_rows("test", LANGUAGES, fold):
            if relation(row) not in facts.FORMATS:
                kind = facts.RELATIONS[relation(row)][1]
                same = {f.object for f in facts.closed_facts() if facts.RELATIONS[f.relation][1] == kind}
                for code in LANGUAGES:
                    told = [str(names.name(kind, key, code)).casefold() for key in same]
                    assert sum(row.gold[code].casefold() in name for name in told) == 1, row.id


def test_more_rows_of_a_relation_are_more_ways_to_answer(rows: dict[str, list[Row]]) -> None:
    ways = Counter((relation(row), answer_of(fact_of(row), int(row.id.rsplit(".", 1)[1]))) for row in rows["train"])
    for name in {name for name, _ in ways} - {"day_after", "day_before"}:
        assert {way for known, way in ways if known == name} == set(range(wording.ANSWERS)), name


def test_the_seed_draws_rows_nested_over_sizes(rows: dict[str, list[Row]]) -> None:
    first, second = drawn(rows["train"], 1), drawn(rows["train"], 2)
    assert (
        sorted(row.id for row in first) == sorted(row.id for row in second) == sorted(row.id for row in rows["train"])
    )
    shared = {row.id for row in first[:400]} & {row.id for row in second[:400]}
    assert len(shared) < 80  # 25 are expected of two draws without regard to each other


def test_units_have_their_plural_forms_and_a_name_everywhere() -> None:
    said = {code: [names.name("full_unit", f"{n} st", code) for n in (1, 2)] for code in ("en", "de", "sw")}
    assert said == {"en": ["1 stone", "2 stones"], "de": ["1 Stone", "2 Stones"], "sw": ["jiwe 1", "mawe 2"]}
    for symbol, unit in names.UNITS.items():
        found = {code: names.name("full_unit", f"5 {symbol}", code) for code in LANGUAGES}
        assert all(text and "5" in text and unit not in text and text != f"5 {symbol}" for text in found.values()), (
            found
        )


def test_amounts_name_no_currency_that_is_held_out(rows: dict[str, list[Row]]) -> None:
    held = {
        f.subject
        for f in facts.closed_facts()
        if f.relation == "code_currency" and f.key in held_out(facts.closed_facts())
    }
    assert held
    assert not {row.id.split(".")[1].split("_")[1] for row in rows["train"] if relation(row) == "amount"} & held


def test_about_three_quarters_of_every_relation_are_trained_on() -> None:
    held = held_out(facts.closed_facts())
    counts = Counter((fact.relation, fact.key not in held) for fact in facts.closed_facts())
    for name in set(facts.RELATIONS) - set(facts.FORMATS):
        share = counts[name, True] / (counts[name, True] + counts[name, False])
        assert 0.55 <= share <= 0.90, (name, share)


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
            assert not response.startswith(gold) or relation(row) in facts.FORMATS, row.id
            assert response[-1] in ".。", row.id
            fact = fact_of(row)
            subject = str(names.name(facts.RELATIONS[fact.relation][0], fact.subject, code))
            assert subject in prompt, row.id
            if code in ("zh", "ko"):
                assert len(re.findall(r"[\u4e00-\u9fff\uac00-\ud7a3]", response)) >= 8, (row.id, response)
            else:
                assert letters(response) >= 20, (row.id, response)


def test_most_tested_objects_differ_from_english() -> None:
    for code in TARGETS:
        tested = [row for fold in FOLD_NUMBERS for row in cldr_rows("test", ["en", code], fold)]
        different = sum(row.gold[code] != row.gold["en"] for row in tested) / len(tested)
        assert different > 0.75, (code, different)


def test_known_facts_are_right() -> None:
    table = {(fact.relation, fact.subject): fact for fact in facts.closed_facts()}
    answers = {
        ("territory_currency", "MX"): "The currency used in Mexico is called Mexican Peso.",
        ("code_territory", "JP"): "The country with the two-letter code JP is Japan.",
        ("month_before", "1"): "The month that comes before January is December.",
        ("day_after", "6"): "The day of the week that comes after Sunday is Monday.",
        ("city_territory", "Asia/Tokyo"): "The country of the city of Tokyo is Japan.",
        ("territory_continent", "ES"): "The continent that Spain belongs to is Europe.",
        ("month_half_year", "8"): "The month six months after August is February.",
    }
    for key, sentence in answers.items():
        assert wording.answer(table[key], "en") == sentence
    assert wording.gold(table["city_territory", "Asia/Dubai"], "en") == "United Arab Emirates"
    assert wording.gold(table["territory_continent", "ES"], "sw") == "Ulaya"
    assert wording.gold(table["territory_continent", "ES"], "yo") == "Yúróòpù"


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
    with pytest.raises(UserError, match="no fold 4"):
        cldr_rows("train", ["en", "sw"], 4)


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
