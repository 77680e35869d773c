from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clo.config import DataConfig, EvaluationConfig
from clo.config.choices import Split
from clo.data.splits import load_splits
from clo.errors import UserError


def write(path: Path, ids: list[str], lang: str = "sw") -> Path:
    lines = [
        json.dumps({"id": k, "lang": code, "prompt": f"{code} prompt {k}", "response": f"{code} response {k}"})
        for k in ids
        for code in ("en", lang)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def files(**paths: Any) -> DataConfig:
    return DataConfig("mine", "files", **paths)


IDS = [f"id{k}" for k in range(40)]


def test_held_out_rows_are_apart_and_keep_file_order(tmp_path: Path) -> None:
    splits = load_splits(files(train=str(write(tmp_path / "a.jsonl", IDS)), held_out=5), "en", "sw")
    ids = [[row.id for row in part] for part in (splits.train, splits.dev, splits.test)]
    assert [len(part) for part in ids] == [30, 5, 5]
    assert sorted(name for part in ids for name in part) == sorted(IDS)
    assert all(part == sorted(part, key=IDS.index) for part in ids)


def test_held_out_rows_do_not_depend_on_order_language_or_a_few_more_rows(tmp_path: Path) -> None:
    def held(ids: list[str], lang: str = "sw") -> set[str]:
        splits = load_splits(files(train=str(write(tmp_path / "a.jsonl", ids, lang)), held_out=5), "en", lang)
        return {row.id for row in splits.dev}

    assert held(IDS) == held(IDS[::-1]) == held(IDS, "ko")
    assert len(held(IDS) & held([*IDS, "one more"])) >= 4


def test_given_files_are_used_whole(tmp_path: Path) -> None:
    train, dev, test = (str(write(tmp_path / f"{n}.jsonl", [f"{n}{k}" for k in range(3)])) for n in ("a", "b", "c"))
    splits = load_splits(files(train=train, dev=dev, test=test), "en", "sw")
    assert [row.id for row in splits.train + splits.dev + splits.test] == [f"{n}{k}" for n in "abc" for k in range(3)]


def test_training_rows_in_an_evaluation_file_are_refused(tmp_path: Path) -> None:
    train = str(write(tmp_path / "a.jsonl", IDS))
    test = str(write(tmp_path / "b.jsonl", ["x", "id7"]))
    with pytest.raises(UserError, match=r"data\.test: id 'id7' is also in data\.train"):
        load_splits(files(train=train, test=test, held_out=5), "en", "sw")


def test_too_few_rows_to_hold_out(tmp_path: Path) -> None:
    train = str(write(tmp_path / "a.jsonl", IDS[:8]))
    with pytest.raises(UserError, match="has 3 rows, too few to hold 5 out; lower data"):
        load_splits(files(train=train, held_out=5), "en", "sw")


def test_evaluated_rows() -> None:
    splits = load_splits(DataConfig(), "en", "sw")
    assert splits.evaluated(EvaluationConfig()) == splits.test and len(splits.test) == 200
    long = replace(splits, test=[replace(row, id=f"{k} {row.id}") for k in range(2) for row in splits.test])
    assert long.evaluated(EvaluationConfig()) == long.test[:200]
    assert long.evaluated(EvaluationConfig(rows=999)) == long.test and len(long.test) == 400
    assert splits.evaluated(EvaluationConfig(split=Split.dev, rows=3)) == splits.dev[:3]
    ids = [{row.id for row in part} for part in (splits.train, splits.dev, splits.test)]
    assert not (ids[0] & ids[1] or ids[0] & ids[2] or ids[1] & ids[2])
    assert len(splits.train) >= 6400


def test_files_without_a_file_are_refused() -> None:
    with pytest.raises(UserError, match=r"data=files needs data\.train=<file>"):
        DataConfig("files", "files")
