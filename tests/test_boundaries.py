"""Whatever bytes come from outside, a boundary reads them or says in one sentence why not: mutations of real files.

A boundary is the one place where a kind of outside thing enters: tables, prompts and rows made of them, a model folder,
a run's folder. ``pytest -s`` shows the counts.
"""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import TEXTS

from clo.errors import LONGEST, UserError

ROWS = [
    {"id": str(k), "prompt_en": a, "response_en": b, "prompt": c, "response": d, "lang": "sw"}
    for k, (a, b, c, d) in enumerate(TEXTS)
]
TREE = {
    "message_id": "m", "parent_id": None, "text": "What is the capital of Kenya?", "role": "prompter", "lang": "en",
    "rank": None, "labels": {"quality": {"value": 0.7}},
}  # fmt: skip
REPLY = {**TREE, "message_id": "n", "parent_id": "m", "text": "It is Nairobi.", "role": "assistant", "rank": 0}


def cut(whole: bytes, rng: random.Random) -> bytes:
    return whole[: rng.randrange(len(whole))]


def flipped(whole: bytes, rng: random.Random) -> bytes:
    found = bytearray(whole)
    for _ in range(rng.choice((1, 1, 3, 20))):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def inserted(whole: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(whole))
    return whole[:at] + rng.choice(PIECES) + whole[at:]


def swapped(whole: bytes, rng: random.Random) -> bytes:
    """A value in place of another one: what is still well formed, and wrong."""
    old = rng.choice([one for one in (b"null", b"0", b'"', b"1", b":", b",", b"true", b"- ", b"e") if one in whole])
    places = whole.split(old)
    at = rng.randrange(1, len(places))
    return old.join(places[:at]) + rng.choice(VALUES) + old.join(places[at:])


def dropped(whole: bytes, rng: random.Random) -> bytes:
    start, stop = sorted(rng.randrange(len(whole)) for _ in range(2))
    return whole[:start] + whole[stop:]


def encoded(whole: bytes, rng: random.Random) -> bytes:
    return whole.decode("utf-8", "replace").encode(rng.choice(ENCODINGS), "replace")


def delimited(whole: bytes, rng: random.Random) -> bytes:
    return whole.replace(rng.choice(DELIMITERS), rng.choice(DELIMITERS))


def huge(whole: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(whole))
    return whole[:at] + rng.choice((b"x", b"9", b" ", b'"', b"\xc3\xa9")) * rng.choice((5000, 140_000)) + whole[at:]


def nested(whole: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(whole))
    return whole[:at] + rng.choice((b"[", b'{"a":', b"[{")) * rng.choice((10, 900, 3000)) + whole[at:]


def other(whole: bytes, rng: random.Random) -> bytes:
    return rng.choice(WHOLES)


PIECES = (
    *(b"\0", b"\n", b"\r", b'"', b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"\xef\xbb\xbf", b"{{", b"${x}"),
    *(b"\xe2\x80\xa8", b"!!python/object/apply:os.getcwd []", b"&a [*a]", b"\t", b"'", b"\x1b[31m", b": ", b"- "),
)
VALUES = (b"null", b"true", b"-1", b"1.5", b"NaN", b"1e999", b"[]", b"{}", b'""', b'"x"', b"9" * 5000, b"[[1]]", b"~")
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "cp037", "utf-8-sig", "utf-7")
DELIMITERS = (b",", b";", b"\t", b"|", b":", b" ", b"\n", b"\r\n", b"\r")
WHOLES = (
    b"",
    b"\n",
    b"[1]",
    b"{}",
    b"[]",
    b"null",
    b"0",
    b'"x"',
    b"\0" * 100,
    b"\x1f\x8b\x08",
    b"PAR1PAR1",
    b"- a",
    b"#",
)
MUTATIONS = (
    cut,
    flipped,
    flipped,
    inserted,
    inserted,
    swapped,
    swapped,
    dropped,
    encoded,
    delimited,
    huge,
    nested,
    other,
)


@dataclass
class Boundary:
    """One place where a file enters."""

    name: str
    path: Path
    read: Callable[[], Any]
    count: int
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def attack(self, rng: random.Random) -> None:
        """Read mutations of the file; it is whole again afterwards."""
        whole = self.path.read_bytes()
        self.read()
        for number in range(self.count):
            mutation = rng.choice(MUTATIONS)
            self.path.write_bytes(mutation(whole, rng))
            self._once(f"{self.name} {number} {mutation.__name__}")
        self.path.write_bytes(whole)

    def _once(self, label: str) -> None:
        try:
            self.read()
            self.outcomes["read"] += 1
        except UserError as error:
            said = str(error)
            fine = len(said.splitlines()) == 1 and len(said) <= LONGEST + 3
            said.encode("utf-8")
            self.outcomes["told" if fine else "told badly"] += 1
            if not fine:
                self.wrong.append(f"{label}: {said}")
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            self.outcomes["raised"] += 1
            self.wrong.append(f"{label}: {type(error).__name__}: {error!s:.200}")


