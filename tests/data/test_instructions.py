"""English instruction data: the rule for OpenAssistant by hand, every table form, filters that count."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from clo.config.sources import SourceConfig
from clo.data.instructions import instructions
from clo.data.instructions.example import Counts, Instruction
from clo.data.instructions.oasst import stands_alone
from clo.errors import UserError


def english(texts: Sequence[str]) -> list[bool]:
    return ["zzz" not in text for text in texts]


def read(config: SourceConfig) -> tuple[list[Instruction], Counts]:
    found, counts = instructions(config, english)
    return list(found), counts


def message(name: str, parent: str | None, rank: float | None = None, **changes: Any) -> dict[str, Any]:
    role = "assistant" if name[1:] and name[-1].isdigit() else "prompter"
    return {
        "message_id": name, "parent_id": parent, "text": f"What is the capital of {name} land?", "role": role,
        "lang": "en", "deleted": False, "review_result": True, "rank": rank, "labels": None, **changes,
    }  # fmt: skip


def quality(value: float) -> dict[str, Any]:
    return {"name": ["spam", "quality"], "value": [0.0, value], "count": [1, 1]}


FLAT = [
    message("A", None),
    message("A1", "A", 1), message("A0", "A", 0, labels=quality(0.2)), message("A2", "A", 2),
    message("B", None), message("B9", "B"),
    message("C", None, lang="de"), message("C0", "C", 0),
    message("D", None, deleted=True), message("D0", "D", 0),
    message("E", None), message("E0", "E", 0, deleted=True), message("E1", "E", 1, labels=quality(0.9)),
    message("F", None), message("F0", "F", 0), message("Fdeep", "F0"), message("Fdeep0", "Fdeep", 0),
    message("Fwhat", "F0", text="And what about that one?"), message("Fwhat0", "Fwhat", 0),
    message("G", None), message("G0", "G", 0, review_result=False),
    message("orphan0", "nobody", 0),
]  # fmt: skip
EXPECTED = [("E", "E1"), ("A", "A0"), ("B", "B9"), ("F", "F0"), ("Fdeep", "Fdeep0")]
"""Best quality first, threads' first questions before later ones; rank 0 is the best though it is falsy."""


def pairs(found: list[Instruction]) -> list[tuple[str, str]]:
    names = [(e.prompt.split()[-2], e.response.split()[-2]) for e in found]
    return [names[0], names[1], *sorted(names[2:-1]), names[-1]]


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def trees() -> list[dict[str, Any]]:
    """The flat table as trees, where a missing rank is absent instead of null."""
    nodes = {m["message_id"]: {k: v for k, v in m.items() if v is not None} | {"replies": []} for m in FLAT}
    for node in nodes.values():
        if node.get("parent_id") in nodes:
            nodes[node["parent_id"]]["replies"].append(node)
    return [{"message_tree_id": m["message_id"], "prompt": m} for m in nodes.values() if "parent_id" not in m]


@pytest.mark.parametrize("form", ["flat.jsonl", "flat.jsonl.gz", "tree.jsonl", "tree.jsonl.gz", "flat.parquet"])
def test_the_rule_by_hand(form: str, tmp_path: Path) -> None:
    path = tmp_path / form
    if form.endswith("parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(FLAT), path)
    else:
        write(path, trees() if form.startswith("tree") else FLAT)
    found, counts = read(SourceConfig(path=str(path)))
    assert pairs(found) == EXPECTED
    assert counts.removed == {
        "message not labelled English": 1, "message deleted": 2, "message failed its review": 1,
        "no valid ranked reply": 1, "a later question that leans on what was said before": 1,
    }  # fmt: skip
    assert (counts.read, counts.kept) == (7, 5)


def test_options_of_the_rule(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.jsonl", FLAT))
    found, _ = read(SourceConfig(path=path, unranked_only_child=False, deeper_turns=False))
    assert [e.id for e in found][:2] == ["E", "A"] and {e.id for e in found} == {"E", "A", "F"}


def test_sizes_nest_and_the_order_is_everlasting(tmp_path: Path) -> None:
    forward = read(SourceConfig(path=str(write(tmp_path / "a.jsonl", FLAT))))[0]
    backward = read(SourceConfig(path=str(write(tmp_path / "b.jsonl", FLAT[::-1]))))[0]
    assert forward == backward


def test_real_trees(shared_data: Path) -> None:
    found, counts = read(SourceConfig(path=str(shared_data / "oasst" / "en_100_tree.jsonl")))
    assert counts.kept == len(found) == len({e.prompt for e in found})
    assert counts.read == counts.kept + sum(v for k, v in counts.removed.items() if not k.startswith("message"))
    assert counts.kept > 130


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("What is the tallest mountain in Africa?", True),
        ("Explain how a diesel engine works. Is it loud?", True),
        ("Can you explain it in more detail please?", False),
        ("And what about the weather in Kenya?", False),
        ("Why is your answer so long today?", False),
        ("More examples?", False),
    ],
)
def test_what_stands_alone(text: str, alone: bool) -> None:
    assert stands_alone(text) is alone


