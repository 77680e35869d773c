"""Open prompts answered by a run, and judged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from called import called, done, program
from called import refused as refused_by
from servers import completion, serving
from warm_runs import WarmRuns, tiny

import clo.evaluation.generate
import clo.study.answers

PROMPTS = [{"id": f"p{k}", "prompt": f"Tell me about animal {k}.", "dataset": "made", "lang": "en"} for k in range(5)]
PROMPTS += [{"id": f"q{k}", "instruction": f"Niambie kuhusu mnyama {k}.", "lang": "sw"} for k in range(4)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, warm: WarmRuns, tiny_folder: Path) -> Path:
    place = tmp_path_factory.mktemp("answered")
    ended = warm.run(tiny(tiny_folder, place), place)
    assert ended.code == 0, ended.err
    (path,) = (place / "outputs" / "runs").iterdir()
    return path


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "open.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in PROMPTS))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_answers_of_the_trained_and_the_start_model(
    run: Path, prompts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done("answer", f"run={run}", f"prompts={prompts}", "max_new_tokens=6")
    found = lines(run / "answers-open.jsonl")
    assert [(x["id"], x["side"], x["group"]) for x in found] == [
        *((f"p{k}", "en", "made") for k in range(5)),
        *((f"q{k}", "target", "") for k in range(4)),
    ]
    assert all({"answer", "verdict", "right_lines", "intrusion"} <= set(x) for x in found)
    said = capsys.readouterr().out
    assert "target language: 4 answers" in said and "English: 5 answers" in said
    done("answer", f"run={run}", f"prompts={prompts}", "max_new_tokens=6", "start=true", "limit=2")
    assert len(lines(run / "answers-open-start.jsonl")) == 2


def test_a_stopped_command_goes_on(
    run: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed after the second of five parts, with a torn line behind it: the same answers, none asked twice."""
    monkeypatch.setattr(clo.study.answers, "CHUNK", 2)
    done("answer", f"run={run}", f"prompts={prompts}", "max_new_tokens=6", "name=whole")
    generate, asked = clo.evaluation.generate.generate, []

    def until(last: int) -> Callable[..., list[str]]:
        def stopped(subject: Any, ids: Any, *more: Any) -> list[str]:
            asked.append(len(ids))
            if len(asked) > last:
                raise KeyboardInterrupt
            return generate(subject, ids, *more)

        return stopped

    monkeypatch.setattr(clo.evaluation.generate, "generate", until(2))
    assert called("answer", f"run={run}", f"prompts={prompts}", "max_new_tokens=6", "name=parts") == 130
    path = run / "answers-parts.jsonl"
    with path.open("a") as file:
        file.write('{"id": "p4", "answ')
    asked.clear()
    monkeypatch.setattr(clo.evaluation.generate, "generate", until(99))
    done("answer", f"run={run}", f"prompts={prompts}", "max_new_tokens=6", "name=parts")
    assert asked == [2, 2, 1] and lines(path) == lines(run / "answers-whole.jsonl")
    asked.clear()
    done("answer", f"run={run}", f"prompts={prompts}", "max_new_tokens=6", "name=parts")
    assert asked == []


def test_real_instructions(run: Path, shared_data: Path) -> None:
    file = shared_data / "eval" / "alpaca_eval" / "en.jsonl"
    done("answer", f"run={run}", f"prompts={file}", "lang=en", "limit=4", "max_new_tokens=3", "name=alpaca")
    assert [x["side"] for x in lines(run / "answers-alpaca.jsonl")] == ["en"] * 4


