"""Poor data from outside: too few, cut, rejected or copied rows end in a sentence with counts, never in silence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from called import called, refused
from conftest import TEXTS
from servers import completion, serving
from stand_ins import Swahili
from warm_runs import WarmRuns, tiny

ENGLISH = [
    {"instruction": f"Please tell me about animal {k}.", "output": f"The animal {k} is a cat."} for k in range(40)
]


@pytest.fixture
def english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Words of a translation of 40 examples into ``cache``."""
    (tmp_path / "english.jsonl").write_text("".join(json.dumps(line) + "\n" for line in ENGLISH))
    monkeypatch.setenv("OPENAI_API_KEY", "none")

    def words(*more: str) -> list[str]:
        source = ["data=table", f"data.source.path={tmp_path}/english.jsonl", "lang=sw", "data.held_out=4"]
        return [*source, f"cache_dir={tmp_path}/cache", *more]

    return words


def chat(url: str) -> list[str]:
    return ["data.translation.engine=chat", "data.translation.model=m", f"data.translation.base_url={url}"]


def test_fewer_rows_than_asked(
    english: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("clo.translate.engines.load_engine", lambda *_: Swahili())
    said = refused(["translate", *english("data_size=4000")], capsys)
    assert "has 40 rows, fewer than the 4,008 of data_size=4000 and twice data.held_out=4" in said
    assert "there are no more examples in the source; lower data_size to at most 32, or bring more examples" in said
    (rows,) = (tmp_path / "cache" / "translations").rglob("sw.jsonl")
    assert len(rows.read_text().splitlines()) == 40
    assert called("translate", *english("data_size=32")) == 0
    assert "data_size=33" in refused(["translate", "-m", *english("data_size=32,33")], capsys)
    said = refused(["train", *english("data_size=33")], capsys)
    assert "data_size=33 is beyond the 32 training rows of data=table for sw" in said


def test_no_sentence_is_a_translation(english: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Copies and replies that the server cut: counted by reason, and no row is made of them."""

    def answer(server: Any, request: dict[str, Any], number: int) -> Any:
        text = request["messages"][-1]["content"]
        if "cat" not in text:
            return text
        whole = json.loads(completion("Mnyama ni"))
        whole["choices"][0]["finish_reason"] = "length"
        return 200, {}, json.dumps(whole).encode()

    with serving(answer) as server:
        words = ["translate", *english(*chat(server.url), "data_size=20")]
        said = refused(words, capsys)
        assert "error: 0 of 40 examples are left after the translation (40 " in said, said
        assert "sw.dropped.jsonl names every example with its fault" in said


def rows(path: Path, copies: int) -> Path:
    lines = []
    for k in range(40):
        a, b, c, d = TEXTS[k % len(TEXTS)]
        if k < copies:
            c, d = a, b
        lines.append({"id": f"r{k}", "prompt_en": f"{a} {k}", "response_en": f"{b} {k}", "lang": "sw"})
        lines[-1] |= {"prompt": f"{c} {k}", "response": f"{d} {k}"}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_copies_are_refused_or_said(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    data = ["data=files", f"data.train={rows(tmp_path / 'rows.jsonl', 4)}", "data.held_out=5"]
    words = tiny(tiny_folder, tmp_path, *data)
    what = (
        "rows.jsonl: 4 of 40 rows have the same prompt and response in en and sw (line 1 (id 'r0'), line 2 (id 'r1'),"
    )
    for command in ("train", "plan"):
        ended = warm.run(words, tmp_path, command=command)
        assert ended.code == 1 and what in ended.err and "or set data.poor_rows=say if they are meant" in ended.err
        ended = warm.run([*words, "data.poor_rows=say"], tmp_path, command=command)
        assert ended.code == 0 and what in ended.out, ended.err
    assert "evaluation.rows=6 is beyond the 5 rows of test; all of them are used" in warm.run(
        [*words, "data.poor_rows=say", "seed=1"], tmp_path
    ).out  # fmt: skip
    shutil.rmtree(next(tmp_path.glob("outputs/runs/*-s1-*")))
    (results,) = tmp_path.glob("outputs/runs/*/results.json")  # saying is no part of what is computed
    (poor,) = json.loads(results.read_text())["train"]["poor_rows"]
    assert (poor["rows"], poor["of"], len(poor["first"])) == (4, 40, 3)
    ended = warm.run(["data.poor_rows=say"], tmp_path)
    assert ended.code == 1 and "data.poor_rows has no effect here: it is read with data=files, oasst" in ended.err


def test_questions_of_the_test_file_do_not_count_as_training_rows(
    warm: WarmRuns, tiny_folder: Path, tmp_path: Path
) -> None:
    train = rows(tmp_path / "rows.jsonl", 0)
    test = [json.loads(line) | {"id": f"t{k}"} for k, line in enumerate(train.read_text().splitlines()[:10])]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in test))
    words = ["data=files", f"data.train={train}", f"data.test={tmp_path}/test.jsonl", "data.held_out=5", "data_size=30"]
    ended = warm.run([*tiny(tiny_folder, tmp_path, *words), "plan=true"], tmp_path)
    assert ended.code == 1 and "training rows of data=files for sw (" in ended.err
    assert "rows are left out of train: their prompt stands in dev or test too (line" in ended.err