TABLES: list[tuple[dict[str, Any], tuple[str, str]]] = [
    ({"prompt": "Why?", "response": "Because."}, ("Why?", "Because.")),
    ({"instruction": "Add.", "input": "1 and 2", "output": "Three"}, ("Add.\n\n1 and 2", "Three")),
    ({"instruction": "Add.", "input": "", "output": "Three"}, ("Add.", "Three")),
    ({"question": "Who?", "answer": "Nobody"}, ("Who?", "Nobody")),
    ({"instruction": "Read.", "context": "A book", "response": "Done"}, ("Read.\n\nA book", "Done")),
    ({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "Hello"},
                   {"role": "assistant", "content": "Good day"}]}, ("s\n\nHello", "Good day")),
    ({"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Good day"}]},
     ("Hello", "Good day")),
]  # fmt: skip


@pytest.mark.parametrize(("record", "expected"), TABLES)
def test_recognised_columns(record: dict[str, Any], expected: tuple[str, str], tmp_path: Path) -> None:
    found, _ = read(SourceConfig(kind="table", path=str(write(tmp_path / "a.jsonl", [record])), min_characters=1))
    assert [(e.prompt, e.response) for e in found] == [expected]


def test_csv_json_and_named_columns(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "frage", "antwort"], ["7", "Line one\nline two", "An, answer"]])
    (tmp_path / "a.json").write_text(json.dumps([{"frage": "Where is it?", "antwort": "Here", "id": 3}]))
    named = {"kind": "table", "prompt": "frage", "response": "antwort", "min_characters": 1}
    found, _ = read(SourceConfig(path=str(tmp_path / "a.csv"), **named))
    assert found == [Instruction("7", "Line one\nline two", "An, answer")]
    assert read(SourceConfig(path=str(tmp_path / "a.json"), **named))[0][0].id == "3"


def test_filters_say_what_they_removed(tmp_path: Path) -> None:
    texts = [("One question", "One answer"), ("one  QUESTION", "Again"), ("zzz question", "Other"), ("x", "Too short"),
             ("Empty answer", " "), ("Fine question", "Fine answer")]  # fmt: skip
    path = write(tmp_path / "a.jsonl", [{"prompt": p, "response": r} for p, r in texts])
    found, counts = read(SourceConfig(kind="table", path=str(path)))
    assert [e.prompt for e in found] == ["One question", "Fine question"]
    assert counts.removed == {
        "prompt occurred before": 1, "in another language": 1, "not 4 to 4000 characters": 1,
        "empty prompt or response": 1,
    }  # fmt: skip
    assert counts.lines()[0] == "6 read" and counts.lines()[-1] == "2 kept"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b'{"prompt": "What is it?", "response": "A test"}\n{', "a.jsonl, line 2 is not JSON"),
        ("a.jsonl", b'{"text": "x"}', "a.jsonl, line 1: no prompt and response among the columns text"),
        ("a.jsonl", b'{"prompt": 3, "response": "x"}', "'prompt' is missing or not a text"),
        ("a.jsonl", b'{"prompt": "\xff"}', "a.jsonl, line 1 is not UTF-8"),
        ("a.json", b'{"a": 1}', "is not a JSON list"),
        ("a.csv", b"prompt,response\nhello\n", "a.csv, row 1 has another number of fields"),
        ("a.parquet", b"nothing", "not a readable Parquet file"),
        ("a.xlsx", b"", "give a .jsonl"),
        ("a.jsonl", b'{"messages": [{"role": "assistant", "content": "x"}]}', "does not begin with a user's message"),
        ("a.jsonl", b'{"prompt": "zzz zzz", "response": "x"}', "no example is left"),
    ],
)
def test_bad_files(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        read(SourceConfig(kind="table", path=str(tmp_path / name)))
    assert says in str(error.value) and str(tmp_path) in str(error.value)


def test_a_dataset_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def unreachable(*_: Any, **__: Any) -> Any:
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(UserError, match=r"cannot read the dataset nobody/nothing .*set data"):
        read(SourceConfig(kind="table", dataset="nobody/nothing"))


def test_a_dataset_through_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real loading code, with a local Parquet file where the hub would be."""
    import datasets

    datasets.Dataset.from_list([{"question": "Who is there?", "answer": "Nobody"}]).to_parquet(tmp_path / "a.parquet")
    usual = datasets.load_dataset

    def local(name: str, config: Any, **options: Any) -> Any:
        assert (name, options.pop("revision")) == ("some/dataset", "v1")
        return usual("parquet", data_files=str(tmp_path / "a.parquet"), **options)

    monkeypatch.setattr(datasets, "load_dataset", local)
    found, _ = read(SourceConfig(kind="table", dataset="some/dataset", revision="v1"))
    assert [(e.prompt, e.response) for e in found] == [("Who is there?", "Nobody")]


@pytest.mark.slow
def test_a_million_rows_fit_in_two_gib(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl"
    with path.open("w") as file:
        for k in range(1_000_000):
            file.write(json.dumps({"prompt": f"Question number {k}, please?", "response": "word " * 60}) + "\n")
    code = (
        "import resource, sys; from clo.data.instructions import *\n"
        "found, counts = instructions(SourceConfig(kind='table', path=sys.argv[1]), lambda t: [True] * len(t))\n"
        "print(sum(1 for _ in found), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, cwd=ROOT)
    rows, kilobytes = map(int, done.stdout.split())
    print(f"1,000,000 rows: {kilobytes / 2**20:.2f} GiB")
    assert rows == 1_000_000 and kilobytes < 2 * 2**20
