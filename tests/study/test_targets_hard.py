"""Runs of several targets where it is hard: rows that are translated for each, a kill, several processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from servers import Server, serving
from warm_runs import WarmRuns, cold, tiny

WORDS = ("lang=[sw,ko]", "data_size={ko: 16, sw: 8}", "method.steps=4", "batch_size=4", "evaluation.watch=1")
SAID = {
    "sw": "Hii ni sentensi ya Kiswahili kuhusu paka na mbwa wa",
    "ko": "이것은 고양이와 개에 대한 한국어 문장입니다",
}


def measured(place: Path) -> dict[str, Any]:
    """What the run says of its model, all answers, and its rows; without what a clock says."""
    (path,) = place.glob("outputs/runs/*/results.json")
    found = json.loads(path.read_text())
    kept = {key: found[key] for key in ("scores", "start", "square", "targets", "content")}
    texts = {str(file.relative_to(path.parent)): file.read_text() for file in path.parent.rglob("*samples.jsonl")}
    assert len(texts) == 4  # of both targets, before and after
    return kept | texts


def test_rows_are_translated_for_each_target(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    """The examples of the first eight are in both languages, eight more in one of them."""
    examples = [{"instruction": f"Tell me about animal {k}.", "output": f"It is animal number {k}."} for k in range(40)]
    (tmp_path / "english.jsonl").write_text("\n".join(map(json.dumps, examples)))

    def translated(server: Server, request: dict[str, Any], number: int) -> str:
        (language,) = (code for code in SAID if f"with the code {code}." in request["messages"][0]["content"])
        digits = "".join(c for c in request["messages"][-1]["content"] if c.isdigit())
        return f"{SAID[language]} {digits}."

    with serving(translated) as server:
        words = [
            "data=table",
            f"data.source.path={tmp_path}/english.jsonl",
            "data.held_out=4",
            f"cache_dir={tmp_path}/c",
        ]
        words += ["data.translation.engine=chat", "data.translation.model=m", f"data.translation.base_url={server.url}"]
        words += ["data.poor_rows=say", "evaluation.rows=3", "evaluation.val_items=2"]
        ended = warm.run([*tiny(tiny_folder, tmp_path, *WORDS), *words], tmp_path)
        assert ended.code == 0, ended.err + ended.out
        asked = len(server.requests)
    found = measured(tmp_path)
    (path,) = tmp_path.glob("outputs/runs/*/results.json")
    assert json.loads(path.read_text())["train"]["sizes"] == {"ko": 16, "sw": 8}
    assert asked and all(found["scores"]["targets"][code]["target"]["all"]["n"] == 3 for code in ("ko", "sw"))


@pytest.mark.parametrize(
    "at",
    [
        "clo.training.module:CLOModule.training_step",
        pytest.param("clo.evaluation.decode:decode", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_as_if_left_alone(warm: WarmRuns, tiny_folder: Path, tmp_path: Path, at: str) -> None:
    words = [*WORDS, "trainer.checkpoints=4", "evaluation.max_tokens=50"]
    for name in ("alone", "killed"):
        place = tmp_path / name
        place.mkdir()
        if name == "killed":
            assert warm.run(tiny(tiny_folder, place, *words), place, kill={"at": at, "call": 3}).code < 0
        ended = warm.run(tiny(tiny_folder, place, *words), place)
        assert ended.code == 0, ended.err
    assert measured(tmp_path / "killed") == measured(tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.parametrize("targets", ["together", "apart"])
def test_two_processes_train_what_one_does(tiny_folder: Path, tmp_path: Path, targets: str) -> None:
    losses = []
    for ranks in (1, 2):
        place = tmp_path / str(ranks)
        place.mkdir()
        words = [*WORDS, f"data.targets={targets}", f"trainer.devices={ranks}"]
        words += ["trainer.strategy=ddp"] if ranks > 1 else []
        ended = cold([str(ROOT / "train.py"), *tiny(tiny_folder, place, *words)], place, timeout=280)
        assert ended.code == 0, ended.err
        (path,) = place.glob("outputs/runs/*/metrics.jsonl")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        losses.append([line["train/loss"] for line in lines if "train/loss" in line])
        assert measured(place)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5) and len(losses[0]) == 4
