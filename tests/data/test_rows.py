from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clo.data.rows import read_rows
from clo.data.texts import visible
from clo.errors import UserError

LONG = [
    {"id": "1", "lang": "en", "prompt": "Name a fruit.", "response": "An apple."},
    {"id": "1", "lang": "sw", "prompt": "Taja tunda.", "response": "Embe."},
    {"id": "2", "lang": "sw", "prompt": "Sema jambo.", "response": "Jambo."},
    {"id": "2", "lang": "en", "prompt": "Say hello.", "response": "Hello."},
]


def write(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
    return path


def test_long_form_is_joined_on_id_in_order_of_first_mention(tmp_path: Path) -> None:
    first, second = read_rows(write(tmp_path / "rows.jsonl", LONG), "en", "sw")
    assert (first.id, second.id) == ("1", "2")
    assert first.prompts == {"en": "Name a fruit.", "sw": "Taja tunda."}
    assert second.responses == {"sw": "Jambo.", "en": "Hello."}


def test_paired_form_gives_the_same_rows(tmp_path: Path) -> None:
    paired = [
        {
            "id": en["id"],
            "prompt_en": en["prompt"],
            "response_en": en["response"],
            "prompt": sw["prompt"],
            "response": sw["response"],
            "lang": "sw",
        }
        for en, sw in ((LONG[0], LONG[1]), (LONG[3], LONG[2]))
    ]
    wanted = read_rows(write(tmp_path / "long.jsonl", LONG), "en", "sw")
    assert read_rows(write(tmp_path / "paired.jsonl", paired), "en", "sw") == wanted


def test_parquet_gives_the_same_rows(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(LONG), tmp_path / "rows.parquet")
    wanted = read_rows(write(tmp_path / "rows.jsonl", LONG), "en", "sw")
    assert read_rows(tmp_path / "rows.parquet", "en", "sw") == wanted


def test_other_languages_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [*LONG, {"id": 1, "lang": "ko", "prompt": "과일", "response": "사과"}])
    path.write_text("\n" + path.read_text(encoding="utf-8") + "\n \n", encoding="utf-8")
    rows = read_rows(path, "en", "sw")
    assert rows[0].prompts["ko"] == "과일"  # the number 1 and the text "1" are one id
    assert len(rows) == 2


WORDS = st.text(min_size=1).filter(visible)


@given(st.dictionaries(st.text("abc0", min_size=1), st.tuples(WORDS, WORDS, WORDS, WORDS), min_size=1, max_size=5))
def test_any_text_survives_the_file(
    tmp_path_factory: pytest.TempPathFactory, texts: dict[str, tuple[str, ...]]
) -> None:
    records = [
        {"id": name, "lang": lang, "prompt": four[k], "response": four[k + 2]}
        for name, four in texts.items()
        for k, lang in enumerate(("en", "sw"))
    ]
    path = write(tmp_path_factory.mktemp("rows") / "rows.jsonl", records)
    rows = read_rows(path, "en", "sw")
    assert {r.id: (*r.prompts.values(), *r.responses.values()) for r in rows} == texts


def bad(tmp_path: Path, content: bytes | list[Any]) -> str:
    path = tmp_path / "rows.jsonl"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        write(path, content)
    with pytest.raises(UserError) as caught:
        read_rows(path, "en", "sw")
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message.removeprefix(str(path))


EN, SW = LONG[0], LONG[1]
LINE = (json.dumps(EN) + "\n").encode()


@pytest.mark.parametrize(
    ("content", "place", "said"),
    [
        (LINE + b'{"id": "1", \n', ", line 2", "is not JSON"),
        (LINE + b'["a"]\n', ", line 2", "is not a JSON object"),
        (LINE + '{"id": "é"}'.encode("latin-1"), ", line 2", "is not UTF-8 (byte 8); convert the file"),
        (b"", "", "holds no rows"),
        ([EN, {**SW, "id": None}], ", line 2", "'id' is missing or empty"),
        ([EN, {k: v for k, v in SW.items() if k != "id"}], ", line 2", "'id' is missing"),
        ([EN, {**SW, "id": ""}], ", line 2", "'id' is missing or empty"),
        ([EN, SW, EN], ", line 3", "id '1' has 'en' twice"),
        ([EN, {**EN, "lang": "ko"}], "", "id '1' has no 'sw' text (it has en, ko); add the translation or drop"),
        ([SW], "", "id '1' has no 'en' text (it has sw)"),
        ([EN, {**SW, "response": " \t"}], ", line 2", "'response' is empty; fill it or drop the row"),
        ([EN, {**SW, "prompt": ""}], ", line 2", "'prompt' is empty"),
        ([EN, {**SW, "prompt": 3}], ", line 2", "'prompt' is missing or not a text"),
        ([EN, {k: v for k, v in SW.items() if k != "lang"}], ", line 2", "'lang' is missing"),
        ([{**SW, "prompt_en": "a", "response_en": ""}], ", line 1", "'response_en' is empty"),
        ([{**SW, "prompt_en": "a"}], ", line 1", "'response_en' is missing"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, content: bytes | list[Any], place: str, said: str) -> None:
    message = bad(tmp_path, content)
    assert message.startswith(place), message
    assert said in message


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.train=.*nothing\.jsonl does not exist"):
        read_rows(tmp_path / "nothing.jsonl", "en", "sw")
    with pytest.raises(UserError, match=r"is a folder; give a \.jsonl"):
        read_rows(tmp_path, "en", "sw")
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match=r"rows\.parquet is not a readable Parquet file"):
        read_rows(tmp_path / "rows.parquet", "en", "sw")


def test_a_csv_file(tmp_path: Path) -> None:
    """Quoted commas and line breaks; a short row is named."""
    path = tmp_path / "rows.csv"
    path.write_text('id,lang,prompt_en,response_en,prompt,response\n1,sw,"a, b",c,"d\ne",f\n', encoding="utf-8")
    (row,) = read_rows(path, "en", "sw")
    assert row.prompts == {"en": "a, b", "sw": "d\ne"} and row.responses == {"en": "c", "sw": "f"}
    path.write_text("id,lang,prompt_en,response_en,prompt,response\n1,sw,a\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"rows\.csv, row 1 has another number of fields"):
        read_rows(path, "en", "sw")


def test_real_rows_read_whole(shared_data: Path) -> None:
    files = sorted((shared_data / "parallel").rglob("*.jsonl"))
    assert files
    for path in files:
        with path.open(encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
        lang = records[0]["lang"]
        rows = read_rows(path, "en", lang)
        assert len(rows) == len(records)
        for row, record in zip(rows, records, strict=True):
            assert row.prompts == {"en": record["prompt_en"], lang: record["prompt"]}
            assert row.responses == {"en": record["response_en"], lang: record["response"]}


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = {"id": "1", "prompt_en": "a", "response_en": "b", "prompt": "c", "response": "d", "lang": "sw"}
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(row).encode())
    assert read_rows(path, "en", "sw")[0].prompts == {"en": "a", "sw": "c"}
