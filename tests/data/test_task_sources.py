"""Rows of tasks: every file of conf/task with records of its own columns, languages, splits, ids."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import pytest
from composed import run_of

from clo.config import TaskConfig
from clo.config.choices import Metric
from clo.config.parse import conf_dir
from clo.config.tasks import TaskColumns
from clo.data.rows import Row
from clo.data.splits import joined
from clo.data.task_sources import licence_lines, read_task_rows

CHAT = [{"from": "human", "value": "Habari?"}, {"from": "gpt", "value": "Nzuri."}, {"from": "human", "value": "Sawa"}]
HUB: dict[str, tuple[str, dict[str, Any], list[dict[str, Any]], tuple[str, str, str, dict[str, str]]]] = {
    "xlsum": (
        "sw",
        {"path": "csebuetnlp/xlsum", "name": "swahili", "split": "test", "revision": "refs/convert/parquet"},
        [{"id": "7-a", "url": "u", "title": "t", "summary": "Mvua imenyesha.", "text": "Mvua kubwa."}],
        ("xlsum.sw.7-a", "Fupisha makala yafuatayo kwa sentensi moja.\n\nMvua kubwa.", "Mvua imenyesha.", {}),
    ),
    "mgsm": (
        "sw",
        {"path": "juletxara/mgsm", "name": "sw", "split": "test", "revision": "refs/convert/parquet"},
        [{"question": "Ngapi?", "answer": None, "answer_number": 1800, "equation_solution": None}],
        ("mgsm.0", "Ngapi?", "1800", {"sw": "1800"}),
    ),
    "mcot_maths": (
        "sw",
        {"path": "laihuiyuan/mCoT-MATH", "name": None, "split": "train", "revision": None},
        [{"question": f"q{k}", "answer": f"Jibu ni {k}.", "lang": lang} for k in range(101) for lang in ("en", "sw")],
        ("mcot_maths.100", "q100", "Jibu ni 100.", {}),
    ),
    "aya": (
        "sw",
        {"path": "CohereForAI/aya_dataset", "name": None, "split": "test", "revision": None},
        [
            {"inputs": "Pourquoi?", "targets": "Parce que.", "language": "French", "language_code": "fra"},
            {"inputs": "Kwa nini?", "targets": "Kwa sababu.", "language": "Swahili", "language_code": "swh"},
        ],
        ("aya.sw.0", "Kwa nini?", "Kwa sababu.", {}),
    ),
    "dolly": (
        "zh",
        {"path": "CohereForAI/aya_evaluation_suite", "name": "dolly_machine_translated", "split": "test",
         "revision": None},
        [
            {"id": 1, "inputs": "為什麼？", "targets": "因為。", "language": "zho", "script": "Hant", "source_id": 900},
            {"id": 2, "inputs": "为什么？", "targets": "因为。", "language": "zho", "script": "Hans", "source_id": 900},
        ],
        ("dolly.900", "为什么？", "因为。", {}),
    ),
    "xquad": (
        "zh",
        {"path": "google/xquad", "name": "xquad.zh", "split": "validation", "revision": None},
        [{"id": str(k), "context": "北京在中国。", "question": "在哪里？",
          "answers": {"text": ["中国", "国"], "answer_start": [3, 4]}} for k in range(1041)],
        ("xquad.1040", "北京在中国。\n\n在哪里？", "中国", {"zh": "中国"}),
    ),
    "sharegpt": (
        "sw",
        {"path": "lightblue/tagengo-gpt4", "name": None, "split": "train", "revision": None},
        [{"conversation_id": str(k), "conversations": CHAT, "language": "Swahili", "response": ["Nzuri.", "stop"]}
         for k in range(51)],
        ("sharegpt.sw.50", "Habari?", "Nzuri.", {}),
    ),
}  # fmt: skip
"""Task -> language, what is asked of the hub for its test rows (training rows where another task has them), records
there, and the first row that comes of them."""


NAMES = sorted(path.stem for path in (Path(conf_dir()) / "task").glob("*.yaml"))


@functools.cache
def all_tasks() -> dict[str, TaskConfig]:
    return run_of(f"task=[{','.join(NAMES)}]").tasks


def task_of(name: str, *words: str) -> TaskConfig:
    return run_of(f"task={name}", *words).tasks[name] if words else all_tasks()[name]


def write(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", HUB)
def test_a_hub_task_is_streamed_by_its_own_names(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The real loading code, with a local file where the hub would be."""
    import datasets

    lang, asked, records, (row_id, prompt, response, gold) = HUB[name]
    usual, file = datasets.load_dataset, write(tmp_path / "a.jsonl", records)

    def local(path: str, config: str | None, **options: Any) -> Any:
        assert options.pop("streaming") is True
        assert {"path": path, "name": config, **options} == asked
        return usual("json", data_files=file, split="train", streaming=True)

    monkeypatch.setattr(datasets, "load_dataset", local)
    task = task_of(name)
    rows = read_task_rows(task, lang, "train" if task.tested_by else "test")
    assert rows[0] == Row(row_id, {lang: prompt}, {lang: response}, gold, task=name)
    assert len(rows) == 1 and rows[0].where.startswith(asked["path"])


