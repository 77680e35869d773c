"""Whole runs of mixtures: embedded tasks, and rows of files that are not parallel."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from called import done, refused
from composed import run_of
from warm_runs import WarmRuns, tiny

from clo.errors import UserError
from clo.study.mixture import mixture_splits

WORDS = (
    *("lang=[sw,ko]", "data=tasks", "mixture.name=mine", "mixture.seen=[sw]", "mixture.source=4", "mixture.others=3"),
    *("method.steps=2", "batch_size=4", "evaluation.rows=2", "evaluation.val_items=3", "evaluation.watch=0"),
    *("evaluation.max_new_tokens=6", "model.oracle=null", "model.max_length=250"),
)
SENTENCES = {
    "en": "The river is {k} kilometres long.",
    "sw": "Mto huu una urefu wa kilomita {k}.",
    "ko": "이 강의 길이는 {k}킬로미터입니다.",
}


def write_task(folder: Path) -> None:
    """Questions in each language that no other language has."""
    for n, (code, sentence) in enumerate(SENTENCES.items()):
        for m, split in enumerate(("train", "dev", "test")):
            numbers = range(1000 * n + 100 * m, 1000 * n + 100 * m + 8)
            rows = [{"prompt": f"{sentence.format(k=k)} ?", "response": sentence.format(k=k)} for k in numbers]
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (folder / f"{code}.{split}.jsonl").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, warm: WarmRuns, tiny_folder: Path) -> dict[str, Path]:
    """The folders of three runs: two of embedded tasks, and one of rivers from files."""
    place = tmp_path_factory.mktemp("mixtures")
    write_task(place)
    (place / "conf" / "task").mkdir(parents=True)
    columns = "metric: number\nkind: table\nlicence: mine\nlanguages: {en: en, sw: sw, ko: ko}\n"
    told = f"# @package tasks.rivers\nname: rivers\n{columns}path: '{place}/{{lang}}.{{split}}.jsonl'\n"
    (place / "conf" / "task" / "rivers.yaml").write_text(told, encoding="utf-8")
    ways = {
        "sft": ("mixture.tasks=[maths,facts]", "method=sft"),
        "clo": ("mixture.tasks=[maths]", "method=clo", "data.targets=apart"),
        "files": (f"--config-dir={place}/conf", "task=[rivers]", "mixture.tasks=[rivers]", "method=sft"),
    }
    found = {}
    for name, words in ways.items():
        said = tiny(tiny_folder, place, *WORDS, *words, f"study_name={name}")
        said = [word for word in said if not word.startswith("data_size=")]
        ended = warm.run(sorted(said, key=lambda word: not word.startswith("--")), place)
        assert ended.code == 0, ended.err
        (found[name],) = (place / "outputs" / name).glob("*/results.json")
    return {name: path.parent for name, path in found.items()}


def read(run: Path, name: str) -> Any:
    text = (run / name).read_text(encoding="utf-8")
    return json.loads(text) if name.endswith("json") else list(csv.DictReader(text.splitlines()))


@pytest.mark.parametrize(("name", "tasks"), [("sft", ["maths", "facts"]), ("clo", ["maths"]), ("files", ["rivers"])])
def test_every_task_is_scored_in_every_language(runs: dict[str, Path], name: str, tasks: list[str]) -> None:
    results, answers = read(runs[name], "results.json"), read(runs[name], "tasks.csv")
    assert results["mixture"]["seen"] == ["en", "sw"] and results["mixture"]["unseen"] == ["ko"]
    assert results["mixture"]["rows"] == {task: {"en": 4, "sw": 3, "ko": 0} for task in tasks}
    for when in ("start", "end"):
        table = results["tasks"][when]
        assert {task: {code: cell["n"] for code, cell in own.items()} for task, own in table.items()} == {
            task: dict.fromkeys(("en", "sw", "ko"), 2) for task in tasks
        }
        for task, own in table.items():
            for code, cell in own.items():
                lines = [x for x in answers if (x["when"], x["task"], x["lang"]) == (when, task, code)]
                assert sum(float(x["score"]) for x in lines) / 2 == pytest.approx(cell["score"])


@pytest.mark.parametrize("name", ["sft", "clo", "files"])
def test_rows_and_losses_are_told_by_task_and_language(runs: dict[str, Path], name: str) -> None:
    results, rows = read(runs[name], "results.json"), read(runs[name], "rows.csv")
    told = [(row["task"], row["lang"]) for row in rows]
    wanted = {(t, c): n for t, own in results["mixture"]["rows"].items() for c, n in own.items() if n}
    assert {cell: told.count(cell) for cell in told} == wanted
    lines = [json.loads(line) for line in (runs[name] / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    last = [line for line in lines if "val/nll_mixture" in line][-1]
    assert all(f"val/nll_{task}_{code}" in last for task, code in wanted)


def test_the_data_card_names_the_licences(runs: dict[str, Path]) -> None:
    card = (runs["files"] / "data.md").read_text(encoding="utf-8")
    assert "rivers" in card and "licence: mine" in card


def test_the_table_in_the_terminal(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    from clo.study.table import print_table

    print_table(list(runs.values()))
    said = capsys.readouterr().out
    assert "Tasks of mixtures" in said and "maths+facts" in said and "rivers" in said and "4 + 3" in said


def test_a_language_that_no_task_has_is_not_asked(tmp_path: Path) -> None:
    """XQuAD has no Swahili; with a task that has it, it is asked in that one. Two targets there must be."""
    for code in ("en", "de"):
        rows = [{"id": str(k), "prompt": f"{code} {k}?", "response": f"{code} {k}"} for k in range(30)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{code}.jsonl").write_text(text, encoding="utf-8")
    words = ["lang=[de,sw]", "mixture.seen=[de]", "mixture.source=4", "mixture.others=2", "task=xquad"]
    words += [f'tasks.xquad.path="{tmp_path}/{{lang}}.jsonl"', "tasks.xquad.columns.prompt=prompt"]
    words += [f"tasks.xquad.columns.{name}=response" for name in ("response", "gold")]
    words += ["tasks.xquad.splits={train: 'validation[:10]', dev: 'validation[10:20]', test: 'validation[20:]'}"]
    said = r"no task of the mixture \(xquad\) has rows in sw to ask; leave sw out of lang=, or add a task that has it"
    with pytest.raises(UserError, match=said):
        mixture_splits(run_of("mixture=guide_joint", "method=sft", *words, "mixture.tasks=[xquad]"))
    three = run_of("mixture=guide_joint", "method=sft", *words, "lang=[de,zh,sw]", "mixture.tasks=[xquad]")
    assert three.lang.codes() == ("en", "de", "zh") and set(three.table()["xquad"]) == {"en", "de", "zh"}
    maths = run_of(
        "mixture=guide_joint",
        "method=sft",
        "lang=[de,zh,ko]",
        "task=[mcot_maths,mgsm]",
        *words[1:2],
        "mixture.tasks=[mcot_maths]",
    )
    assert maths.lang.codes() == ("en", "de", "zh")  # MGSM, which it is asked on, has no Korean
    both = mixture_splits(run_of("mixture=guide_joint", "method=sft", *words, "mixture.tasks=[xquad,maths]"))
    assert {row.task for row in both.test if "sw" in row.prompts} == {"maths"}


@pytest.mark.parametrize("name", ["sft", "files"])
def test_a_finished_run_is_evaluated_again(runs: dict[str, Path], name: str, tmp_path: Path) -> None:
    """The same rows of every task, and what only the run itself knows stays: without it a report loses the run."""
    run = tmp_path / runs[name].name
    shutil.copytree(runs[name], run)
    done("evaluate", f"run={run}")
    assert read(run, "results.json") == read(runs[name], "results.json")
    assert (run / "tasks.csv").read_bytes() == (runs[name] / "tasks.csv").read_bytes()
    before = read(runs[name], "results.json")
    done("evaluate", f"run={run}", "evaluation.max_tokens=40")
    again = read(run, "results.json")
    assert again["mixture"] == before["mixture"] and again["tasks"]["start"] == before["tasks"]["start"]
    done("evaluate", f"run={run}", "evaluation.max_new_tokens=3")  # which both models are then asked with
    assert read(run, "results.json")["mixture"] == before["mixture"]
    with (run / "tasks.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    half = len(lines) // 2
    assert [line["when"] for line in lines] == ["start"] * half + ["end"] * half
    assert all(len(line["answer"]) < 40 for line in lines)


def test_a_task_whose_rows_changed_is_not_asked_of_one_model_alone(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(runs["files"], tmp_path / runs["files"].name)
    table = runs["files"].parents[2] / "sw.test.jsonl"
    kept, before = table.read_text(encoding="utf-8"), (run / "results.json").read_bytes()
    table.write_text(kept.replace("Mto huu", "Mto ule"), encoding="utf-8")
    try:
        assert "tasks.rivers.path changed after" in refused(["evaluate", f"run={run}"], capsys)
    finally:
        table.write_text(kept, encoding="utf-8")
    assert (run / "results.json").read_bytes() == before
