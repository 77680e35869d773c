"""The embedded tasks: counts, splits that share nothing, prefixes that blend, numbers as each language writes them."""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from babel.numbers import parse_decimal
from conftest import ROOT

from clo.config import DataConfig
from clo.data.cldr.facts import closed_facts
from clo.data.cldr.splits import held_out
from clo.data.rows import Row
from clo.data.splits import load_splits
from clo.data.tasks import LANGUAGES, SPLITS, TASKS, facts, maths, mixed_rows, summaries, task_rows, wording
from clo.errors import UserError

SIZES = {"dev": 100, "test": 200}
HASHES = {
    "en": "c6080f30a85d4b46",
    "zh": "a207983125de0930",
    "de": "c9d8f5f5f5622a63",
    "ko": "f71d7e7c19958d50",
    "id": "cdab309008f3ec33",
    "sw": "4a269bbb80f43327",
    "yo": "8b3f21e16f5f57ab",
}
"""Of every text, so that a start model's weights and its rows stay together."""
_NUMBER = {
    code: re.compile(r"\d+(?:\.\d{3})*(?:,\d+)?" if code in ("de", "id") else r"\d+(?:,\d{3})*(?:\.\d+)?")
    for code in LANGUAGES
}


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], list[Row]]:
    return {(task, split): task_rows(task, split, LANGUAGES) for task in TASKS for split in SPLITS}


def test_every_task_has_its_rows_in_all_languages(rows: dict[tuple[str, str], list[Row]]) -> None:
    for (task, split), found in rows.items():
        assert len(found) == SIZES[split] if split in SIZES else len(found) >= 5000
        for row in found:
            assert list(row.prompts) == list(row.responses) == list(row.gold) == list(LANGUAGES)
            assert row.task == task and row.group == "" and re.fullmatch(rf"{task}\.\d{{5}}", row.id)
            assert all(text.strip() for text in (*row.prompts.values(), *row.responses.values()))
    ids = [row.id for found in rows.values() for row in found]
    assert len(set(ids)) == len(ids)


def test_no_prompt_stands_twice(rows: dict[tuple[str, str], list[Row]]) -> None:
    for code in LANGUAGES:
        prompts = Counter(row.prompts[code].casefold() for found in rows.values() for row in found)
        assert not [prompt for prompt, count in prompts.items() if count > 1], code


def test_train_says_in_no_other_words_what_dev_and_test_ask() -> None:
    keys = {split: {problem.key for problem in maths.problems()[split]} for split in SPLITS}
    assert not keys["train"] & maths.held_out() and not keys["dev"] & keys["test"]
    asked = {split: {fact.key for fact, _ in facts.plan(split)} for split in SPLITS}
    assert not asked["train"] & (asked["dev"] | asked["test"]) and not asked["dev"] & asked["test"]
    said = {split: {one.key for one in summaries.lists()[split]} for split in SPLITS}
    assert not said["train"] & (said["dev"] | said["test"]) and not said["dev"] & said["test"]


def test_summaries_tell_no_held_out_fact_and_list_other_countries() -> None:
    hidden = held_out(closed_facts())
    countries = {split: {key for one in summaries.lists()[split] for key in one.countries} for split in SPLITS}
    assert not countries["train"] & (countries["dev"] | countries["test"])
    for one in summaries.lists()["train"]:
        for country in one.countries:
            for attribute in one.attributes:
                fact = summaries.fact_of(country, attribute)
                assert fact is not None and fact.key not in hidden


def test_the_same_sum_has_one_key_in_other_words_units_and_order() -> None:
    plain = maths.Problem("sum", (12, 34), 0, 0)
    same = [
        maths.Problem("sum", (34, 12), 0, 1),
        maths.Problem("sum_hundreds", (12, 34), 2, 0),
        maths.Problem("sum_tenths", (34, 12), -1, 0),
        maths.Problem("word_sum", (12, 34), 0, 0, "egg"),
    ]
    assert {problem.key for problem in same} == {plain.key}
    assert (
        maths.Problem("difference", (34, 12), 0, 0).key == maths.Problem("word_difference", (34, 12), 0, 1, "egg").key
    )
    assert maths.Problem("difference", (34, 12), 0, 0).key != plain.key
    assert maths.Problem("larger", (34, 12), 0, 0).key == maths.Problem("smaller", (12, 34), 0, 0).key


