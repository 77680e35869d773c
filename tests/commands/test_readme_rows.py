"""The README from my rows and my model to a folder that is served, word for word; its table of files and columns."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, byte_level_tokenizer, tiny_model
from warm_runs import ENVIRONMENT, WarmRuns

from clo.config.sources import SourceConfig
from clo.data.formats import DELIMITERS
from clo.data.instructions.columns import CHATS, PAIRS, table_examples
from clo.data.instructions.example import Counts
from clo.data.rows import Row, read_rows
from clo.data.tables import READERS, records
from clo.errors import UserError

README = ROOT / "README.md"
if not README.is_file():
    pytest.skip("there is no README.md", allow_module_level=True)
SECTION = README.read_text(encoding="utf-8").partition("\n## Your rows, your model\n")[2].partition("\n## ")[0]
[BLOCK] = re.findall(r"^```bash\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)
[SHOWN] = re.findall(r"^```csv\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)
TABLE = dict(re.findall(r"^\| (.*`.*) \| (.*) \|$", SECTION, re.MULTILINE))
ENDINGS = re.findall(r"`(\.[a-z.]+)`", " ".join(TABLE))
DELIMITER_NAMES = {"commas": ",", "semicolons": ";", "tabs": "\t", "bars": "|"}
ROWS = [
    Row(
        str(k),
        {"en": f"Name {k}, please.", "ha": f'Faɗi "{k}"; da {k}.'},
        {"en": f"It is {k}.", "ha": f"{k} | ne,\nko?"},
    )
    for k in range(3)
]
LONG = [
    {"id": row.id, "lang": lang, "prompt": row.prompts[lang], "response": row.responses[lang]}
    for row in ROWS
    for lang in ("en", "ha")
]
PAIRED = [
    {"id": row.id, "lang": "ha", "prompt_en": row.prompts["en"], "response_en": row.responses["en"],
     "prompt": row.prompts["ha"], "response": row.responses["ha"]}
    for row in ROWS
]  # fmt: skip
FORMS = {"both languages in a row": PAIRED, "a row per language": LONG}


def a_place(folder: Path) -> dict[str, str]:
    """A folder with a model, rows in the README's columns, and ``clo`` on the path; the environment to use it in."""
    model = tiny_model()
    model.config.max_position_embeddings = 2048
    model.save_pretrained(folder / "my_model")
    byte_level_tokenizer().save_pretrained(folder / "my_model")
    names, shown = list(csv.reader(SHOWN.splitlines()))
    assert (shown[0], shown[1]) == ("1", "ha") and all(shown)
    with (folder / "my_rows.csv").open("w", encoding="utf-8") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        for k in range(260):
            english = {"prompt_en": f"How much is {k} and {k + 1}?", "response_en": f"That makes {2 * k + 1}."}
            own = {"prompt": f"Nawa ne {k} da {k + 1}?", "response": f"Wannan shi ne {2 * k + 1}."}
            table.writerow({"id": k, "lang": "ha", **english, **own})
    (folder / "bin").mkdir()
    (folder / "bin" / "clo").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m clo "$@"\n')
    (folder / "bin" / "clo").chmod(0o755)
    return ENVIRONMENT | {"PATH": f"{folder}/bin{os.pathsep}{os.environ['PATH']}"}


def test_my_rows_and_my_model_become_a_folder_that_is_served(tmp_path: Path, warm: WarmRuns) -> None:
    """The block's very text, from a folder of the user's; then plain transformers answers from what it left."""
    environment = a_place(tmp_path)
    command = shlex.split(BLOCK.replace("\\\n", " ").splitlines()[0])
    assert command[:2] == ["clo", "train"]
    planned = warm.run(command[2:], tmp_path, command="plan")
    assert planned.code == 0 and "Plan: nothing was trained" in planned.out, planned.err
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", BLOCK], cwd=tmp_path, env=environment, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr.decode()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    served = tmp_path / "my_trained_model"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(served), AutoTokenizer.from_pretrained(served)
    start = AutoModelForCausalLM.from_pretrained(tmp_path / "my_model")
    trained, before = (dict(one.named_parameters()) for one in (model, start))
    assert set(trained) == set(before), "adapters are folded in"
    assert any((trained[name] != before[name]).any() for name in trained)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Nawa ne 1 da 2?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    assert model.generate(**asked, max_new_tokens=3).shape[1] > asked["input_ids"].shape[1]


