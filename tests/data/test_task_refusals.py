"""What is no task, and what rows of tasks are refused: one sentence each, with the setting or the line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_task_sources import chats, task_of, write

from clo.config import TaskConfig
from clo.config.tasks import TaskColumns, check_tasks
from clo.data.bad_rows import BadRows
from clo.data.task_sources import read_task_rows
from clo.errors import UserError


@pytest.mark.parametrize(
    ("changes", "ask", "said"),
    [
        ({}, ("fr", "test"), r"the task own has no rows in 'fr' in split 'test' of .*; check tasks\.own\.languages"),
        ({"languages": {"de": "de", "en": "en"}}, ("fr", "dev"), r"the task own has no language 'fr'; it has de, en$"),
        ({"splits": {"test": "x", "dev": None}}, ("de", "dev"), r"the task own has no split 'dev'; it has test: set"),
        ({"splits": {}}, ("de", "dev"), r"tasks\.own\.path is one file for all splits: say which .* in the path$"),
        ({"splits": {"dev": "x[900:]"}}, ("de", "dev"), r"the task own has no rows in 'de' in split 'dev'"),
        ({"columns": TaskColumns("question", "a", language="l")}, ("de", "dev"),
         r"a\.jsonl, line 2: there is no column 'question' among q, a, l; set tasks\.own\.columns\.prompt to the one"),
        ({"columns": TaskColumns("q", "a", language="code")}, ("de", "dev"), r"line 1: there is no column 'code'"),
        ({"columns": TaskColumns("q", "a", id="l", language="l")}, ("de", "dev"),
         r"line 4: the id 'own\.de\.de' comes twice; set tasks\.own\.columns\.id to a column of ids, or to null"),
        ({"instruction": {"en": "Say: {text}"}}, ("de", "dev"), r"no wording in 'de'; set tasks\.own\.instruction\.de"),
        ({"path": "/no/such.jsonl"}, ("de", "dev"), r"tasks\.own\.path=/no/such\.jsonl does not exist"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_in_one_sentence(
    changes: dict[str, Any], ask: tuple[str, str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        read_task_rows(chats(tmp_path, **changes), *ask)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, r"tasks\.<name>\.name"),
        ({"kind": "list"}, r"tasks\.own\.kind is embedded or table"),
        ({"kind": "embedded"}, r"tasks\.own\.name is one of facts, maths, summaries"),
        ({"path": None}, r"the task own needs tasks\.own\.path=<file> or tasks\.own\.dataset=<hub name>"),
        ({"columns": TaskColumns()}, r"nothing tells the languages of the task own apart: set tasks\.own\.col"),
        ({"splits": {"dev": "x[5:5]"}}, r"tasks\.own\.splits\.dev=x\[5:5\] has no rows"),
        ({"splits": {"dev": "x[:]]", "test": "x"}}, r"splits\.dev is a split or a slice, as in train\[100:300\], got"),
        ({"splits": {"train": "x", "test": "x[:5]"}}, r"takes the same rows for train and test; give them slices"),
        ({"splits": {"train": "one", "test": "two"}}, r"takes the same rows for train and test"),  # of one file
        ({"max_new_tokens": 0}, r"tasks\.own\.max_new_tokens is a count"),
        ({"instruction": {"de": "Sag:"}}, r"tasks\.own\.instruction\.de is a text with \{text\} in it once"),
    ],
)  # fmt: skip
def test_what_makes_no_task_is_refused_before_anything_is_read(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        chats(tmp_path, **changes)


def test_a_task_has_the_name_it_is_under() -> None:
    with pytest.raises(UserError, match=r"tasks\.maths\.name is the name of its task, maths, got facts"):
        check_tasks({"maths": task_of("facts")})


def test_bad_rows_are_skipped_counted_and_keep_the_numbers_of_others(tmp_path: Path) -> None:
    records = [
        {"q": "a", "a": "b"},
        {"q": " ", "a": "b"},
        {"q": "a", "a": None},
        {"q": 3, "a": "b"},
        {"q": "c", "a": "d"},
    ]
    task = TaskConfig("own", path=f"{tmp_path}/{{lang}}.jsonl", columns=TaskColumns("q", "a"), splits={"train": "x"})
    write(tmp_path / "de.jsonl", records)
    for number, said in ((1, "'q' is empty"), (2, "'a' is empty"), (3, "'q' is no text")):
        write(tmp_path / "sw.jsonl", records[number:])
        with pytest.raises(UserError, match=rf"line 1: the column {said}"):
            read_task_rows(task, "sw", "train")
    bad = BadRows(skip=True)
    assert [row.id for row in read_task_rows(task, "de", "train", bad=bad)] == ["own.de.0", "own.de.4"]
    assert bad.count == 3
    write(tmp_path / "sw.jsonl", records[1:2])
    with pytest.raises(UserError, match=r"no rows in 'sw' .*: 1 were refused, the first: .*'q' is empty"):
        read_task_rows(task, "sw", "train", bad=BadRows(skip=True))


def test_a_dataset_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def unreachable(*_: Any, **__: Any) -> Any:
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(
        UserError, match=r"cannot read the dataset csebuetnlp/xlsum .*set tasks\.xlsum\.path to a local"
    ):
        read_task_rows(task_of("xlsum"), "sw", "test")
    with pytest.raises(UserError, match=r"the task xlsum has no language 'de'; it has en, zh, ko, id, sw, yo"):
        read_task_rows(task_of("xlsum"), "de", "test")


@pytest.mark.parametrize("context", [None, "", " "])
def test_a_joined_prompt_needs_all_of_its_parts(tmp_path: Path, context: str | None) -> None:
    row = {"id": "1", "context": context, "question": "Where?", "answers": {"text": ["here"]}}
    write(tmp_path / "en.jsonl", [row])
    words = [
        f"tasks.xquad.path='{tmp_path}/{{lang}}.jsonl'",
        *(f"tasks.xquad.splits.{one}=null" for one in ("train", "dev")),
        "tasks.xquad.splits.test=test",
    ]
    with pytest.raises(UserError, match=r"line 1: the column 'context\+question' is empty"):
        read_task_rows(task_of("xquad", *words), "en", "test")
