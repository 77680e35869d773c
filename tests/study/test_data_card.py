"""What a run's data card says of files with rows that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

from composed import run_of

from clo.data.prompt import Renderer
from clo.model.load import load_tokenizer
from clo.study.data_card import write_data_card
from clo.study.rows import items_of, rows_of


def test_every_source_and_every_reason_is_counted(tmp_path: Path) -> None:
    def record(number: int, lang: str, prompt: str) -> str:
        return json.dumps({"id": str(number), "lang": lang, "prompt": prompt, "response": f"answer {number} {lang}"})

    lines = [record(k, lang, f"question {k} {lang}") for k in range(12) for lang in ("en", "sw")]
    lines += [record(20, "en", "alone"), record(21, "en", "alone too"), "{"]
    lines += [record(22, "en", " "), record(22, "sw", "x")]
    lines += [record(30, lang, f"{lang} " + "long " * 400) for lang in ("en", "sw")]
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    train.write_text("\n".join(lines) + "\n", encoding="utf-8")
    asked = [record(k, lang, f"question {k} {lang}") for k in (11, 40, 41) for lang in ("en", "sw")]
    test.write_text("\n".join(asked).replace('"11"', '"42"') + "\n", encoding="utf-8")
    run = run_of(
        "data=files", f"data.train={train}", f"data.test={test}", "data.held_out=2", "data_size=8", "data.bad_rows=skip"
    )
    rows, renderer = rows_of(run), Renderer(load_tokenizer(run.model), "chat", None)
    items = items_of(run, renderer, rows)
    write_data_card(tmp_path, run, rows, items, renderer)
    card = (tmp_path / "data.md").read_text(encoding="utf-8")
    for line in (
        f"## {train}",
        "| read | 17 |",
        "| can be used | 13 |",
        f"## {test}",
        "| read | 3 |",
        "| of them are left out of train: their prompt stands in dev or test too | 1 |",
        "| trained on (data_size=8) | 8 |",
        "| test | 3 |",
    ):
        assert line in card, (line, card)
    refused = [line for line in card.splitlines() if line.startswith("| refused")]
    assert any("has no 'sw' text" in line and line.endswith("| 2 |") for line in refused), refused
    assert any("the field 'prompt' is empty" in line and line.endswith("| 1 |") for line in refused), refused
    assert any("skip: is not JSON" in line and line.endswith("| 1 |") for line in refused), refused
    assert sum(int(line.rsplit("| ", 1)[1].strip("| ")) for line in refused) == rows.sources[0].bad.count == 4
    assert card.count("id '20' has no 'sw' text") == 1  # the first are named, with their places
