"""Talking to a run: one prompt from a pipe or the command line, several in a terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from called import called, done, refused
from conftest import TEXTS
from warm_runs import WarmRuns, tiny

import clo.evaluation.generate
import clo.model.load
import clo.study.chat
from clo.study.chat import Spoken, open_chat, show

PROMPT = TEXTS[0][2]


def finished(warm: WarmRuns, model: Path, place: Path, *more: str) -> Path:
    ended = warm.run(tiny(model, place, *more), place)
    assert ended.code == 0, ended.err
    (path,) = (place / "outputs" / "runs").iterdir()
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, warm: WarmRuns, tiny_folder: Path) -> Path:
    return finished(warm, tiny_folder, tmp_path_factory.mktemp("chat"), "method.lr=0.05")


@pytest.fixture(scope="module")
def adapter_run(tmp_path_factory: pytest.TempPathFactory, warm: WarmRuns, tiny_folder: Path) -> Path:
    place = tmp_path_factory.mktemp("adapters")
    return finished(warm, tiny_folder, place, "tuning=attention_lora", "method.lr=0.2")


def typed(monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    """A terminal where these lines are typed, then Ctrl-D."""
    left: Iterator[str] = iter(lines)

    def answer(_: str) -> str:
        line = next(left, None)
        if line is None:
            raise EOFError
        return line

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", answer)


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def said_by(model: Any, both: Any) -> str:
    """The greedy answer of a model that was loaded on its own."""
    ids = [both.session.renderer.prompt_ids(PROMPT)]
    (said,) = clo.evaluation.generate.generate(both.session.subject(model), ids, both.max_new_tokens)
    return said.text


def test_the_two_answers_are_those_of_the_start_and_of_the_trained_model(run: Path) -> None:
    from clo.study.finished import finished_run, trained_config

    both = open_chat(run, 8)
    _, config = finished_run(run)
    start = clo.model.load.load_model(config.model)
    trained = clo.model.load.load_model(trained_config(config.model, run))
    answers = both.answers(PROMPT)
    assert [one.who for one in answers] == ["start model", "trained model"]
    assert [one.text for one in answers] == [said_by(start, both), said_by(trained, both)]
    assert answers[0].text != answers[1].text


def test_adapters_are_switched_off_for_the_start_model(adapter_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    load = clo.model.load.load_model
    monkeypatch.setattr(clo.model.load, "load_model", lambda config: loaded.append(config) or load(config))
    both = open_chat(adapter_run, 8)
    assert len(loaded) == 1 and both.start is None
    first, second = both.answers(PROMPT)
    assert first.text == said_by(load(loaded[0]), both)
    assert second.text == said_by(both.trained, both) != first.text


def test_one_prompt_of_the_command_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    done("chat", f"run={run}", f"prompt={PROMPT}", "max_new_tokens=4")
    said = capsys.readouterr().out
    assert said.count("start model") == 1 and said.count("trained model") == 1
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_one_prompt_of_a_pipe(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []
    answers = clo.study.chat.Chat.answers
    monkeypatch.setattr(clo.study.chat.Chat, "answers", lambda self, p: asked.append(p) or answers(self, p))
    pipe(monkeypatch, "케냐의 수도는\n어디입니까?\n".encode())
    done("chat", f"run={run}", "max_new_tokens=4")
    assert asked == ["케냐의 수도는\n어디입니까?"]
    assert "trained model" in capsys.readouterr().out


@pytest.mark.parametrize(("content", "said"), [(b" \n", "no prompt in the pipe"), (b"\xff\xfe", "not UTF-8")])
def test_a_pipe_without_a_prompt_is_refused_before_anything_is_loaded(
    content: bytes, said: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(clo.study.chat, "open_chat", None)
    pipe(monkeypatch, content)
    assert said in refused(["chat", f"run={run}"], capsys)


def test_a_folder_that_is_no_finished_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "not the folder of a finished run" in refused(["chat", f"run={tmp_path}", "prompt=Hello"], capsys)


@pytest.mark.parametrize("prompt", ["long " * 300, "half \udcff a letter"])
def test_a_prompt_that_cannot_be_answered(prompt: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "the prompt " in refused(["chat", f"run={run}", f"prompt={prompt}"], capsys)


def test_a_conversation_in_a_terminal(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A prompt that is too long ends nothing; Ctrl-D and an empty line end all, politely."""
    typed(monkeypatch, [PROMPT, "long " * 300, TEXTS[1][0]])
    done("chat", f"run={run}", "max_new_tokens=3")
    said = capsys.readouterr()
    assert said.out.count("trained model") == 2 and said.err.count("error: the prompt has") == 1
    typed(monkeypatch, ["", PROMPT])
    done("chat", f"run={run}", "max_new_tokens=3")
    assert "trained model" not in capsys.readouterr().out


def test_ctrl_c_is_a_sentence(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(*_: Any) -> str:
        raise KeyboardInterrupt

    typed(monkeypatch, [])
    monkeypatch.setattr("builtins.input", stop)
    assert called("chat", f"run={run}") == 130
    assert capsys.readouterr().err == "stopped; of a chat nothing is kept\n"


@pytest.mark.parametrize("width", [120, 40])
def test_answers_are_wrapped_text_in_columns_or_stacked(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = "[bold]one[/bold] \x1b[31mtwo " + "word " * 60
    show([Spoken("start model", "English", text), Spoken("trained model", "Swahili", "")])
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert "[bold]one[/bold]" in said and "\x1b" not in said and "(empty)" in said
    assert said.count("word") == 60 and max(map(len, lines)) <= width
    beside = [line for line in lines if "start model · English" in line and "trained model · Swahili" in line]
    assert len(beside) == (width == 120)
