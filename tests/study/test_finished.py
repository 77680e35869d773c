"""Finished stays finished: whatever happens to work on a finished run, it is done and its results are whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import TEXTS, tiny_model
from warm_runs import WarmRuns, tiny

from clo.report.collect import collect
from clo.storage.run_folder import RunFolder


@pytest.fixture(scope="module")
def finished(warm: WarmRuns, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("finished")
    ended = warm.run(tiny(tiny_folder, place), place)
    assert ended.code == 0, ended.err
    (run,) = (place / "outputs" / "runs").iterdir()
    return run


def files(run: Path) -> dict[str, bytes]:
    kept = {path for path in run.rglob("*") if path.is_file() and not path.name.startswith(".lock")}
    return {str(path.relative_to(run)): path.read_bytes() for path in kept}


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


@pytest.mark.parametrize(
    "more", [[], ["tuning=attention_lora", "method=sft_dpo"]], ids=["weights", "adapters, two stages"]
)
def test_a_deleted_model_is_made_again(more: list[str], warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    words = tiny(tiny_folder, tmp_path, *more)
    assert warm.run(words, tmp_path).code == 0
    (run,) = tmp_path.glob("outputs/runs/*")
    before = files(run)
    shutil.rmtree(run / "model")
    ended = warm.run([f"run={run}", f"to={tmp_path}/served"], tmp_path, command="export")
    assert ended.code == 1
    assert ended.err == f"error: {run}/model is missing; the run's command makes it again from its checkpoint\n"
    ended = warm.run(words, tmp_path)
    assert ended.code == 0, ended.err
    assert f"{run} is done already" in ended.out and f"{run}/model was missing; it is made again from" in ended.out
    assert files(run) == before
    shutil.rmtree(run / "model")
    shutil.rmtree(run / "checkpoint")
    ended = warm.run(words, tmp_path)
    assert ended.code == 1 and "is done already" in ended.out and ended.err.count("\n") == 1
    assert f"{run}/model is missing, and so are the weights in {run}/checkpoint; bring it back, or delete" in ended.err


def test_names_that_lead_out_of_the_folder_are_refused(finished: Path, warm: WarmRuns, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "x", "lang": "en"}\n')
    for name in ("/../../../X", "a/b", "..", ".hidden", ""):
        ended = warm.run([f"run={finished}", f"prompts={tmp_path}/p.jsonl", f"name={name}"], tmp_path, command="answer")
        assert ended.code == 1 and ended.err.startswith("error: name=") and ended.err.count("\n") == 1, ended.err
    assert not list(finished.parent.parent.parent.glob("*X*"))


def test_files_obey_the_umask(finished: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    for path in finished.rglob("*"):
        if path.is_file() and not path.name.startswith(".lock"):
            assert path.stat().st_mode & 0o777 == 0o666 & ~mask, path


ROWS = [
    {"id": f"{lap}.{k}", "lang": lang, "prompt": f"{prompt} {lap}", "response": response}
    for lap in range(5)
    for k, (a, b, c, d) in enumerate(TEXTS)
    for lang, prompt, response in (("en", a, b), ("sw", c, d))
]


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_other_rows_under_the_same_path_are_another_run(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    """Finished: the old result is not shown as theirs. Broken: they are not mixed. Unused rows may change."""
    files = ["data=files", f"data.train={tmp_path}/rows.jsonl", "data.held_out=5"]
    command = tiny(tiny_folder, tmp_path, *files)
    write_rows(tmp_path / "rows.jsonl", ROWS)
    killed = {"at": "clo.training.module:CLOModule.training_step", "call": 6}
    assert warm.run([*command, "trainer.checkpoints=4"], tmp_path, kill=killed).code < 0
    changed = [{**row, "response": row["response"] + " Yes."} for row in ROWS]
    write_rows(tmp_path / "rows.jsonl", changed)
    ended = warm.run(command, tmp_path)
    assert ended.code == 1 and "rows for train and rows for dev and rows for test changed after" in ended.err
    write_rows(tmp_path / "rows.jsonl", ROWS)
    assert warm.run(command, tmp_path).code == 0
    (run,) = tmp_path.glob("outputs/runs/*")
    content = json.loads((run / "results.json").read_text())["content"]
    assert set(content["files"]) == {"data.train", "model.path"} and set(content["rows"]) == {"train", "dev", "test"}
    write_rows(tmp_path / "rows.jsonl", changed)
    ended = warm.run(command, tmp_path)
    assert ended.code == 1 and ended.err.startswith(
        f"error: data.train changed after {run} was made; that folder keeps"
    )
    write_rows(tmp_path / "rows.jsonl", [*ROWS[:-2], *changed[-2:]])  # the last example: held out, or beyond data_size
    used = warm.run(command, tmp_path)
    rest = {row["id"] for row in ROWS} - {row["id"] for row in ROWS[:-2]}
    assert (used.code == 0) == (not rest & used_ids(run)), used.err


def used_ids(run: Path) -> set[str]:
    """Ids of the rows that a run trained on (the first 16 that are not held out), watched or was tested on."""
    from clo.data.splits import load_splits
    from clo.study.finished import recorded

    config = recorded(run)
    rows = load_splits(config.data, "en", "sw")
    return {row.id for row in [*rows.train[:16], *rows.dev[:6], *rows.test[:6]]}


def test_work_on_a_finished_run_never_mixes_contents(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    """Other test rows, another start model under an adapter: refused. Rows that are gone do not undo a result."""
    model = shutil.copytree(tiny_folder, tmp_path / "model")
    data = ["data=files", f"data.train={tmp_path}/rows.jsonl", "data.held_out=5", "tuning=attention_lora"]
    write_rows(tmp_path / "rows.jsonl", ROWS)
    words = tiny(model, tmp_path, *data)
    assert warm.run(words, tmp_path).code == 0
    (run,) = tmp_path.glob("outputs/runs/*")
    before = files(run)
    write_rows(tmp_path / "rows.jsonl", [{**row, "response": row["response"] + " Yes."} for row in ROWS])
    ended = warm.run([f"run={run}"], tmp_path, command="evaluate")
    assert ended.err.startswith(f"error: data.train changed after {run} was made; what is asked now would mix both: ")
    (tmp_path / "rows.jsonl").unlink()
    ended = warm.run(words, tmp_path)
    assert ended.code == 0 and "is done already" in ended.out, ended.err
    tiny_model(seed=1).save_pretrained(model)
    (tmp_path / "p.jsonl").write_text('{"prompt": "x", "lang": "en"}\n')
    for command, more in (
        ("export", f"to={tmp_path}/x"),
        ("answer", f"prompts={tmp_path}/p.jsonl"),
        ("chat", "prompt=x"),
    ):
        ended = warm.run([f"run={run}", more], tmp_path, command=command)
        assert ended.code == 1 and ended.err.startswith(f"error: model.path changed after {run} was made"), ended.err
    assert {name: text for name, text in files(run).items() if not name.startswith("answers-p")} == before


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


def test_a_failure_before_training_binds_to_nothing(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    files = ["data=files", f"data.train={tmp_path}/rows.jsonl", "data.held_out=5"]
    write_rows(tmp_path / "rows.jsonl", ROWS)
    assert warm.run(tiny(tiny_folder, tmp_path, *files, "tuning.layers=[5,6]"), tmp_path).code == 1
    write_rows(tmp_path / "rows.jsonl", [{**row, "response": row["response"] + " Yes."} for row in ROWS])
    ended = warm.run(tiny(tiny_folder, tmp_path, *files, "tuning.layers=[5,6]"), tmp_path)
    assert "is not a range within this model's layers" in ended.err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("results.json", '{"lang": "sw", "meth'),
        ("results.json", "[1]"),
        ("results.json", "{}"),
        ("config.yaml", "a: [b"),
        ("config.yaml", "- a"),
        ("config.yaml", "seed: many"),
        ("config.yaml", "seed: ${nothing}"),
        ("config.yaml", "seed: -1"),
        ("config.yaml", "unknown: 1"),
        ("config.yaml", "seed: !!python/object/apply:os.mkdir [made]"),
    ],
)
def test_a_spoilt_file_of_a_finished_run(name: str, text: str, finished: Path, warm: WarmRuns, tmp_path: Path) -> None:
    """Every command that reads it names the file and how to mend it, and changes nothing."""
    whole = (finished / name).read_bytes()
    (finished / name).write_text(text)
    before = files(finished)
    (tmp_path / "p.jsonl").write_text('{"prompt": "x", "lang": "en"}\n')
    commands = [("evaluate", [f"run={finished}"])]
    if name == "config.yaml":
        commands += [("export", [f"run={finished}", f"to={tmp_path}/x"])]
        commands += [("answer", [f"run={finished}", f"prompts={tmp_path}/p.jsonl"])]
    try:
        for command, words in commands:
            ended = warm.run(words, tmp_path, command=command)
            assert ended.code == 1 and ended.err.count("\n") == 1, ended.err
            assert ended.err.startswith(f"error: cannot read {finished / name} (")
            assert ended.err.endswith("delete the run's status.json: the run's command then makes it again\n")
            assert files(finished) == before
        assert not (tmp_path / "x").exists() and not (tmp_path / "made").exists()
    finally:
        (finished / name).write_bytes(whole)


def test_changes_that_do_not_fit_are_not_blamed_on_the_file(finished: Path, warm: WarmRuns, tmp_path: Path) -> None:
    for change in ("evaluation.no_such=1", "evaluation.max_tokens.x=1", "evaluation.max_tokens=[", "seed.x=1"):
        ended = warm.run([f"run={finished}", change], tmp_path, command="evaluate")
        assert ended.code == 1 and ended.err.startswith("error: ") and ended.err.count("\n") == 1, ended.err
        assert "config.yaml" not in ended.err
