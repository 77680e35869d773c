"""Rows that cannot be used: the first stops, or all are skipped and counted; what a record says is used or counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from composed import run_of

from clo.config import DataConfig
from clo.config.sources import SourceConfig
from clo.data.bad_rows import BadRows
from clo.data.instructions import instructions
from clo.data.instructions.example import Counts, Instruction
from clo.data.rows import read_rows
from clo.data.splits import load_splits
from clo.errors import UserError


def paired(k: int, **changes: Any) -> dict[str, Any]:
    texts = {"prompt_en": f"a{k}", "response_en": f"b{k}", "prompt": f"c{k}", "response": f"d{k}"}
    row = {"id": f"r{k}", **texts, "lang": "sw"}
    return {**row, **changes}


def write(path: Path, lines: list[Any]) -> Path:
    texts = (line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    path.write_bytes(b"".join(text + b"\n" for text in texts))
    return path


BAD = [
    b"{", b'["a"]', b'{"id": "\xff"}', b'{"id": "x", "prompt": "\\ud800"}', paired(90, id=None), paired(91, prompt=" "),
    paired(92, response=3), paired(93, lang="ko"), paired(1), paired(94, id=1.5),
]  # fmt: skip


def test_bad_rows_are_skipped_counted_and_named(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [paired(0), paired(1), *BAD, paired(2), b"{", b"{"])
    with pytest.raises(UserError, match="line 3 is not JSON"):
        read_rows(path, "en", "sw")
    bad = BadRows(skip=True)
    assert [row.id for row in read_rows(path, "en", "sw", bad=bad)] == ["r0", "r1", "r2"]
    assert bad.count == len(BAD) + 2 and len(bad.first) == 10
    assert bad.lines()[0] == "12 rows refused and skipped:" and bad.lines()[-1] == "and 2 more"
    said = "\n".join(bad.lines())
    for place in ("line 3 is not JSON", "line 4 is not a JSON object", "line 5 is not UTF-8", "half a character"):
        assert place in said
    with pytest.raises(UserError, match=r"holds no rows: 2 were refused, the first: .*line 1 is not JSON"):
        read_rows(write(tmp_path / "none.jsonl", [b"{", b"["]), "en", "sw", bad=BadRows(skip=True))


def test_bad_fields_of_a_csv_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,prompt_en,response_en,prompt,response,lang\n1,a,b,c,d,sw\n2,a,b\n3,a,b,c,d,sw\n")
    bad = BadRows(skip=True)
    assert [row.id for row in read_rows(path, "en", "sw", bad=bad)] == ["1", "3"] and bad.count == 1
    path.write_text('id,prompt_en,response_en,prompt,response,lang\n1,a,b,c,d,sw\n2,"a,b,c,d,sw\n3,a,b,c,d,sw\n')
    with pytest.raises(UserError, match="close every quote"):  # what it swallowed cannot be counted
        read_rows(path, "en", "sw", bad=BadRows(skip=True))


def test_a_run_says_what_it_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [*(paired(k) for k in range(10)), b"{"])
    data = DataConfig("files", "files", str(path), held_out=2)
    with pytest.raises(UserError, match="not JSON"):
        load_splits(data, "en", "sw")
    data.bad_rows = "skip"
    splits = load_splits(data, "en", "sw")
    assert len(splits.train) == 6 and splits.refused[0] == "1 rows refused and skipped:"
    assert splits.refused[1].endswith(
        "line 11 is not JSON (Expecting property name enclosed in double quotes, column 2)"
    )
    run = run_of("data=files", f"data.train={path}")
    assert run_of("data=files", f"data.train={path}", "data.bad_rows=skip").slug() == run.slug()


# English examples ----------------------------------------------------------------------------------------------------


def read(path: Path, skip: bool = False) -> tuple[list[Instruction], Counts]:
    config = SourceConfig(kind="table", path=str(path), min_characters=1)
    found, counts = instructions(config, lambda texts: [True] * len(texts), skip)
    return list(found), counts


def chat(*turns: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": f"{role} {k}"} for k, role in enumerate(turns)]}


def test_one_odd_chat_is_skipped_and_counted(tmp_path: Path) -> None:
    lines = [
        chat("user", "assistant"),
        chat("assistant", "user"),
        chat("system", "user", "assistant", "user", "assistant"),
    ]
    path = write(tmp_path / "a.jsonl", lines)
    with pytest.raises(UserError, match="line 2: the chat does not begin with a user's message"):
        read(path)
    found, counts = read(path, skip=True)
    assert [(e.id, e.prompt) for e in found] == [("0", "user 0"), ("2", "system 0\n\nuser 1")]  # a system turn is read
    assert counts.removed == {"refused and skipped": 1} and counts.bad.count == 1
    assert counts.noted == {"the turns of a chat after its first answer": 1}
    assert "1 without the turns of a chat after its first answer" in counts.lines()


def test_verdicts_and_contexts_are_used(tmp_path: Path) -> None:
    """KTO's rows say whether an answer is a good one; a question may be about a text beside it."""
    rows = [
        {"prompt": "p1", "completion": "good", "label": True},
        {"prompt": "p2", "completion": "bad", "label": False},
        {"prompt": "p3", "completion": "bad", "label": "false"},
        {"prompt": "p4", "completion": "good", "label": 0},  # a number is a class, no verdict
        {"question": "q1", "context": "c1", "answer": "a"},
        {"instruction": "i1", "input": "<noinput>", "output": "o"},
        {"question": "q2", "context": " ", "answer": "a"},
    ]
    found, counts = read(write(tmp_path / "a.jsonl", rows))
    assert [e.prompt for e in found] == ["p1", "p4", "q1\n\nc1", "i1", "q2"]
    assert counts.removed == {"its label says that the answer is a bad one": 2}


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["a", "b", "a"], r"line 3: id 'a' is also that of record 1; give every record an id of its own"),
        (["a", None, "b"], r"line 2 has no id, but others before it have"),
        ([None, None, "0"], r"line 3 has an id, but none before it has"),
        (["a", 1, "1"], r"line 3: id '1' is also that of record 2"),
    ],
)
def test_double_and_missing_ids_are_told_before_anything_is_translated(
    ids: list[Any], said: str, tmp_path: Path
) -> None:
    rows = [
        {"prompt": f"p{k}", "response": "r", **({} if name is None else {"id": name})} for k, name in enumerate(ids)
    ]
    path = write(tmp_path / "a.jsonl", rows)
    config = SourceConfig(kind="table", path=str(path), min_characters=1)
    with pytest.raises(UserError, match=said):
        instructions(config, lambda texts: [True] * len(texts))  # not one example is asked for yet
    found, counts = read(path, skip=True)
    assert len(found) == 2 and counts.bad.count == 1 and len({e.id for e in found}) == 2


@pytest.mark.parametrize("code", ["False", "True"])
def test_a_language_code_that_yaml_reads_as_a_word_is_told(code: str) -> None:
    with pytest.raises(UserError, match=r'lang\.code.*in quotes, such as code: "no"'):
        run_of("lang=any", f"lang.code={code}", "lang.name=Norwegian")
    assert run_of("lang=any", "lang.code=no", "lang.name=Norwegian").lang.code == "no"