def test_every_table_of_conf_is_tried_here() -> None:
    assert {name for name in NAMES if task_of(name).kind == "table"} == set(HUB)
    assert {name for name in NAMES if task_of(name).kind == "embedded"} == {"facts", "maths", "summaries"}
    assert all(task_of(name).licence != "unknown" for name in NAMES)


def test_several_tasks_are_composed_and_a_run_without_them_keeps_its_name() -> None:
    run = run_of("task=[maths,xlsum]", "tasks.xlsum.max_new_tokens=9")
    assert list(run.tasks) == ["maths", "xlsum"] and run.tasks["xlsum"].max_new_tokens == 9
    assert run.tasks["maths"].metric is Metric.number
    without = dataclasses.replace(run, tasks={})
    assert (
        without == run_of()
        and len({without.slug(), run.slug(), dataclasses.replace(run, tasks=all_tasks()).slug()}) == 3
    )
    assert "tasks" not in without.science() and run.science()["tasks"]["maths"]["metric"] == "number"


def test_local_files_of_the_same_columns_and_parallel_ids(tmp_path: Path) -> None:
    for lang, word in (("en", "How many"), ("sw", "Ngapi")):
        write(tmp_path / f"{lang}_test.jsonl", [{"question": f"{word} {k}?", "answer": f"1,00{k}"} for k in range(5)])
    words = [f"tasks.mgsm.path='{tmp_path}/{{lang}}_{{split}}.jsonl'", "tasks.mgsm.columns.gold=answer"]
    task = task_of("mgsm", *words)
    rows = joined([read_task_rows(task, lang, "test", 3) for lang in ("en", "sw")])
    assert [row.id for row in rows] == ["mgsm.0", "mgsm.1", "mgsm.2"]
    assert rows[2].prompts == {"en": "How many 2?", "sw": "Ngapi 2?"} and rows[2].gold == {"en": "1002", "sw": "1002"}
    assert rows[2].responses["en"] == "1,002" and {row.task for row in rows} == {"mgsm"}


def test_real_rows_of_mgsm(shared_data: Path) -> None:
    place = shared_data / "eval" / "mgsm"
    if not place.is_dir():
        pytest.skip(f"needs the real rows in {place}")
    columns = TaskColumns("question", "answer", gold="answer", id="id")
    task = dataclasses.replace(
        task_of("mgsm"), path=f"{place}/{{lang}}.jsonl", columns=columns, splits={"test": "test"}
    )
    langs = ("en", "de", "sw", "zh")
    rows = joined([read_task_rows(task, lang, "test") for lang in langs])
    assert len(rows) == 125 and all(set(row.prompts) == set(langs) for row in rows)
    assert all(len(set(row.gold.values())) == 1 and row.gold["en"].isdigit() for row in rows)


def chats(tmp_path: Path, **changes: Any) -> TaskConfig:
    records = [{"q": f"Was {k}?", "a": f"Das {k}.", "l": "de" if k % 2 else "en"} for k in range(20)]
    given: dict[str, Any] = {
        "name": "own",
        "path": write(tmp_path / "a.jsonl", records),
        "columns": TaskColumns(prompt="q", response="a", language="l"),
        "splits": {"dev": "x[:2]", "test": "x[2:5]", "train": "x[5:]"},
    }
    return TaskConfig(**(given | changes))


def test_slices_count_the_rows_of_a_language(tmp_path: Path) -> None:
    task = chats(tmp_path)
    parts = {split: [row.prompts["de"] for row in read_task_rows(task, "de", split)] for split in task.splits}
    assert parts == {
        "dev": ["Was 1?", "Was 3?"],
        "test": ["Was 5?", "Was 7?", "Was 9?"],
        "train": [f"Was {k}?" for k in range(11, 20, 2)],
    }
    assert [row.id for row in read_task_rows(task, "de", "test", 2)] == ["own.de.2", "own.de.3"]


def test_no_more_is_read_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    read: list[int] = []

    def stream(*_: Any, **__: Any) -> Any:
        for k in range(10**9):
            read.append(k)
            yield {"conversation_id": str(k), "conversations": CHAT, "language": "Swahili"}

    monkeypatch.setattr(datasets, "load_dataset", stream)
    assert len(read_task_rows(task_of("sharegpt"), "sw", "dev", 7)) == 7 and len(read) <= 58


def test_the_data_card_has_a_line_of_source_and_licence_for_each_task() -> None:
    dolly = dataclasses.replace(task_of("dolly"), path="rows/{lang}_{split}.jsonl")
    tasks = {"maths": task_of("maths"), "xlsum": task_of("xlsum"), "dolly": dolly}
    assert licence_lines(tasks) == [
        f"- maths: embedded; licence: {tasks['maths'].licence}",
        "- xlsum: `csebuetnlp/xlsum` ({name}) (refs/convert/parquet); licence: CC BY-NC-SA 4.0 (no commercial use)",
        "- dolly: `rows/{lang}_{split}.jsonl`; licence: Apache-2.0",
    ]


def test_embedded_tasks_come_from_the_package() -> None:
    rows = read_task_rows(task_of("maths"), "sw", "test", 5)
    assert len(rows) == 5 and all(row.task == "maths" and row.gold["sw"] for row in rows)
