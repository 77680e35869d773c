"""What a table file can be, and how one that is spoilt is told: in one sentence with the place."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from clo.data.tables import id_of, records
from clo.errors import LONGEST, UserError, cause

RECORDS = [{"id": str(k), "prompt": f"Sema {k}, tafadhali", "response": "Embe; tunda"} for k in range(1200)]
HEAD = "id,prompt,response"


def read(path: Path, content: bytes | str) -> list[dict[str, Any]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return [record for _, record in records(path, "key")]


def refused(path: Path, content: bytes | str) -> str:
    with pytest.raises(UserError) as caught:
        read(path, content)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message.replace(str(path), path.name)


def lines_of(found: list[dict[str, str]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in found)


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", "\t")])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_header_tells_the_delimiter(name: str, delimiter: str, end: str, tmp_path: Path) -> None:
    text = end.join([HEAD.replace(",", delimiter), f'1{delimiter}"a{delimiter}b{end}c"{delimiter}d', ""])
    assert read(tmp_path / name, text) == [{"id": "1", "prompt": f"a{delimiter}b{end}c", "response": "d"}]


def test_kinds_read_alike(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(RECORDS), tmp_path / "made")
    contents = {
        "a.jsonl": lines_of(RECORDS),
        "a.json": json.dumps(RECORDS),
        "a.jsonl.gz": gzip.compress(lines_of(RECORDS).encode()),
        "a.CSV.gz": gzip.compress(
            "\n".join([HEAD, *(f'{r["id"]},"{r["prompt"]}",{r["response"]}' for r in RECORDS)]).encode()
        ),
        "a.parquet": (tmp_path / "made").read_bytes(),
    }
    for name, content in contents.items():
        assert read(tmp_path / name, content) == RECORDS, name


def test_a_long_field_is_read(tmp_path: Path) -> None:
    (record,) = read(tmp_path / "a.csv", f"{HEAD}\n1,{'x' * 500_000},y\n")
    assert len(record["prompt"]) == 500_000


def test_lines_end_at_the_line_feed_alone(tmp_path: Path) -> None:
    odd = [{"id": "1", "prompt": "a\u2028b\u0085c\x0cd\x1ee", "response": "\u2029"}]
    assert read(tmp_path / "a.jsonl", lines_of(odd)) == odd


SPOILT: list[tuple[str, bytes | str, str]] = [
    ("a.jsonl.gz", gzip.compress(lines_of(RECORDS).encode())[:-900], "a.jsonl.gz is cut or damaged (after line "),
    (
        "a.jsonl.gz",
        lines_of(RECORDS),
        "a.jsonl.gz cannot be read (Not a gzipped file (b'{\"'), at its beginning); make",
    ),
    ("a.csv", f"{HEAD}\n1,{'x' * (1 << 24)}x,y\n", "a.csv, row 1 cannot be read (field larger than field limit"),
    ("a.csv", f'{HEAD}\n1,b,c\n2,"b,c\n3,b,c\n', "a.csv, row 2 cannot be read (unexpected end of data; fields are"),
    ("a.csv", "id,prompt,id\n1,2,3\n", "a.csv, header: the column 'id' comes twice"),
    ("a.csv", f"{HEAD}\n1,b\n", "row 1 has another number of fields than the header (2, not 3); mend the row"),
    ("a.jsonl", '{"id": ' + "9" * 5000 + "}", "a.jsonl, line 1 holds a number of too many digits; write it as a text"),
    ("a.json", "[" + "9" * 5000 + "]", "a.json holds a number of too many digits"),
    ("a.jsonl", '{"a": ' + "[" * 100_000, "a.jsonl, line 1 is nested too deeply"),
    ("a.json", "[" * 100_000, "a.json is nested too deeply"),
    ("a.jsonl", '{"a": "b"}\n{"a": "\\ud800"}', "a.jsonl, line 2: the field 'a' holds half a character ('\\ud800', a"),
    ("a.json", '[{"a": ["\\udfff"]}]', "a.json, entry 1: the field 'a' holds half a character"),
    ("a.jsonl", '{"\\ud800": 1}', "line 1: the field '\\ud800' holds half a character"),
    ("a.jsonl", lines_of(RECORDS[:1]).encode("utf-16"), "a.jsonl is UTF-16; convert the file to UTF-8"),
    ("a.csv", HEAD.encode("utf-32"), "a.csv is UTF-32; convert the file to UTF-8"),
    ("a.jsonl", lines_of(RECORDS[:1]).encode("utf-16-le"), "a.jsonl, line 1 holds a NUL byte (column 2); the file is"),
    ("a.csv", f"{HEAD}\n1,a\0b,c", "a.csv, line 2 holds a NUL byte (column 4)"),
    ("a.json", '[{"a": 1},\n{"a"}]', "a.json is not JSON (Expecting ':' delimiter, line 2, column 5)"),
    ("a.parquet", b"PAR1 not really", "a.parquet is not a readable Parquet file (after 0 rows: Parquet magic bytes"),
    ("a.parquet.gz", b"x", "key=a.parquet.gz: give a .jsonl"),
    ("a.txt", b"x", "key=a.txt: give a .jsonl"),
]


@pytest.mark.parametrize(
    ("name", "content", "said"), SPOILT, ids=[f"{k}-{said[:30]}" for k, (_, _, said) in enumerate(SPOILT)]
)
def test_spoilt_files(name: str, content: bytes | str, said: str, tmp_path: Path) -> None:
    assert said in refused(tmp_path / name, content)


def test_parquet_that_breaks_in_its_middle(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = random.Random(0)
    texts = [{"id": str(k), "text": rng.randbytes(300).hex()} for k in range(4000)]
    pq.write_table(pa.Table.from_pylist(texts), tmp_path / "a.parquet", row_group_size=1000, compression="gzip")
    whole = bytearray((tmp_path / "a.parquet").read_bytes())
    at = len(whole) // 2
    whole[at : at + 4000] = bytes(4000)
    message = refused(tmp_path / "a.parquet", bytes(whole))
    assert "not a readable Parquet file (after " in message or "cannot be read (" in message
    assert "after 0 rows" not in message


def test_what_is_no_file(tmp_path: Path) -> None:
    for path, said in (
        (tmp_path, "is a folder; give a .jsonl"),
        (tmp_path / "no.csv", "does not exist"),
        (tmp_path / ("x" * 300 + ".csv"), "cannot be read (File name too long); give"),
    ):
        with pytest.raises(UserError) as caught:
            records(path, "key")
        assert said in str(caught.value)


def test_ids() -> None:
    assert [id_of({"id": given}, "x") for given in (1, "1", 0, "", None)] == ["1", "1", "0", None, None]
    assert id_of({}, "x") is None
    for given in (True, False, 1.0, float("nan"), ["1"], {}):
        with pytest.raises(UserError, match=r"^x, row 2: the field 'id' is .*; an id is a text or a whole number$"):
            id_of({"id": given}, "x, row 2")


def test_an_error_is_one_line_that_can_be_written() -> None:
    said = str(UserError("a\nb\u2028c \ud800"))
    assert said == "a b c \\ud800"
    assert len(str(UserError("x" * 10**6))) <= LONGEST + 3
    assert cause(ValueError("\n\n first.\nsecond")) == "first" and cause(KeyError()) == "KeyError"
