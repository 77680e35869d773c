"""The walk of docs/your-language.md: every command of it, in order, with a tiny model and a stand-in translator."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from called import called
from conftest import ROOT
from stand_ins import Swahili

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
    done = []
    for command in COMMANDS:
        words = shlex.split(command)
        words = ["clo", "train", *words[2:]] if words[:2] == ["python", "train.py"] else words
        assert words[0] == "clo"
        if words[1] in ("train", "translate"):
            words = [w for w in words if not w.startswith(("data_size=", "model.path=", "model.max_length="))] + small
        for run in tmp_path.glob("outputs/runs/*/results.json"):
            words = [w.replace("outputs/runs/<run>", str(run.parent)) for w in words]
        code = called(*words[1:])
        assert code == 0, f"{command}: {code}\n{capsys.readouterr().out}"
        done.append(words[1])
    assert done == ["translate", "train", "train", "report", "chat", "export"]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "my_model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "my_model")
    turns = [{"role": "user", "content": "Sannu"}]
    prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    assert model.generate(**prompt, max_new_tokens=3).shape[1] > prompt["input_ids"].shape[1]
    (results,) = tmp_path.glob("outputs/runs/*/results.json")
    assert json.loads(results.read_text())["lang_name"] == "Hausa"