def tables(place: Path) -> list[Boundary]:
    """Every kind of table as parallel rows; trees, examples and prompts from JSON Lines."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from clo.config.sources import SourceConfig
    from clo.data.instructions import instructions
    from clo.data.rows import read_rows
    from clo.study.answers import read_prompts

    def lines(records: list[dict[str, Any]]) -> bytes:
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()

    def separated(delimiter: str) -> bytes:
        texts = [list(ROWS[0]), *([f'"{value}"' for value in row.values()] for row in ROWS)]
        return "\n".join(map(delimiter.join, texts)).encode()

    contents = {
        "rows.jsonl": (lines(ROWS), 300),
        "rows.json": (json.dumps(ROWS, indent=1).encode(), 200),
        "rows.csv": (separated(","), 200),
        "rows.tsv": (separated("\t"), 150),
        "rows.jsonl.gz": (gzip.compress(lines(ROWS)), 200),
        "rows.csv.gz": (gzip.compress(separated(";")), 100),
    }
    found = []
    for name, (content, count) in contents.items():
        (place / name).write_bytes(content)
        found.append(Boundary(name, place / name, lambda path=place / name: read_rows(path, "en", "sw"), count))
    pq.write_table(pa.Table.from_pylist(ROWS * 40), place / "rows.parquet", row_group_size=60)
    parquet = place / "rows.parquet"
    from clo.data.tables import records

    found.append(Boundary("rows.parquet", parquet, lambda: list(records(parquet, "key")), 300))
    for name, kind, record in (("trees", "oasst", [TREE, REPLY]), ("examples", "table", ROWS)):
        path = place / f"{name}.jsonl"
        path.write_bytes(lines(record))
        config = SourceConfig(kind=kind, path=str(path), prompt="prompt" if kind == "table" else None)

        def read(config: SourceConfig = config) -> Any:
            return list(instructions(config, lambda texts: [True] * len(texts))[0])

        found.append(Boundary(name, path, read, 200))
    prompts = place / "prompts.jsonl"
    prompts.write_bytes(lines(ROWS))
    found.append(Boundary("prompts", prompts, lambda: read_prompts(prompts, {"sw": "target", "en": "en"}, None), 150))
    return found


def model_folder(place: Path, tiny: Path) -> list[Boundary]:
    """The configuration as a model's shape, its weights, the tokenizer as far as a rendered prompt."""
    from clo.config import ModelConfig
    from clo.data.prompt import Renderer
    from clo.model.load import load_model, load_tokenizer, shape_only

    folder = place / "model"
    shutil.copytree(tiny, folder)
    config = ModelConfig(path=str(folder), max_length=64)

    def render() -> Any:
        return Renderer(load_tokenizer(config), "chat").prompt_ids("Sema jambo.")

    return [
        Boundary("config.json", folder / "config.json", lambda: shape_only(config), 150),
        Boundary("weights", folder / "model.safetensors", lambda: load_model(config), 60),
        Boundary("tokenizer.json", folder / "tokenizer.json", render, 100),
        Boundary("tokenizer_config.json", folder / "tokenizer_config.json", render, 80),
        Boundary("chat_template", folder / "chat_template.jinja", render, 100),
    ]


def run_folder(place: Path) -> list[Boundary]:
    """The files of a finished run, as the table of runs and the commands on finished runs read them."""
    from composed import run_of
    from omegaconf import OmegaConf
    from report_fixture import write_study

    from clo.config.parse import plain
    from clo.storage.run_folder import RunFolder
    from clo.study.finished import finished_run
    from clo.study.table import print_table

    study = write_study(place / "study", langs={"sw": 1}, sizes=(100,), methods=("clo",), unfinished=False)
    (folder,) = (path.parent for path in study.glob("*/results.json"))
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(plain(run_of()))), encoding="utf-8")
    return [
        Boundary("results.json", folder / "results.json", lambda: print_table([folder]), 200),
        Boundary("status.json", folder / "status.json", lambda: RunFolder(folder).state(), 200),
        Boundary("config.yaml", folder / "config.yaml", lambda: finished_run(folder), 200),
    ]


def attacked(boundaries: list[Boundary], capsys: pytest.CaptureFixture[str]) -> int:
    for number, boundary in enumerate(boundaries):
        boundary.attack(random.Random(number))
    capsys.readouterr()
    for boundary in boundaries:
        print(f"{boundary.name:<22} {dict(sorted(boundary.outcomes.items()))}")
    wrong = [line for boundary in boundaries for line in boundary.wrong]
    assert not wrong, "\n".join(wrong)
    assert all(boundary.outcomes["told"] or boundary.name == "status.json" for boundary in boundaries)
    return sum(boundary.count for boundary in boundaries)


def test_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert attacked(tables(tmp_path), capsys) >= 1500


def test_model_folders(tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert attacked(model_folder(tmp_path, tiny_folder), capsys) >= 400


def test_run_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert attacked(run_folder(tmp_path), capsys) >= 600
