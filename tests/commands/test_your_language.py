"""The walk of docs/your-language.md: every command of it, in order, with a tiny model and a stand-in translator."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from called import called, done, refused
from conftest import ROOT
from stand_ins import Swahili
from warm_runs import tiny

import clo.translate.engines

TEXT = (ROOT / "docs" / "your-language.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"^```bash\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip()
]


def test_every_command_of_the_walk(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    class Hausa(Swahili):
        def translate(self, sentences: Any, attempt: int) -> list[str]:
            said = super().translate(sentences, attempt)
            return [
                s.replace("Hii ni sentensi ya Kiswahili kuhusu", "Wannan jimla ce ta harshen Hausa game da")
                for s in said
            ]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(clo.translate.engines, "load_engine", lambda *_: Hausa())
    block = re.search(r"```json\n(.*?)```", TEXT, re.DOTALL)
    assert block is not None
    example = json.loads(block[1])
    lines = [{k: f"{v} And {n}." for k, v in example.items()} for n in range(60)]
    (tmp_path / "english.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    small = ["data_size=16", "data.held_out=4", f"model.path={tiny_folder}", "model.max_length=250"]
    small += ["evaluation.rows=4", "evaluation.val_items=4", "evaluation.max_new_tokens=4"]
    names = []
    for command in COMMANDS:
        words = shlex.split(command)
        words = ["clo", "train", *words[2:]] if words[:2] == ["python", "train.py"] else words
        assert words[0] == "clo"
        if words[1] in ("train", "translate"):
            words = [w for w in words if not w.startswith(("data_size=", "model.path=", "model.max_length="))] + small
            words += [] if "model=any" in words else ["model=any"]
        for run in tmp_path.glob("outputs/runs/*/results.json"):
            words = [w.replace("outputs/runs/<run>", str(run.parent)) for w in words]
        code = called(*words[1:])
        assert code == 0, f"{command}: {code}\n{capsys.readouterr().out}"
        names.append(words[1])
    assert names == ["translate", "train", "train", "report", "chat", "export"]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "my_model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "my_model")
    turns = [{"role": "user", "content": "Sannu"}]
    prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    assert model.generate(**prompt, max_new_tokens=3).shape[1] > prompt["input_ids"].shape[1]
    (results,) = tmp_path.glob("outputs/runs/*/results.json")
    assert json.loads(results.read_text())["lang_name"] == "Hausa"


def test_a_language_that_no_identifier_knows(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused before anything is trained, with what else there is; then trained, reported and talked to."""
    monkeypatch.chdir(tmp_path)
    lines = [
        {"id": str(n), "lang": lang, "prompt": prompt, "response": response}
        for n in range(30)
        for lang, prompt, response in (
            ("en", f"What is {n} more than a hundred thousand?", f"It is the number {n} and a hundred thousand."),
            ("mi", f"He aha te {n} neke atu i te rau mano?", f"Ko te nama {n} me te rau mano."),
        )
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    maori = ["lang=any", "lang.code=mi", "lang.name=Maori", "data=files", "data.train=rows.jsonl", "data.held_out=6"]
    words = ["train", *tiny(tiny_folder, tmp_path, *maori)]
    said = refused(words, capsys)
    assert "lang.identify=script" in said and "lang.identify=none" in said
    assert not list(tmp_path.glob("outputs/runs/*/model"))
    done(*words, "lang.identify=none")
    (path,) = tmp_path.glob("outputs/runs/*/results.json")
    scores = json.loads(path.read_text())["scores"]
    for side in ("target", "en"):
        one = scores[side]["all"]
        assert (one["language_ok"], one["lines_ok"], one["undecided"]) == (None, None, one["n"])
        assert one["language"]["undecided"] == 1 and one["chrf"] >= 0
    done("evaluate", f"run={path.parent}", f"against={path.parent}")
    done("report", "study=runs")
    capsys.readouterr()
    done("chat", f"run={path.parent}", "prompt=Kia ora", "max_new_tokens=3")
    assert capsys.readouterr().out.count("language undecided") == 2
