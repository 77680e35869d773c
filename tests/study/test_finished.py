"""Finished stays finished: whatever happens to work on a finished run, it is done and its results are whole."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import TEXTS, tiny_model
from finished_runs import files, finished_run
from warm_runs import WarmRuns, tiny


@pytest.fixture(scope="module")
def finished(warm: WarmRuns, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(warm, tiny_folder, tmp_path_factory.mktemp("finished"))


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