@pytest.mark.parametrize("task", TASKS)
def test_every_prefix_has_the_blend_of_the_whole(task: str) -> None:
    kinds = {
        "facts": [fact.relation for fact, _ in facts.plan("train")],
        "maths": [problem.kind for problem in maths.plan("train")],
        "summaries": [one.kind for one in summaries.plan("train")],
    }[task]
    whole = Counter(kinds)
    for size in (25, 100, 400, 1600):
        part = Counter(kinds[:size])
        # every stratum (a kind in one of its forms) is at most one row off its share
        assert all(abs(part[kind] - size * count / len(kinds)) <= 7 for kind, count in whole.items()), (task, size)


def test_mixed_rows_hold_the_tasks_alike_in_every_prefix(rows: dict[tuple[str, str], list[Row]]) -> None:
    mixed = mixed_rows("train", ["en", "ko"])
    assert {row.id for row in mixed} == {row.id for task in TASKS for row in rows[task, "train"]}
    whole = Counter(row.task for row in mixed)
    for size in (30, 300, 3000):
        part = Counter(row.task for row in mixed[:size])
        assert all(abs(part[task] - size * whole[task] / len(mixed)) <= 1.5 for task in TASKS)


def test_rows_are_what_a_run_loads() -> None:
    splits = load_splits(DataConfig("tasks", "tasks"), "en", "sw", "yo")
    assert [len(part) for part in (splits.dev, splits.test)] == [300, 600]
    assert set(splits.train[0].prompts) == {"en", "sw", "yo"}
    assert {row.task for row in splits.train[:9]} == set(TASKS)


def test_objects_and_results_stand_in_their_answers(rows: dict[tuple[str, str], list[Row]]) -> None:
    for split in SPLITS:
        for row in rows["facts", split]:
            assert all(row.gold[code] in row.responses[code] for code in LANGUAGES), row.id
        for row, problem in zip(rows["maths", split], maths.plan(split), strict=True):
            for code in LANGUAGES:
                if problem.kind.endswith("month"):
                    assert row.gold[code] in row.responses[code]
                    continue
                last = _NUMBER[code].findall(row.responses[code])[-1]
                said = Decimal(last) if problem.kind.endswith("year") else parse_decimal(last, locale=code)
                assert said == Decimal(row.gold[code]), (row.id, code, row.responses[code])
            assert len({row.gold[code] for code in LANGUAGES}) == 1 or problem.kind.endswith("month")
        assert all(set(row.gold.values()) == {""} for row in rows["summaries", split])


def test_results_are_right() -> None:
    for problem in maths.problems()["train"]:
        a, b = problem.numbers[:2]
        wanted = {
            "sum": a + b,
            "word_sum": a + b,
            "difference": a - b,
            "word_difference": a - b,
            "word_both": a + b - problem.numbers[-1],
            "larger": max(a, b),
            "smaller": min(a, b),
            "earlier_year": min(a, b),
            "later_year": max(a, b),
            "earlier_month": min(a, b),
            "later_month": max(a, b),
        }[problem.sort]
        assert problem.result == wanted > 0
        if not problem.kind.endswith("month"):
            assert Decimal(maths.gold(problem, "en")) == Decimal(wanted).scaleb(problem.exponent)


def test_numbers_are_written_as_the_language_writes_them() -> None:
    hundreds = maths.Problem("sum_hundreds", (12, 25), 2, 0)
    assert maths.answer(hundreds, "en", 0) == "The sum of the numbers 1,200 and 2,500 is 3,700."
    assert maths.answer(hundreds, "de", 0) == "Die Summe der Zahlen 1.200 und 2.500 ist 3.700."
    assert maths.question(hundreds, "zh") == "1,200加2,500等于多少？"
    tenths = maths.Problem("difference_tenths", (47, 21), -1, 0)
    assert maths.question(tenths, "id") == "Berapa 4,7 dikurangi 2,1?"
    assert maths.question(tenths, "sw") == "4.7 kutoa 2.1 ni ngapi?"
    assert maths.gold(tenths, "id") == "2.6" and maths.gold(hundreds, "de") == "3700"
    year = maths.Problem("earlier_year", (1987, 1993), 0, 0)
    assert maths.question(year, "de") == "Welches Jahr war früher, 1987 oder 1993?"


def test_word_problems_count_things_as_the_language_does() -> None:
    problem = maths.Problem("word_sum", (23, 14), 0, 0, "book")
    assert (
        maths.question(problem, "en")
        == "A shop has 23 books and buys another 14 books. How many books does it have now?"
    )
    assert maths.question(problem, "ko").startswith("가게에 책 23권이 있는데 책 14권을 더 들여왔습니다.")
    assert maths.answer(problem, "sw", 0) == "Kwa jumla, sasa kuna vitabu 37."
    assert "23本书" in maths.question(problem, "zh")


