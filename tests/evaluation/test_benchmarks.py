"""Benchmarks of a model: both sides, stored and resumed; what is refused; the harness itself."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from clo.data.prompt import Renderer
from clo.errors import UserError
from clo.evaluation.benchmarks import run as run_module
from clo.evaluation.benchmarks.lm_eval import evaluate_lm_eval
from clo.evaluation.benchmarks.options import BenchmarkOptions
from clo.evaluation.benchmarks.run import Store, evaluate_benchmarks
from clo.evaluation.subject import Subject

UNIFIED = {"id": "1", "question": "q", "choices": ["a", "b"], "answer": 1}


def write_rows(folder: Path, name: str, lang: str, rows: list[dict[str, Any]]) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / name / f"{lang}.jsonl").write_text(lines, encoding="utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for lang, word in (("en", "Which"), ("de", "Welche")):
        rows = [{**UNIFIED, "id": str(k), "context": "p", "question": f"{word} {k}?"} for k in range(4)]
        write_rows(folder, "belebele", lang, rows)
        write_rows(folder, "mgsm", lang, [{"id": str(k), "question": f"{word} {k}?", "answer": str(k)} for k in (1, 2)])
    write_rows(folder, "xquad", "de", [{"id": "1", "context": "p", "question": "q", "answers": ["a"]}])
    return folder


def test_both_sides_are_evaluated_stored_and_resumed(
    random_nano: tuple[Any, Any], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = random_nano
    renderer, store = Renderer(tokenizer, "chat"), tmp_path / "store"
    options = BenchmarkOptions(str(data), 1, ["letters", "answers"], max_new_tokens=4)
    names = ["belebele", "mgsm"]

    def evaluate(**changes: Any) -> dict[str, Any]:
        given = {"options": options, "store": Store(store, "w"), "names": names, **changes}
        return evaluate_benchmarks(Subject(model, renderer), languages=("en", "de"), **given)

    seen: list[tuple[str, int, int]] = []
    first = evaluate(progress=lambda *now: seen.append(now))
    assert ("belebele target letters", 4, 4) in seen and ("mgsm en number", 2, 2) in seen
    target = first["results"]["belebele"]["target"]
    assert set(target) == {"letters-1shots", "answers-1shots"}
    assert set(first["results"]["mgsm"]["en"]) == {"number-1shots"}
    assert target["letters-1shots"]["prompt"] == "P: {context}\nQ: {question}\n{{letter}: {choice}}\nAnswer:"
    assert target["letters-1shots"]["shots"] == 1 and "test split" in target["letters-1shots"]["shots_from"]
    assert target["answers-1shots"]["chance"] == 0.5
    assert {"accuracy_norm", "accuracy_bytes"} <= set(target["answers-1shots"])
    low, high = target["letters-1shots"]["interval"]
    rights = [row["right"] for row in first["rows"]["belebele"]["target"]["letters-1shots"]]
    assert low <= target["letters-1shots"]["accuracy"] == sum(rights) / 4 <= high
    again = json.loads((store / "belebele-target.json").read_text(encoding="utf-8"))
    assert again["rows"] == first["rows"]["belebele"]["target"]

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("made again")

    scorers = {name: getattr(run_module, name) for name in ("score_choices", "score_answers")}
    for name in scorers:
        monkeypatch.setattr(run_module, name, refuse)
    assert evaluate() == first
    assert evaluate(options=BenchmarkOptions(str(data), 1, ["letters", "answers"], None, False, 99, 4)) == first
    for changed in ({"store": Store(store, "v")}, {"options": BenchmarkOptions(str(data), 0, ["letters", "answers"])}):
        with pytest.raises(AssertionError, match="made again"):
            evaluate(**changed)
    (store / "mgsm-en.json").write_text("{", encoding="utf-8")  # broken off: only this one is made again
    monkeypatch.setattr(run_module, "score_answers", scorers["score_answers"])
    assert evaluate() == first
    write_rows(data, "belebele", "de", [{**UNIFIED, "id": str(k)} for k in range(3)])
    with pytest.raises(AssertionError, match="made again"):
        evaluate()


def test_a_side_that_lacks_is_left_out_with_its_reason(random_nano: tuple[Any, Any], data: Path) -> None:
    model, tokenizer = random_nano
    renderer, options = Renderer(tokenizer, "{prompt}"), BenchmarkOptions(str(data), max_new_tokens=2)
    found = evaluate_benchmarks(Subject(model, renderer), ["xquad"], ("en", "de"), options)
    assert set(found["results"]["xquad"]) == {"target"} and {"exact", "f1"} <= set(
        found["results"]["xquad"]["target"]["span"]
    )
    assert "xquad/en.jsonl" in found["left_out"]["xquad"]["en"]
    with pytest.raises(UserError, match="kornli has neither language: kornli has no language 'de'; it has ko"):
        evaluate_benchmarks(Subject(model, renderer), ["kornli"], ("en", "de"), options)


@pytest.mark.parametrize(
    ("names", "options", "told"),
    [
        (["bele"], {}, "no benchmark 'bele'; there are belebele"),
        (["mgsm", "mgsm"], {}, "benchmarks.names"),
        (["mgsm"], {"scoring": []}, "benchmarks.scoring"),
        (["mgsm"], {"scoring": ["words"]}, "words"),
        (["mgsm"], {"shots": -1}, "benchmarks.shots"),
        (["mgsm"], {"limit": 0}, "benchmarks.limit"),
        (["mgsm"], {"data": "/no/such"}, "benchmarks.data=/no/such"),
    ],
)
def test_bad_options_are_told(names: list[str], options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        evaluate_benchmarks(None, names, ("en", "de"), BenchmarkOptions(**options))  # type: ignore[arg-type]


TASK = """task: own_belebele
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
fewshot_split: test
fewshot_config: {sampler: first_n}
output_type: multiple_choice
doc_to_text: "P: {{context.strip()}}\\nQ: {{question.strip()}}\\n\
{% for c in choices %}{{'ABCD'[loop.index0]}}: {{c}}\\n{% endfor %}Answer:"
doc_to_choice: ["A", "B", "C", "D"]
doc_to_target: answer
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


