"""The start model's own answers as what is rejected: made once, judged, counted, and the same after a kill."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import byte_level_tokenizer, rows, tiny_model
from tiny_runs import run_config
from warm_runs import WarmRuns, tiny

import clo.study.own_answers
from clo.config import EvaluationConfig
from clo.config.choices import Prompts
from clo.config.parse import RunConfig
from clo.data.items import build_items
from clo.data.prompt import Renderer
from clo.data.splits import Splits
from clo.errors import UserError
from clo.evaluation.answer_log import Answer
from clo.storage.run_folder import RunFolder
from clo.study.own_answers import asked_prompts, planned_own, with_own_answers
from clo.study.rows import Items
from clo.study.session import Session

SWAHILI = "Hii ni sentensi ndefu ya Kiswahili kuhusu paka na mbwa wa jirani yangu."
ENGLISH = "This is a long English sentence about the cat and the dog of my neighbour."


def opened(folder: Path, **changes: Any) -> tuple[Session, Splits, Items]:
    """A run over four training and two held-out rows."""
    run: RunConfig = run_config(folder, method_changes={"rejected": "own", **changes})
    run.evaluation = EvaluationConfig(max_new_tokens=5, max_tokens=60)
    renderer = Renderer(byte_level_tokenizer(), "chat")
    splits = Splits(rows()[:4], rows()[4:], [])
    items = [build_items(some, ["en", "sw"], renderer, 200)[0] for some in (splits.train, splits.dev)]
    return Session(run, RunFolder(folder / "run"), renderer, torch.device("cpu")), splits, Items(*items, 0)


def told(session: Session) -> list[dict[str, Any]]:
    lines = (session.folder.path / "own_answers.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def answers(monkeypatch: pytest.MonkeyPatch, *given: Answer) -> None:
    def say(_: Any, prompts: Sequence[Any], *__: Any, **___: Any) -> list[Answer]:
        return list(given[: len(prompts)])

    monkeypatch.setattr(clo.study.own_answers, "generate", say)


def test_what_becomes_of_every_kind_of_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """English: used. Swahili: left out. Empty, equal to the chosen one, longer than the window: left out."""
    session, splits, items = opened(tmp_path)
    equal = Answer(f" {splits.train[2].responses['sw'].upper()} ")
    answers(
        monkeypatch,
        Answer(ENGLISH),
        Answer(SWAHILI),
        equal,
        Answer("\u200b "),
        Answer("x", cut=True),
        Answer("y" * 9000),
    )
    made = with_own_answers(session, tiny_model(), splits, items)
    assert [line["left_out"] for line in told(session)] == [
        *(None, "in the prompt's language", "equal to the chosen one", "empty"),
        *(None, "longer than the window"),
    ]
    assert [line["verdict"] for line in told(session)][:2] == ["en", "target"]
    renderer = session.renderer
    assert made.train[0].responses[2:] == (tuple(renderer.response_ids(ENGLISH)),)
    assert [item.responses[2] for item in made.train[1:]] == [None] * 3
    assert made.val[0].responses[2] == tuple(renderer.response_ids("x"))[:-1]  # it had no end
    assert made.train[0].responses[:2] == items.train[0].responses
    assert made.own["train"] == {
        "asked": 4,
        "used": 1,
        "left_out": {"in the prompt's language": 1, "equal to the chosen one": 1, "empty": 1},
        "verdicts": {"en": 1, "target": 2, "undecided": 1},
        "without_end": 0,
    }
    assert made.own["held_out"]["without_end"] == 1
    said = capsys.readouterr().out
    assert "own answers: 1 of 4 are rejected" in said and "1 left out: equal to the chosen one" in said


def test_answers_in_the_right_language_may_be_used_and_english_may_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, splits, items = opened(tmp_path, own_in_language="use", own_prompts=Prompts.both)
    answers(monkeypatch, *(Answer(text) for text in (ENGLISH, SWAHILI) * 6))
    made = with_own_answers(session, tiny_model(), splits, items)
    ids = [tuple(session.renderer.response_ids(text)) for text in (ENGLISH, SWAHILI)]
    assert all(item.responses[2:] == tuple(ids) for item in (*made.train, *made.val))
    assert [line["lang"] for line in told(session)][:3] == ["en", "sw", "en"]


def test_where_none_can_be_rejected_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, *[Answer(SWAHILI)] * 6)
    session, splits, items = opened(tmp_path)
    with pytest.raises(UserError, match=r"none of the start model's 4 answers .*4 in the prompt's language.*; take "):
        with_own_answers(session, tiny_model(), splits, items)
    session, splits, items = opened(tmp_path / "both", rejected=["translation", "own"])
    assert with_own_answers(session, tiny_model(), splits, items).own["train"]["used"] == 0


def test_methods_without_own_answers_ask_for_none(tmp_path: Path) -> None:
    session, splits, items = opened(tmp_path, rejected="translation")
    assert with_own_answers(session, tiny_model(), splits, items) is items and planned_own(session.run, items) is items
    assert asked_prompts(session.run, items.train) == 0


def test_a_plan_counts_the_sources_response(tmp_path: Path) -> None:
    session, _, items = opened(tmp_path)
    planned = planned_own(session.run, items)
    assert [item.responses[2] for item in planned.train] == [item.responses[0] for item in items.train]
    assert asked_prompts(session.run, items.train) == 4


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_stopped_in_the_middle_it_goes_on_to_equal_bytes(
    temperature: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def place(name: str) -> tuple[Session, Splits, Items]:
        return opened(tmp_path / name, own_temperature=temperature, own_in_language="use")

    model = tiny_model()
    whole = with_own_answers(place("whole")[0], model, *place("whole")[1:])
    generate, calls = clo.study.own_answers.generate, list[int]()

    def stopping(subject: Any, prompts: Any, longest: int, _: int, log: Any) -> Any:
        def add(answers: Any) -> None:
            log.__class__.add(log, answers)
            calls.append(len(answers))
            raise KeyboardInterrupt

        object.__setattr__(log, "add", add) if not calls else None
        return generate(subject, prompts, longest, 10, log=log)

    monkeypatch.setattr(clo.study.own_answers, "generate", stopping)
    session, splits, items = place("stopped")
    with pytest.raises(KeyboardInterrupt):
        with_own_answers(session, model, splits, items)
    assert calls and calls[0] < 6
    again = with_own_answers(session, model, splits, items)
    assert again.train == whole.train and again.val == whole.val and again.own == whole.own
    assert told(session) == told(place("whole")[0])


def files(place: Path) -> dict[str, bytes]:
    """The cache of own answers, what a run wrote of them, and its weights."""
    paths = [*place.glob("cache/own/*/*.jsonl"), *place.glob("outputs/runs/*/own_answers.jsonl")]
    paths += place.glob("outputs/runs/*/checkpoint/*.safetensors")
    return {str(path.relative_to(place)): path.read_bytes() for path in paths}


def test_killed_while_it_answers_a_run_ends_as_if_it_had_been_left_alone(
    warm: WarmRuns, tiny_folder: Path, tmp_path: Path
) -> None:
    def command(place: Path) -> list[str]:
        more = ("method.rejected=[translation,own]", "method.own_temperature=1", "evaluation.max_tokens=30")
        return tiny(tiny_folder, place, *more)

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert warm.run(command(whole), tmp_path).code == 0
    (killed / "cache").mkdir(parents=True)
    shutil.copytree(whole / "cache" / "start", killed / "cache" / "start")  # the first answers are own ones
    kill = {"at": "clo.evaluation.answer_log:AnswerLog.add", "call": 2}
    assert warm.run(command(killed), tmp_path, kill=kill).code != 0
    assert len(next(killed.glob("cache/own/*/*.jsonl")).read_text().splitlines()) == 1
    assert warm.run(command(killed), tmp_path).code == 0
    assert files(whole) == files(killed) and len(files(whole)) >= 3
    (results,) = (json.loads(path.read_text()) for path in killed.glob("outputs/runs/*/results.json"))
    facts = results["train"]["own_answers"]
    assert facts["train"]["asked"] == 16 and facts["held_out"]["asked"] == 6
    lines = next(killed.glob("outputs/runs/*/data.md")).read_text()
    assert "| the start model's own answers to prompts that are trained on | 16 |" in lines
    kept = sum(path.stat().st_mtime_ns for path in whole.glob("cache/own/*/*.jsonl"))
    assert warm.run([*command(whole), "seed=1"], tmp_path).code == 0  # another seed of the order: the same answers
    assert kept == sum(path.stat().st_mtime_ns for path in whole.glob("cache/own/*/*.jsonl"))
