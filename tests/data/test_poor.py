"""Data that can be read and are probably not meant: refused or said, and never in training and test at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clo.config import DataConfig
from clo.config.choices import PoorRows
from clo.data.cldr import SPLITS, cldr_rows
from clo.data.poor import check_poor
from clo.data.rows import Row, read_rows
from clo.data.splits import Splits, load_splits
from clo.data.texts import key, visible
from clo.errors import UserError

TARGETS = ("zh", "de", "ko", "id", "sw", "yo")


def record(k: int, **changes: str) -> dict[str, str]:
    whole = {
        "id": f"r{k}",
        "prompt_en": f"What is the name of animal number {k}?",
        "response_en": f"Its name is animal {k}.",
        "prompt": f"Jina la mnyama nambari {k} ni nani?",
        "response": f"Jina lake ni mnyama {k}.",
        "lang": "sw",
    }
    return whole | changes


def copied(k: int) -> dict[str, str]:
    en = record(k)
    return record(k, prompt=en["prompt_en"], response=en["response_en"])


def write(path: Path, records: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records), encoding="utf-8")
    return path


def load(path: Path, policy: str = "stop", **more: Any) -> Splits:
    settings: dict[str, Any] = {"held_out": 5, **more}
    return load_splits(DataConfig("mine", "files", train=str(path), poor_rows=PoorRows(policy), **settings), "en", "sw")


def told(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(path)
    return str(caught.value)


def test_copies_between_languages(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [copied(k) if k % 10 == 3 else record(k) for k in range(60)])
    assert told(path) == (
        f"{path}: 6 of 60 rows have the same prompt and response in en and sw (line 4 (id 'r3'), line 14 (id 'r13'), "
        "line 24 (id 'r23'), …); mend or drop them, or set data.poor_rows=say if they are meant"
    )
    found = load(path, "say")
    assert len(found.train) == 50 and found.told().startswith(f"{path}: 6 of 60 rows have the same prompt and response")


def test_one_copy_and_short_equal_answers_are_normal(tmp_path: Path) -> None:
    records = [record(k, response_en=f"Nairobi {k}", response=f"NAIROBI  {k}") for k in range(60)]
    found = load(write(tmp_path / "rows.jsonl", [*records, copied(60)]))
    assert found.told() == "" and [poor.count for poor in found.poor] == [1]


def test_long_answers_that_were_never_translated(tmp_path: Path) -> None:
    long = [f"An answer of more than a few words, number {k}." for k in range(60)]
    records = [record(k, response_en=text, response=text) for k, text in enumerate(long)]
    said = told(write(tmp_path / "rows.jsonl", records))
    assert "60 of 60 rows have the same long prompt or the same long response in en and sw (line 1 (id 'r0')" in said


def test_equal_rows_under_other_ids_never_stand_in_train_and_test(tmp_path: Path) -> None:
    same = write(tmp_path / "same.jsonl", [record(0) | {"id": f"r{k}"} for k in range(60)])
    assert "59 of 60 rows repeat the prompt and response of an earlier row under another id (line 2 (id 'r1')" in told(
        same
    )
    with pytest.raises(UserError, match=r"are left out of dev: their prompt stands in test too .* and none is left"):
        load(same, "say")
    answers = [{"id": f"r{k}", "response_en": f"Answer {k}", "response": f"Jibu {k}"} for k in range(60)]
    twice = [record(k // 2) | answer for k, answer in enumerate(answers)]
    splits = load(write(tmp_path / "twice.jsonl", twice))
    parts = [{key(row.prompts["sw"]) for row in part} for part in (splits.train, splits.dev, splits.test)]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    lost = 60 - sum(len(part) for part in (splits.train, splits.dev, splits.test))
    assert lost > 0 and "rows are left out of train: their prompt stands in dev or test too (line" in splits.told()
    assert sum(poor.count for poor in splits.poor if poor.most == 0) == lost


@pytest.mark.parametrize("side", ["prompt_en", "prompt"])
def test_a_test_file_that_asks_training_questions(side: str, tmp_path: Path) -> None:
    """One language is enough, whatever the case and spacing."""
    train = write(tmp_path / "train.jsonl", [record(k) for k in range(40)])
    asked = [record(100 + k) for k in range(10)]
    asked[2][side] = f"  {record(7)[side].upper()}\u200b"
    test = write(tmp_path / "test.jsonl", asked)
    splits = load(train, test=str(test))
    ids = {row.id for row in splits.train + splits.dev}
    assert len(splits.test) == 10 and len(ids) == 39 and "r7" not in ids
    assert f"{train}: 1 of " in splits.told() and "(line 8 (id 'r7'))" in splits.told()


@pytest.mark.parametrize("text", ["\u200b", " \u200b\ufeff", "\u2800\u3164", "\u00ad", "\u200e\u2060 "])
def test_texts_that_only_look_empty_are_empty(text: str, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [record(1), record(2, response=text)])
    with pytest.raises(UserError, match="line 2: the field 'response' is empty; fill it or drop the row"):
        read_rows(path, "en", "sw")


@pytest.mark.parametrize("text", ["...", "?!", "。", "- \u200b-", "\u0301"])
def test_texts_of_signs_alone(text: str, tmp_path: Path) -> None:
    records = [record(k, response=text if k < 9 else "Ndiyo") for k in range(60)]
    assert "9 of 60 rows have a prompt or response of signs alone (line 1" in told(write(tmp_path / "r.jsonl", records))


@pytest.mark.parametrize("text", ["7", "👍", "は", "x", "+", "१"])
def test_short_answers_are_answers(text: str, tmp_path: Path) -> None:
    records = [record(k, response=text) for k in range(60)]
    assert not load(write(tmp_path / "rows.jsonl", records)).poor


def test_what_makes_texts_the_same() -> None:
    assert key("Ａ  b\u200bC\n") == key("a BC") and key("e\u0301") == key("é") and key("a") != key("b")
    assert visible(" \u200bx\ufe0f ") == "x"


@pytest.mark.parametrize("lang", TARGETS)
def test_the_embedded_rows_are_clean(lang: str) -> None:
    parts = [cldr_rows(split, ["en", lang]) for split in SPLITS]
    found = [check_poor(part, "cldr", ("en", lang), PoorRows.stop) for part in parts]
    assert found == [(), (), ()]
    prompts = [{(code, key(text)) for row in part for code, text in row.prompts.items()} for part in parts]
    assert not (prompts[0] & prompts[1] or prompts[0] & prompts[2] or prompts[1] & prompts[2])


@pytest.mark.parametrize("lang", TARGETS)
def test_real_rows_pass_without_a_word(lang: str, shared_data: Path) -> None:
    """But for a question of the Yoruba file that training and test would share."""
    path = shared_data / "parallel" / f"{lang}.jsonl"
    splits = load_splits(DataConfig("mine", "files", train=str(path)), "en", lang)
    assert splits.told().count("\n") == (1 if lang == "yo" else 0)
    assert len(splits.train) >= 6199


def test_rows_of_one_text_are_equal_wherever_they_stand() -> None:
    assert Row("a", {}, {}, where="x, line 1") == Row("a", {}, {}, where="y, line 2")