def test_the_harness_agrees_and_leaves_the_streams_alone(
    random_nano: tuple[Any, Any], shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np
    import torch

    model, tokenizer = random_nano
    rows = [json.loads(line) for line in (shared_data / "eval/belebele/en.jsonl").open(encoding="utf-8")][:12]
    write_rows(tmp_path, "belebele", "en", rows)
    task = TASK.replace("FILE", str(tmp_path / "belebele" / "en.jsonl"))
    (tmp_path / "own.yaml").write_text(task, encoding="utf-8")
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    model.train()
    found = evaluate_lm_eval(Subject(model, Renderer(tokenizer, "chat")), ["own_belebele"], 1, None, tmp_path)
    assert model.training
    model.eval()
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    assert found["harness"] == "lm-eval 0.4.13" and found["shots"] == {"own_belebele": 1}
    assert found["shots_from"] == {"own_belebele": "test"}
    assert "caveat: own_belebele: its 1 examples come from 'test'" in capsys.readouterr().out
    ours = evaluate_benchmarks(
        Subject(model, Renderer(tokenizer, "chat")), ["belebele"], ("de", "en"), BenchmarkOptions(str(tmp_path), 1)
    )["results"]["belebele"]["target"]["letters-1shots"]
    assert found["results"]["own_belebele"]["acc,none"] == pytest.approx(ours["accuracy"])
    with pytest.raises(UserError, match="could not evaluate no_such_task"):
        evaluate_lm_eval(Subject(model, Renderer(tokenizer, "chat")), ["no_such_task"], include_path=tmp_path)


def test_without_the_harness_one_sentence(random_nano: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(UserError, match=r"lm-eval is not installed .*install clo\[lm_eval\]"):
        evaluate_lm_eval(Subject(random_nano[0], Renderer(random_nano[1], "chat")), ["x"])