def test_summaries_say_their_facts_and_group_countries() -> None:
    portrait = summaries.FactList("portrait", ("TJ",), ("currency", "continent", "code"), 0)
    wanted = "In short, Tajikistan lies in Asia, pays with the currency Tajikistani Somoni and has the code TJ."
    assert summaries.answer(portrait, "en", 0) == wanted
    assert "currency: Tajikistani Somoni; continent: Asia; code: TJ." in summaries.question(portrait, "en")
    groups = summaries.FactList("groups", ("TJ", "GQ", "IQ"), ("continent",), 1)
    wanted = "List: Tajikistan: Asia; Equatorial Guinea: Africa; Iraq: Asia. Say it in one sentence."
    assert summaries.question(groups, "en") == wanted
    assert summaries.answer(groups, "de", 0) == (
        "Kurz gesagt: Der Kontinent von „Tadschikistan“ und „Irak“ ist Asien, "
        "und der Kontinent von „Äquatorialguinea“ ist Afrika."
    )
    for split in SPLITS:
        for one in summaries.lists()[split]:
            assert 3 <= len(one.countries) * len(one.attributes) <= 5
            said = summaries.answer(one, "yo", one.form)
            assert all(name in said for name in summaries.known(one, "yo")), one


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_answer_is_long_enough_to_tell_its_language(rows: dict[tuple[str, str], list[Row]], code: str) -> None:
    for found in rows.values():
        for row in found:
            dense = len(re.findall(r"[\u4e00-\u9fff\uac00-\ud7a3]", row.responses[code]))
            assert dense >= 8 or sum(map(str.isalpha, row.responses[code])) >= 20, (row.id, row.responses[code])


def test_drawn_problems_fit() -> None:
    rng = random.Random(1)
    for kind in maths.COUNTS:
        for _ in range(200):
            problem = maths.draw(kind, rng)
            assert "0.0" not in maths.gold(problem, "en") and min(problem.numbers) >= 1
            assert not problem.kind.endswith("tenths") or "." in maths.gold(problem, "en")


def test_ids_and_texts_do_not_change(rows: dict[tuple[str, str], list[Row]]) -> None:
    for code in LANGUAGES:
        digest = hashlib.sha256()
        for found in rows.values():
            for row in found:
                digest.update("\t".join((row.id, row.prompts[code], row.responses[code], row.gold[code])).encode())
        assert digest.hexdigest()[:16] == HASHES[code], f"{code}: {digest.hexdigest()[:16]}"


def test_rows_do_not_depend_on_which_languages_are_asked_for() -> None:
    pair, trio = task_rows("maths", "dev", ["en", "sw"]), task_rows("maths", "dev", ["en", "yo", "sw"])
    assert [row.only(["en", "sw"]) for row in trio] == pair


def test_the_users_mistakes() -> None:
    with pytest.raises(UserError, match="no task 'poems'"):
        task_rows("poems", "train", ["en"])
    with pytest.raises(UserError, match="no split 'valid'"):
        task_rows("maths", "valid", ["en"])
    with pytest.raises(UserError, match="no wording of language 'xx'"):
        task_rows("maths", "dev", ["en", "xx"])


def test_broken_wording_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (wording.FOLDER / "sw.yaml").read_text(encoding="utf-8")
    (tmp_path / "sw.yaml").write_text(
        text.replace('["Namba iliyo kubwa zaidi ni {c}.",', '["Namba.",'), encoding="utf-8"
    )
    monkeypatch.setattr(wording, "FOLDER", tmp_path)
    wording.load_wording.cache_clear()
    try:
        with pytest.raises(UserError, match=r"larger\.answers must each contain \{c\} once"):
            wording.load_wording("sw")
    finally:
        monkeypatch.undo()
        wording.load_wording.cache_clear()


def test_the_examples_of_the_docs_are_rows(rows: dict[tuple[str, str], list[Row]]) -> None:
    shown = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    found = [row for task in TASKS for row in rows[task, "dev"] if f"`{row.id}`" in shown]
    assert {row.task for row in found} == set(TASKS)
    for row in found:
        for code in LANGUAGES:
            assert f"| {code} | {row.prompts[code]} | {row.responses[code]} | {row.gold[code]} |" in shown, row.id
    for task in TASKS:
        assert f"| {len(rows[task, 'train']):,} | 100 | 200 |" in shown
