"""The command line: quick answers, and what a finished run's folder is good for."""

from __future__ import annotations

import json
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from called import called
from warm_runs import TRAIN, Ended, WarmRuns, cold, tiny

from clo.commands.cli import NAMES
from clo.commands.options import described, dotted, option, read
from clo.errors import UserError

METHODS = ("sft", "sft_en", "sft_target", "sft_dpo", "sft_dpo_pairs", "clo", "clo_en_nll", "crpo")


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["method.betta=1"]])
def test_answers_before_anything_heavy_is_imported(arguments: list[str], tmp_path: Path, record_property: Any) -> None:
    began = time.monotonic()
    ended = cold([TRAIN, *arguments], tmp_path)
    seconds = time.monotonic() - began
    record_property("seconds", seconds)
    assert seconds < 6, f"{arguments} took {seconds:.1f} s; 2 s is the aim"
    assert not list(tmp_path.iterdir())
    if arguments == ["--help"]:
        assert ended.code == 0
        assert all(method in ended.out for method in METHODS)
        assert "data_size=3200,6400" in ended.out and "study=data_efficiency" in ended.out
    elif arguments == ["--cfg", "job"]:
        assert ended.code == 0
        assert "data_size: 400" in ended.out and "hydra:" not in ended.out
    else:
        assert ended.code == 1 and ended.out == ""
        assert ended.err == (
            "error: Could not override 'method.betta'; Key 'betta' not in 'MethodConfig'; "
            "`python train.py --cfg job` lists the keys there are\n"
        )


@pytest.mark.parametrize("command", NAMES)
def test_every_command_explains_itself_at_once(command: str, tmp_path: Path) -> None:
    """What it reads and writes, an example; a wrong word is one sentence; both before anything heavy is imported."""
    began = time.monotonic()
    ended = cold(["-m", "clo", command, "--help"], tmp_path)
    assert ended.code == 0 and all(f"{word}  " in ended.out for word in ("Reads", "Writes"))
    assert f"clo {command} " in ended.out
    wrong = cold(["-m", "clo", command, "nonsense=1"], tmp_path)
    assert wrong.code == 1 and "Traceback" not in wrong.err
    assert wrong.err.startswith("error: ") and wrong.err.count("\n") == 1 and "nonsense" in wrong.err
    assert time.monotonic() - began < 8, "2 s each is the aim"
    assert not list(tmp_path.iterdir())


def test_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert called("--help") == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in NAMES)
    assert called() == 1 and called("--version") == 0
    assert called("evalute", "run=x") == 1
    assert "did you mean `clo evaluate`?" in capsys.readouterr().err


@dataclass(frozen=True)
class Example:
    """Every type that an option may have."""

    run: Path = option("a place", shape="<folder>")
    count: int = option("how many", 3, least=2)
    share: float | None = option("how much", None)
    word: Literal["a", "b"] | None = option("which", None)
    words: tuple[Literal["x", "y"], ...] = option("which ones", ("x",))
    sure: bool = option("whether", False)
    more: tuple[str, ...] = dotted("more.", "others")


def test_words_become_options_of_their_types() -> None:
    assert read(Example, ["run=a"], "example") == Example(Path("a"))
    given = ["run=a=b", "count=2", "share=.5", "word=b", "words=y, x", "sure=true", "more.k=1", "more.l=2"]
    assert read(Example, given, "example") == Example(
        Path("a=b"), 2, 0.5, "b", ("y", "x"), True, ("more.k=1", "more.l=2")
    )
    lines = described(Example)
    assert any("count=<n>" in line and "(default: 3)" in line for line in lines)
    assert any("more.<key>=<value>" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "run=<folder> is missing; `clo example --help` tells more"),
        (["run"], "unknown argument 'run'; known are run=, count="),
        (["run=a", "api_key=sk-1"], "unknown argument 'api_key'; known"),
        (["run="], "run= is empty; give run=<folder>"),
        (["run=a", "count=1"], "count=1 is not a whole number of at least 2"),
        (["run=a", "count=½"], "count=½ is not a whole number"),
        (["run=a", "share=nan"], "share=nan is not a number above 0"),
        (["run=a", "word=c"], "word=c must be one of a, b"),
        (["run=a", "words=x,z"], "words=z must be one of x, y"),
        (["run=a", "sure=yes"], "sure=yes must be true or false"),
        (["run=a", "more=1"], "unknown argument 'more'"),
    ],
)
def test_wrong_words(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        read(Example, words, "example")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table_row(ended: Ended) -> list[str]:
    (line,) = (line for line in ended.out.splitlines() if line.startswith("│"))
    return [cell.strip() for cell in line.split("│")[1:-1]]


def test_a_finished_run_is_shown_and_not_trained_again(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    command = tiny(tiny_folder, tmp_path)
    first = warm.run(command, tmp_path)
    assert first.code == 0, first.err
    (run,) = tmp_path.glob("outputs/runs/*")
    before = files(tmp_path / "outputs")
    trained = {"at": "clo.study.run:train", "call": 1}
    again = warm.run(command, tmp_path, kill=trained)
    assert again.code == 0 and again.out.startswith(f"{run} is done already; delete it to run again\n")
    assert table_row(again) == table_row(first)
    assert files(tmp_path / "outputs") == before
    (run / "results.json").unlink()  # what a run is for is gone: it is not done, though it says so
    assert warm.run(command, tmp_path, kill=trained).code == -signal.SIGKILL
    assert warm.run(command, tmp_path).code == 0
    after = files(tmp_path / "outputs")
    name = str((run / "results.json").relative_to(tmp_path / "outputs"))
    old, new = json.loads(before[name]), json.loads(after[name])
    for results in (old, new):
        results["train"].pop("seconds")
    assert new == old


def test_a_finished_run_is_evaluated_again_and_compared(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    assert warm.run(tiny(tiny_folder, tmp_path), tmp_path).code == 0
    (run,) = tmp_path.glob("outputs/runs/*")
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    (run / "samples.jsonl").write_text("")
    ended = warm.run([f"run={run}", "max_tokens=100"], tmp_path, command="evaluate")
    assert ended.code == 0, ended.err
    after = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    for name in ("samples.jsonl", "config.yaml", "metrics.jsonl", "start_samples.jsonl"):
        assert after[name] == before[name], name
    assert json.loads(after["results.json"]) == json.loads(before["results.json"])
    ended = warm.run([f"run={run}", f"against={run}"], tmp_path, command="evaluate")
    assert ended.code == 0 and ended.out.count(" 0.500 to 0.500 ") == 2  # against itself: all ties


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run=nowhere"], "run=nowhere does not exist; give a finished run's folder"),
        (["run=nowhere", "against=nowhere"], "nowhere"),
        (["against=nowhere"], "run=<folder> is missing"),
        (["run=a", "max_tokens=many"], "max_tokens=many is not a whole number"),
    ],
)
def test_wrong_arguments_of_evaluate(warm: WarmRuns, arguments: list[str], said: str, tmp_path: Path) -> None:
    ended = warm.run(arguments, tmp_path, command="evaluate")
    assert ended.code == 1 and ended.err.startswith("error: ") and ended.err.count("\n") == 1, ended.err
    assert said in ended.err
