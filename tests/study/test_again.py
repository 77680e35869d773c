"""A finished run evaluated again: whole or as before, whatever ends it, and of what it says it is."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from finished_runs import files, finished_run
from warm_runs import WarmRuns, tiny

from clo.report.collect import collect
from clo.storage.run_folder import RunFolder


@pytest.fixture(scope="module")
def finished(warm: WarmRuns, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(warm, tiny_folder, tmp_path_factory.mktemp("finished"))


@pytest.fixture
def belebele(tmp_path: Path) -> list[str]:
    folder = tmp_path / "questions" / "belebele"
    folder.mkdir(parents=True)
    row = {"context": "p", "question": "Which?", "choices": ["a", "b", "c", "d"], "answer": 1}
    for lang in ("en", "sw"):
        lines = [json.dumps({**row, "id": str(k), "question": f"Which {k}?"}) for k in range(3)]
        (folder / f"{lang}.jsonl").write_text("\n".join(lines) + "\n")
    return ["evaluation.benchmarks.names=[belebele]", f"evaluation.benchmarks.data={folder.parent}"]


MOMENTS = {
    "loading": "clo.study.session:open_session",
    "answering": "clo.evaluation.decode:decode",
    "scoring": "clo.evaluation.evaluate:score_answers",
    "benchmarks": "clo.evaluation.benchmarks.run:score_choices",
    "start benchmarks": "clo.study.run_benchmarks:start_benchmark_scores",
    "writing": "clo.study.outcome:write_together",
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("how", ["killed", "stopped", "failed"])
def test_an_evaluation_that_ends_early_changes_nothing(
    moment: str, how: str, finished: Path, belebele: list[str], warm: WarmRuns, tmp_path: Path
) -> None:
    """The run is done and every file of it is as before; the same command then does the rest."""
    for kept in finished.glob("answers-*.partial.jsonl"):  # of the moment before: nothing would be left to answer
        kept.unlink()
    before = files(finished)
    again = [f"run={finished}", "evaluation.max_tokens=15", *belebele]
    if how == "killed":
        ended = warm.run(again, tmp_path, kill={"at": MOMENTS[moment], "call": 1}, command="evaluate")
        assert ended.code == -signal.SIGKILL
    elif how == "stopped":
        ended = warm.run(again, tmp_path, kill={"at": MOMENTS[moment], "call": 1, "by": "SIGINT"}, command="evaluate")
        assert ended.code == 130 and ended.err == "stopped; the run is as it was, the same command goes on\n"
    else:
        wrong = [again[0], *again[2:], "evaluation.benchmarks.limit=9", "evaluation.benchmarks.shots=99"]
        ended = warm.run(wrong, tmp_path, command="evaluate")
        assert ended.code == 1 and ended.err.startswith("error: ") and ended.err.count("\n") == 1
    after = files(finished)
    assert {name: after[name] for name in before} == before
    assert RunFolder(finished).state() == "done"
    assert not [name for name in after if name.endswith(".tmp")]


def test_a_stopped_evaluation_goes_on_from_what_it_has(
    finished: Path, belebele: list[str], warm: WarmRuns, tmp_path: Path
) -> None:
    """Answers of whole batches are not generated again, and the end is what it would have been."""
    again = [f"run={finished}", "evaluation.max_tokens=15", *belebele]
    assert warm.run(again, tmp_path, command="evaluate").code == 0
    wanted = files(finished)
    third = {"at": "clo.evaluation.decode:decode", "call": 3}
    assert warm.run(again, tmp_path, kill=third, command="evaluate").code == -signal.SIGKILL
    (log,) = finished.glob("answers-*.partial.jsonl")
    kept = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(kept) == 2
    with log.open("a") as file:
        file.write('{"key": "torn')
    batches = sum(1 for _ in batches_of(finished))
    last = {"at": "clo.evaluation.decode:decode", "call": batches - 1}
    ended = warm.run(again, tmp_path, kill=last, command="evaluate")
    assert ended.code == 0, "two batches were kept, so there are two calls fewer"
    assert files(finished) == wanted


def batches_of(run: Path) -> list[Any]:
    """The batches that are kept together under 15 tokens: every one of them has one prompt."""
    return (run / "samples.jsonl").read_text().splitlines()


def test_other_prompts_are_asked_of_both_models(
    finished: Path, belebele: list[str], warm: WarmRuns, tmp_path: Path
) -> None:
    """A change is of equal answers, then as before; the results say which, and a report goes by it."""
    run = shutil.copytree(finished, tmp_path / "outputs" / "runs" / finished.name)

    def evaluated(*words: str) -> dict[str, Any]:
        ended = warm.run([f"run={run}", *words], tmp_path, command="evaluate")
        assert ended.code == 0, ended.err
        found: dict[str, Any] = json.loads((run / "results.json").read_text())
        return found

    def asked(name: str) -> list[tuple[str, str]]:
        return [(line["side"], line["id"]) for line in map(json.loads, (run / name).read_text().splitlines())]

    first, ids = evaluated(), asked("samples.jsonl")
    assert "asked" not in first
    other = evaluated("evaluation.rows=3", "evaluation.split=dev", "evaluation.max_new_tokens=2")
    wanted = {"evaluation.split": "dev", "evaluation.rows": "3", "evaluation.max_new_tokens": "2"}
    assert other["asked"] == wanted and other["split"] == "dev"
    assert asked("samples.jsonl") == asked("start_samples.jsonl") and len(asked("samples.jsonl")) == 6
    assert not set(asked("samples.jsonl")) & set(ids)
    for when in ("start", "scores"):
        assert other[when]["en"]["all"]["n"] == 3 and other[when] != first[when]
    assert (
        other["scores"]["en"]["all"]["kl"] != first["scores"]["en"]["all"]["kl"] and other["square"] == first["square"]
    )
    (told,) = collect("runs", tmp_path / "outputs").runs
    assert {key: told.config[key] for key in wanted} == wanted
    beside = evaluated(*belebele)
    assert beside["asked"] == wanted and beside["scores"] == other["scores"] and beside["benchmarks"]
    last = evaluated()
    assert "asked" not in last and (last["scores"], last["start"]) == (first["scores"], first["start"])
    assert asked("samples.jsonl") == ids


def test_benchmark_rows_that_changed_are_said(
    belebele: list[str], warm: WarmRuns, tiny_folder: Path, tmp_path: Path
) -> None:
    words = tiny(tiny_folder, tmp_path, *belebele)
    assert warm.run(words, tmp_path).code == 0
    (run,) = tmp_path.glob("outputs/runs/*")
    again = [f"run={run}", *belebele]
    assert "changed" not in warm.run(again, tmp_path, command="evaluate").out
    first, side = json.loads((run / "results.json").read_text()), run / "benchmarks" / "belebele-target.json"
    asked = side.read_text()
    path = tmp_path / "questions" / "belebele" / "sw.jsonl"
    path.write_text(path.read_text().replace("Which", "Why"))
    ended = warm.run(words, tmp_path)
    assert ended.code == 1 and f"evaluation.benchmarks.data/belebele changed after {run} was made" in ended.err
    ended = warm.run(again, tmp_path, command="evaluate")
    assert ended.code == 0 and f"evaluation.benchmarks.data/belebele changed since {run} was asked" in ended.out
    second = json.loads((run / "results.json").read_text())
    assert (
        first["content"]["files"] != second["content"]["files"]
        and first["content"]["rows"] == second["content"]["rows"]
    )
    assert json.loads(asked)["keys"] != json.loads(side.read_text())["keys"]
    assert "changed" not in warm.run(again, tmp_path, command="evaluate").out
    assert warm.run(words, tmp_path).code == 0
