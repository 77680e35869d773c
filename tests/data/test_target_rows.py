"""Several targets: rows joined on their ids, budgets, one target at a time, and draws by temperature."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from clo.config import DataConfig
from clo.data.budgets import columns_of, one_at_a_time, shares, targets_of, within
from clo.data.datamodule import Replay, SquareDataModule, StepSampler, TargetSampler
from clo.data.items import Item
from clo.data.rows import Row, read_rows
from clo.data.splits import Splits, joined, load_splits
from clo.errors import UserError


def line(k: int, lang: str, **more: str) -> dict[str, Any]:
    return {"id": k, "lang": lang, "prompt": f"{lang} question {k}?", "response": f"{lang} answer {k}.", **more}


def write(path: Path, lines: list[dict[str, Any]]) -> str:
    path.write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    return str(path)


def files(train: str, **more: Any) -> DataConfig:
    return DataConfig("mine", "files", train=train, held_out=3, **more)


def languages(rows: list[Row]) -> dict[str, set[str]]:
    return {row.id: set(row.prompts) for row in rows}


def every(splits: Splits) -> list[Row]:
    return [*splits.train, *splits.dev, *splits.test]


def test_one_long_file_and_a_file_per_language_give_the_same_rows(tmp_path: Path) -> None:
    """Number 5 lacks Swahili, number 6 Korean; number 7 has neither and is left out."""
    has = {
        k: [c for c in ("ko", "sw") if (k, c) not in {(5, "sw"), (6, "ko"), (7, "ko"), (7, "sw")}] for k in range(20)
    }
    long = write(tmp_path / "all.jsonl", [line(k, code) for k in has for code in ("en", *has[k])])
    for code in ("ko", "sw"):
        write(tmp_path / f"{code}.jsonl", [line(k, c) for k in has if code in has[k] for c in ("en", code)])
    one = load_splits(files(long), "en", "ko", "sw")
    each = load_splits(files(str(tmp_path / "{lang.code}.jsonl")), "en", "ko", "sw")
    wanted = {str(k): {"en", *codes} for k, codes in has.items() if codes}
    assert languages(every(one)) == languages(every(each)) == wanted
    assert [row.id for row in one.test] == [row.id for row in each.test]
    assert [row.id for row in one.train] == sorted((row.id for row in one.train), key=int)
    assert len(one.sources) == 1 and [s.rows for s in each.sources] == [18, 18]
    with pytest.raises(UserError, match="id '5' has no 'sw' text"):
        load_splits(files(long), "en", "sw")


def test_a_paired_file_repeats_its_english(tmp_path: Path) -> None:
    english = {"prompt_en": "What?", "response_en": "That."}
    path = write(tmp_path / "a.jsonl", [line(1, "ko", **english), line(1, "sw", **english)])
    (row,) = read_rows(path, "en", "ko", further=["sw"])
    assert set(row.prompts) == {"en", "ko", "sw"} and row.texts("en") == ("What?", "That.")
    assert row.only(("en", "sw")).prompts == {"en": "What?", "sw": "sw question 1?"}
    assert read_rows(path, "en", "sw")[0].texts("sw") == row.texts("sw")  # the same file for a run of one target
    other = {"prompt_en": "Who?", "response_en": "That."}
    for second, told in ((line(1, "sw", **other), "'en' twice"), (line(1, "ko", **english), "'en' twice")):
        with pytest.raises(UserError, match=told):
            read_rows(write(tmp_path / "b.jsonl", [line(1, "ko", **english), second]), "en", "ko", further=["sw"])


def test_what_cannot_be_joined(tmp_path: Path) -> None:
    for code in ("ko", "sw"):
        lines = [line(k, c) | ({"prompt": f"{code} {k}"} if c == "en" else {}) for k in range(9) for c in ("en", code)]
        write(tmp_path / f"{code}.jsonl", lines)
    with pytest.raises(
        UserError, match=r"id '0' stands for two examples: its 'en' text at .*ko.jsonl, line 1 is anoth"
    ):
        load_splits(files(str(tmp_path / "{lang.code}.jsonl")), "en", "ko", "sw")
    with pytest.raises(UserError, match=r"ko\.jsonl has no row in yo; bring some, or leave the target out"):
        load_splits(files(str(tmp_path / "ko.jsonl")), "en", "ko", "yo")


def test_embedded_rows_of_a_target_are_those_of_its_own_run() -> None:
    several, alone = load_splits(DataConfig(), "en", "ko", "sw"), load_splits(DataConfig(), "en", "sw")
    for ours, theirs in zip(
        (several.train, several.dev, several.test), (alone.train, alone.dev, alone.test), strict=True
    ):
        assert [row.only(("en", "sw")) for row in ours if "sw" in row.prompts] == theirs


def test_joined_rows_stand_where_they_stood_first() -> None:
    def rows(ids: str, code: str) -> list[Row]:
        return [Row(k, {"en": k, code: k}, {"en": k, code: k}) for k in ids]

    found = joined([rows("abdc", "ko"), rows("bxac", "sw")])
    assert "".join(row.id for row in found) == "abxdc"
    assert [len(row.prompts) for row in found] == [3, 3, 2, 2, 3]
    only = rows("ab", "ko")
    assert joined([only]) is only


def item(k: int, has: str) -> Item:
    ids = tuple((k + 1, place) if flag == "1" else None for place, flag in enumerate(f"1{has}"))
    return Item(f"i{k}", ids, ids)


def test_each_target_has_its_size() -> None:
    items = [item(k, has) for k, has in enumerate(["11", "10", "01", "11", "11", "11"])]
    kept, counts = within(items, [4, 1])
    assert counts == [4, 1]
    assert [(one.id, targets_of(one)) for one in kept] == [("i0", [1, 2]), ("i1", [1]), ("i3", [1]), ("i4", [1])]
    assert kept[0] is items[0] and kept[2].responses[2] is None
    assert within(items, [9, 9])[1] == [5, 5]
    apart = one_at_a_time(kept)
    assert [(one.id, targets_of(one)) for one in apart][:3] == [("i0", [1]), ("i0", [2]), ("i1", [1])]
    assert len({one.key() for one in apart}) == len(apart) == 5


def test_further_candidates_stay_with_their_item() -> None:
    one = Item("x", ((1,), (1,), (1,)), ((2,), (3,), (4,), (5,)))
    assert [other.responses for other in one_at_a_time([one])] == [((2,), (3,), None, (5,)), ((2,), None, (4,), (5,))]


def test_shares_by_temperature() -> None:
    """Sizes 16 and 4: 4 to 1 by size, 2 to 1 by the root, and even in the end."""
    items = one_at_a_time([item(k, "11" if k < 4 else "10") for k in range(16)])
    columns = columns_of(items)
    assert shares(columns, 1.0) == {1: 0.8, 2: 0.2}
    assert shares(columns, 2.0) == pytest.approx({1: 2 / 3, 2: 1 / 3})
    assert shares(columns, 1e9) == pytest.approx({1: 0.5, 2: 0.5})


def test_draws_follow_the_shares_and_go_on_after_a_stop() -> None:
    items = one_at_a_time([item(k, "11" if k < 4 else "10") for k in range(16)])
    module = SquareDataModule(items, items[:1], 8, 300, 5)
    assert isinstance(module.sampler, StepSampler)
    module.by_temperature(2.0)
    steps = list(module.sampler)
    assert len(steps) == 300 and {len(step) for step in steps} == {8}
    drawn = Counter(place for step in steps for k in step for place in targets_of(items[k]))
    assert drawn[2] / 2400 == pytest.approx(1 / 3, abs=0.04)
    of_items = Counter(k for step in steps for k in step if targets_of(items[k]) == [2])
    assert max(of_items.values()) - min(of_items.values()) <= 1  # every pass sees each of the four once
    module.load_state_dict({"step": 120})
    assert list(module.sampler) == steps[120:]
    other = TargetSampler([1] * 16 + [2] * 4, {1: 0.5, 2: 0.5}, StepSampler(20, 4, 3, 0, Replay(6, 2)))
    assert [len(step) for step in other] == [6, 6, 6] and all(min(step[4:]) >= 20 for step in other)