def test_what_is_refused(run: Path, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*words: str) -> str:
        return refused_by(["answer", *words], capsys)

    asked = (f"run={run}", f"prompts={prompts}")
    assert "not the folder of a finished run" in refused(f"run={tmp_path}", asked[1])
    assert "prompts=<file> is missing" in refused(asked[0])
    assert "unknown argument 'prompt'" in refused("prompt=x")
    assert "not a whole number of at least 1" in refused(*asked, "limit=0")
    assert "a server needs both" in refused(*asked, "model=x")
    server = ("model=x", "base_url=http://127.0.0.1:9")
    assert "max_tokens= has no effect with base_url=" in refused(*asked, *server, "max_tokens=9")
    bad = tmp_path / "bad.jsonl"
    for line, said in (
        ('{"text": "x"}', "line 1: the field 'prompt' (or 'instruction') is missing"),
        ('{"prompt": "x"}', "its language is None, the run knows sw or en"),
        ('{"prompt": "x", "lang": "ko"}', "its language is 'ko'"),
        ('{"prompt": "x", "lang": "en", "id": 1}\n{"prompt": "y", "lang": "en", "id": 1}', "id '1' comes twice"),
        ("", "holds no prompts"),
    ):
        bad.write_text(line + "\n")
        assert said in refused(asked[0], f"prompts={bad}")
    done("answer", *asked, "max_new_tokens=6", "name=kept")
    assert "was made with other settings" in refused(*asked, "max_new_tokens=7", "name=kept")
    bad.write_text("".join(json.dumps({**line, "id": f"x{k}"}) + "\n" for k, line in enumerate(PROMPTS)))
    assert "answers other prompts" in refused(asked[0], f"prompts={bad}", "max_new_tokens=6", "name=kept")


def test_a_server_generates(
    run: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def echo(_: Any, request: dict[str, Any], __: int) -> Any:
        said = f"You said: {request['messages'][0]['content']}"
        return (200, {}, completion(said, "length")) if "animal 1." in said else said

    with serving(echo) as server:
        done("answer", f"run={run}", f"prompts={prompts}", "name=served", f"base_url={server.url}", "model=mine")
        assert {r["max_tokens"] for r in server.requests} == {512} and len(server.requests) == 9
        assert ", 1 cut by the server (raise max_new_tokens=)" in capsys.readouterr().out
        asked = ["answer", f"run={run}", f"prompts={prompts}", "name=served", f"base_url={server.url}", "model=other"]
        assert "answers-served.jsonl was made with other settings" in refused_by(asked, capsys)
    found = lines(run / "answers-served.jsonl")
    assert found[0]["answer"] == "You said: Tell me about animal 0." and found[0]["verdict"] == "en"
    assert [line.get("cut", False) for line in found] == [k == 1 for k in range(9)]


def test_answers_are_judged(run: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    other = tmp_path / "other"
    shutil.copytree(run, other)
    for folder, words in ((run, "long answer of many words"), (other, "short")):
        facts = [{**line, "answer": f"{words} {line['id']}"} for line in lines_of_prompts()]
        (folder / "answers-mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in facts))

    def longest(_: Any, request: dict[str, Any], __: int) -> str:
        text = request["messages"][0]["content"]
        first, second = text.find("long answer"), text.find("short")
        return ("A" if 0 <= first < second else "B") if "<answer_A>" in text else "yes"

    with serving(longest) as server:
        done("judge", "answers=mine", f"run={run}", f"against={other}", "model=j", f"base_url={server.url}",
             f"cache_dir={tmp_path}/cache")  # fmt: skip
    result = json.loads((run / "judge-other-mine.json").read_text())
    assert json.loads((run / "results.json").read_text())["judged"] == {"other-mine": result}
    assert {side: found["n"] for side, found in result["sides"].items()} == {"target": 4, "en": 5}
    assert all(found["win_rate"] == 1.0 for found in result["sides"].values())
    done("judge", f"run={run}", "answers=mine", f"export={tmp_path}/out.json", "side=en")
    assert {item["dataset"] for item in json.loads((tmp_path / "out.json").read_text())} == {"made"}
    with pytest.raises(SystemExit, match="does not exist; make it with"):
        program("judge")([f"run={run}", "answers=none", f"export={tmp_path}/out.json"])


def lines_of_prompts() -> list[dict[str, Any]]:
    return [
        {
            "id": line["id"], "side": "en" if line["lang"] == "en" else "target", "group": line.get("dataset", ""),
            "prompt": line.get("prompt") or line.get("instruction"),
        }
        for line in PROMPTS
    ]  # fmt: skip
