"""Rows of benchmarks from files and from the hub, and the prompts made of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from clo.errors import UserError
from clo.evaluation.benchmarks.rows import ChoiceRow, answer_rows, choice_rows
from clo.evaluation.benchmarks.sources import hub_source, records_of_file, records_of_hub
from clo.evaluation.benchmarks.tasks import TASKS, gold, prompt, with_shots
from clo.evaluation.numbers import last_number

UNIFIED = {"id": "1", "question": "q", "choices": ["a", "b"], "answer": 1}
BELEBELE = {
    "link": "http://x",
    "question_number": 2,
    "flores_passage": "p",
    "question": "q",
    **{f"mc_answer{n}": f"c{n}" for n in range(1, 5)},
    "correct_answer_num": "3",
}
MMMLU = {"Question": "q", "A": "1", "B": "2", "C": "3", "D": "4", "Answer": "D", "Subject": "law"}
MMLU = {"question": "q", "subject": "law", "choices": ["1", "2", "3", "4"], "answer": 0}


@pytest.mark.parametrize(
    ("record", "row"),
    [
        (UNIFIED, ChoiceRow("1", "", "q", ("a", "b"), 1)),
        (BELEBELE, ChoiceRow("http://x#2", "p", "q", ("c1", "c2", "c3", "c4"), 2)),
        (MMMLU, ChoiceRow("0", "", "q", ("1", "2", "3", "4"), 3, "law")),
        (MMLU, ChoiceRow("0", "", "q", ("1", "2", "3", "4"), 0, "law")),
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_every_schema_is_read(record: dict[str, Any], row: ChoiceRow, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{kind}"
    if kind == "jsonl":
        path.write_text("\ufeff" + json.dumps(record) + "\n\n", encoding="utf-8")
    elif kind == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([record]), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([record.keys(), record.values()])
    if kind == "csv" and "choices" in record:  # a list is no cell
        with pytest.raises(UserError, match="row 1: 'choices' must be a list"):
            choice_rows(records_of_file(path))
        return
    assert choice_rows(records_of_file(path)) == [row]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"choices": None}, "choices"),
        ({"choices": ["a"]}, "choices"),
        ({"choices": ["a", " "]}, "choices"),
        ({"answer": 2}, "from 0 to 1"),
        ({"answer": "1"}, "'answer'"),
        ({"answer": True}, "'answer'"),
        ({"question": "  "}, "'question'"),
        ({"context": 3.5j}, "'context'"),
        ({**BELEBELE, "correct_answer_num": "5"}, "'correct_answer_num' is '5'"),
        ({**BELEBELE, "mc_answer2": None}, "'mc_answer2'"),
        ({**MMMLU, "Answer": "E"}, "'Answer' is 'E'"),
        ({**MMMLU, "B": ""}, "'B'"),
    ],
)
def test_bad_rows_are_told_with_file_row_and_key(change: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match="f, row 7") as error:
        choice_rows([("f, row 7", {**UNIFIED, **change})])
    assert told in str(error.value)


@pytest.mark.parametrize("record", [UNIFIED, BELEBELE, MMMLU])
def test_a_missing_column_is_named(record: dict[str, Any]) -> None:
    for key in set(record) - {"id", "link", "question_number", "Subject"}:
        with pytest.raises(UserError, match="f, row 7"):
            choice_rows([("f, row 7", {name: value for name, value in record.items() if name != key})])


def test_answers_are_read_in_every_form() -> None:
    squad = {"id": "1", "context": "c", "question": "q", "answers": {"text": ["a", "b"], "answer_start": [1, 2]}}
    assert answer_rows([("", squad)])[0].answers == ("a", "b")
    assert answer_rows([("", {"question": "q", "answer": None, "answer_number": 18})])[0].answers == ("18",)
    assert answer_rows([("", {"question": "q", "answer": "4.0"})])[0].answers == ("4.0",)
    for wrong in ({}, {"answers": []}, {"answers": [" "]}):
        with pytest.raises(UserError, match=r"f, row 1.*answers"):
            answer_rows([("f, row 1", {"question": "q", **wrong})])


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.jsonl", None, "does not exist"),
        ("x.txt", b"x", "give a .jsonl"),
        ("x.jsonl", b"", "holds no rows"),
        ("x.csv", b"question,choices\n", "holds no rows"),
        ("x.jsonl", b'{"question": "\xff"}', "line 1 is not UTF-8"),
        ("x.csv", b"Question,A\n\xff,b\n", "not UTF-8"),
        ("x.jsonl", b"\n{", "line 2 is not JSON"),
        ("x.jsonl", b"[]", "line 1 is not a JSON object"),
        ("x.parquet", b"no", "not a readable Parquet"),
        ("x.jsonl", b'{"id": 1, "question": "q", "choices": ["a", "b"], "answer": 0}\n' * 2, "line 2: the id '1'"),
        ("x.jsonl", b'{"other": 1}', "line 1: the columns other"),
    ],
)
def test_bad_files_are_told(name: str, content: bytes | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=told) as error:
        choice_rows(records_of_file(tmp_path / name))
    assert name in str(error.value) and "\n" not in str(error.value)


def test_the_hub_is_asked_by_language(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load(*args: Any, **named: Any) -> Any:
        asked.append((*args, named["split"], named["revision"]))
        return datasets.Dataset.from_list([MMMLU] * 3)

    asked: list[Any] = []
    monkeypatch.setattr(datasets, "load_dataset", load)
    assert len(choice_rows(records_of_hub("mmmlu", "sw", "abc", 2))) == 2
    assert hub_source("belebele", "yo") == ("facebook/belebele", "yor_Latn", "test")
    assert hub_source("mmmlu", "en") == ("cais/mmlu", "all", "test")
    assert asked == [("openai/MMMLU", "SW_KE", "test", "abc")]
    with pytest.raises(UserError, match="belebele has no language 'fr'; it has en, zh"):
        hub_source("belebele", "fr")
    with pytest.raises(UserError, match="kornli is read from local files only"):
        hub_source("kornli", "ko")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: 1 / 0)
    with pytest.raises(UserError, match=r"cannot be read from the hub \(ZeroDivisionError"):
        list(records_of_hub("belebele", "sw"))


@pytest.mark.parametrize("name", TASKS)
def test_real_rows_become_prompts(name: str, shared_data: Path) -> None:
    task = TASKS[name]
    for path in sorted((shared_data / "eval" / name).glob("*.jsonl")):
        reader = choice_rows if task.kind == "choice" else answer_rows
        rows: list[Any] = reader(records_of_file(path))
        for scoring in ("letters", "answers") if task.kind == "choice" else ("text",):
            texts = with_shots(task, scoring, rows, 2, path.stem)
            assert len(texts) == len(rows) and not any(text != text.strip() for text in texts)
            assert all(gold(task, scoring, row).strip() for row in rows)
        if task.kind == "number":
            assert all(last_number(answer) is not None for row in rows for answer in row.answers)


def test_examples_are_never_the_row_itself() -> None:
    rows = [ChoiceRow(str(k), "p", f"q{k}", ("a", "b"), k % 2) for k in range(4)]
    first, *_, last = with_shots(TASKS["belebele"], "letters", rows, 2, "en")
    assert first == "P: p\nQ: q1\nA: a\nB: b\nAnswer: B\n\nP: p\nQ: q2\nA: a\nB: b\nAnswer: A\n\n" + prompt(
        TASKS["belebele"], "letters", rows[0], "en"
    )
    assert "q0" in last and "q1" in last and "q2" not in last
    assert len(with_shots(TASKS["belebele"], "letters", rows, 2, "en", limit=1)) == 1
    with pytest.raises(UserError, match="too few for 4 shots"):
        with_shots(TASKS["belebele"], "letters", rows, 4, "en")


def test_xcopa_speaks_the_language() -> None:
    row = ChoiceRow("1", "Pria itu pakai lotion.", "cause", ("Ia duduk.", "Ia pergi."), 1)
    assert prompt(TASKS["xcopa"], "answers", row, "id") == "Pria itu pakai lotion karena"
    assert gold(TASKS["xcopa"], "answers", row) == "ia pergi."
    with pytest.raises(UserError, match="no wording for the language 'de'"):
        prompt(TASKS["xcopa"], "answers", row, "de")