def test_the_table_names_every_kind_of_file() -> None:
    """All endings that are read and no other; all delimiters."""
    gzipped = [f"{ending}.gz" for ending in READERS if ending != ".parquet"]
    assert sorted(ENDINGS) == sorted([*READERS, *gzipped])
    named = re.findall(r"commas|semicolons|tabs|bars", TABLE["`.csv` `.tsv`"])
    assert sorted(DELIMITER_NAMES[name] for name in named) == sorted(DELIMITERS)


def written(path: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> Path:
    """Rows as a file of the kind that its ending names."""
    ending = path.name.removesuffix(".gz").rpartition(".")[2]
    if ending == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    out = io.StringIO()
    if ending == "jsonl":
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    elif ending == "json":
        json.dump(rows, out, ensure_ascii=False)
    else:
        table = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)
    content = out.getvalue().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_file_is_read_in_either_form(form: str, ending: str, tmp_path: Path) -> None:
    """The same rows come out of each, in the columns that the table names."""
    rows = FORMS[form]
    columns = re.findall(r"`([a-z_]+)`", TABLE[f"`data=files`, {form}"])
    assert set(columns) - {"id"} == set(rows[0]) - {"id"} and "id" in columns
    delimiters = DELIMITERS if ending.startswith((".csv", ".tsv")) else ","
    for number, delimiter in enumerate(delimiters):
        path = written(tmp_path / f"rows{number}{ending}", rows, delimiter)
        assert read_rows(path, "en", "ha") == ROWS, delimiter


def test_other_kinds_are_refused(tmp_path: Path) -> None:
    """What the table does not name is not read."""
    for name in ("rows.txt", "rows.parquet.gz", "rows.xlsx", "rows.jsonl.zst"):
        (tmp_path / name).write_text("{}")
        with pytest.raises(UserError, match=r"\.jsonl, \.json, \.csv, \.tsv"):
            read_rows(tmp_path / name, "en", "ha")


def question(names: tuple[str, str]) -> dict[str, Any]:
    return {names[0]: "Q?", names[1]: "A."}


def talk(name: str) -> dict[str, Any]:
    return {name: [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "A."}]}


def test_the_columns_of_data_table_are_those_that_are_read(tmp_path: Path) -> None:
    """Each pair and each chat that the table names, no more and no fewer; and names of one's own."""
    [questions] = [cell for head, cell in TABLE.items() if "a question and its answer" in head]
    [chats] = [cell for head, cell in TABLE.items() if "a chat" in head]
    pairs = [tuple(names) for names in re.findall(r"`([a-z]+)` `([a-z]+)`", questions)]
    assert sorted(pairs) == sorted(PAIRS) and sorted(re.findall(r"`([a-z]+)`", chats)) == sorted(CHATS)
    make: list[tuple[Callable[[Any], dict[str, Any]], Any]] = [(question, names) for names in pairs]
    for number, (of, names) in enumerate(itertools.chain(make, [(talk, name) for name in CHATS])):
        path = written(tmp_path / f"{number}.jsonl", [of(names)])
        [found] = table_examples(SourceConfig(kind="table"), records(path, "data.source.path"), Counts())
        assert (found.prompt, found.response) == ("Q?", "A."), names
    for name in re.search(r"an `([a-z]+)` or `([a-z]+)` joins", questions).groups():  # type: ignore[union-attr]
        path = written(tmp_path / f"{name}.json", [question(("instruction", "output")) | {name: "C"}])
        [found] = table_examples(SourceConfig(kind="table"), records(path, "data.source.path"), Counts())
        assert found.prompt == "Q?\n\nC"
    own = SourceConfig(kind="table", prompt="tambaya", response="amsa")
    path = written(tmp_path / "own.csv", [question(("tambaya", "amsa"))])
    assert [one.prompt for one in table_examples(own, records(path, "data.source.path"), Counts())] == ["Q?"]
