"""Runs with several targets: what they leave of each, beside runs of one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from called import done, refused
from composed import run_of as composed_run
from warm_runs import WarmRuns, tiny

from clo.config import LangConfig
from clo.config.choices import Targets
from clo.config.lang import Target
from clo.data.items import absences
from clo.errors import UserError
from clo.evaluation.several import confusion
from clo.report.collect import collect
from clo.report.make import make_report
from clo.report.targets import by_target, course_of
from clo.storage.several import target_folder
from clo.study.data_card import write_data_card
from clo.study.rows import absent_lines, items_of, rows_of
from clo.study.rows import tested_rows as rows_asked
from clo.study.session import renderer_of
from clo.study.targets import paired_folders

WORDS = (
    "lang=[sw,ko]",
    "data_size={ko: 16, sw: 8}",
    "method.steps=2",
    "batch_size=4",
    "evaluation.watch=1",
    "model.oracle='{prompt}'",
)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, warm: WarmRuns, tiny_folder: Path) -> Path:
    """Outputs of a run with two targets, and of one of its targets alone."""
    place = tmp_path_factory.mktemp("several")
    for words in (WORDS, ("lang=sw", "data_size=8", *WORDS[2:])):
        ended = warm.run(tiny(tiny_folder, place, *words), place)
        assert ended.code == 0, ended.err
    return place


def run_of(place: Path, codes: str) -> Path:
    (found,) = place.glob(f"outputs/runs/*-{codes}-*")
    return found


def test_each_target_has_what_its_own_run_has(place: Path) -> None:
    run, alone = run_of(place, "ko+sw"), run_of(place, "sw")
    results, single = (json.loads((path / "results.json").read_text()) for path in (run, alone))
    assert results["lang"] == "ko+sw" and results["data_size"] == 24 and "targets" not in single
    assert results["train"]["sizes"] == {"ko": 16, "sw": 8} and results["train"]["absent"] == {"ko": 0, "sw": 8}
    view = by_target(results)["sw"]
    assert view["lang_name"] == "Swahili" and view["data_size"] == 8
    assert all(view[part] == single[part] for part in ("start", "oracle"))  # the same rows, the same model
    assert view["scores"].keys() == single["scores"].keys() and "kl" in view["scores"]["en"]["all"]
    assert view["square"]["languages"] == ["en", "sw"]
    for i in (0, 1):
        assert view["square"]["before"][i] == pytest.approx(single["square"]["before"][i], rel=1e-5)
    for name in ("samples.jsonl", "start_samples.jsonl"):
        ours, theirs = lines(target_folder(run, "sw") / name), lines(alone / name)
        assert [(s["id"], s["side"], s["prompt"]) for s in ours] == [(s["id"], s["side"], s["prompt"]) for s in theirs]
        assert name == "samples.jsonl" or ours == theirs
    assert not (run / "samples.jsonl").exists()
    card = (run / "data.md").read_text()
    assert "| ko | 16 | " in card and "| sw | 8 | " in card
    model_card = (run / "model/README.md").read_text()
    assert 'language: [en, "ko", "sw"]' in model_card and "16 (ko) and 8 (sw) items" in model_card
    assert "| Korean: chrF |" in model_card and "| Swahili: chrF |" in model_card


def test_asked_and_answered_languages_add_up(place: Path) -> None:
    results = json.loads((run_of(place, "ko+sw") / "results.json").read_text())
    for when in ("scores", "start"):
        table = results[when]["confusion"]
        assert list(table) == ["en", "ko", "sw"] and all(
            list(row) == [*table, "other", "undecided"] for row in table.values()
        )
        assert [sum(row.values()) for row in table.values()] == [6, 6, 6]


def test_validations_look_at_every_target(place: Path) -> None:
    run = run_of(place, "ko+sw")
    watched = lines(run / "watched.jsonl")
    assert {(line["side"], line["lang"]) for line in watched} == {("target", "ko"), ("target", "sw"), ("en", "en")}
    metrics = lines(run / "metrics.jsonl")
    last = next(line for line in reversed(metrics) if "val/nll_en" in line)
    assert {"val/nll_ko", "val/nll_sw", "val/margin_ko", "val/margin_sw"} <= last.keys()
    assert course_of([last], "ko")[0]["val/nll_target"] == last["val/nll_ko"] != last["val/nll_target"]


def test_the_report_shows_a_row_for_each_target(place: Path) -> None:
    study = collect("runs", place / "outputs")
    told = [(run.lang, run.size, run.label, run.targets) for run in study.runs]
    assert told == [("ko", 16, "CLO (2 targets)", 2), ("sw", 8, "CLO", 1), ("sw", 8, "CLO (2 targets)", 2)]
    one, several = study.runs[1:]
    assert not several.likeness(one)[0] and several.home == run_of(place, "ko+sw") and one.home == one.folder
    page = make_report("runs", place / "outputs")
    table = (page.parent / "table.md").read_text()
    assert "CLO (2 targets)" in table and not study.unfinished
    own = (page.parent / "runs" / f"{several.folder.name}.html").read_text()
    assert "Asked and answered languages" in own and f"../../{several.home.name.replace('+', '%2B')}/config.yaml" in own
    assert "Asked and answered languages" not in (page.parent / "runs" / f"{one.folder.name}.html").read_text()


def test_a_renamed_run_keeps_its_targets(place: Path, tmp_path: Path) -> None:
    run, renamed = run_of(place, "ko+sw"), tmp_path / "outputs" / "kept" / "renamed"
    shutil.copytree(run, renamed)
    there = sorted(path.name for path in renamed.iterdir() if path.is_dir())
    done("evaluate", f"run={renamed}")
    assert sorted(path.name for path in renamed.iterdir() if path.is_dir()) == there
    assert [one.folder for one in collect("kept", tmp_path / "outputs").runs] == [
        renamed / f"{run.name}.{code}" for code in ("ko", "sw")
    ]


def test_commands_on_a_finished_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, alone = run_of(place, "ko+sw"), run_of(place, "sw")
    before = json.loads((run / "results.json").read_text())
    done("evaluate", f"run={run}")
    assert json.loads((run / "results.json").read_text()) == before
    assert "ko of ko+sw" in capsys.readouterr().out
    done("evaluate", f"run={run}", f"against={alone}")
    said = capsys.readouterr().out
    assert f"{run.name}.sw against {alone.name}" in said and ".ko against" not in said
    assert paired_folders(alone, alone) == [(alone, alone)]
    prompts = place / "open.jsonl"
    prompts.write_text("".join(f'{{"prompt": "a", "lang": "{code}"}}\n' for code in ("en", "ko", "sw")))
    done("answer", f"run={run}", f"prompts={prompts}", "max_new_tokens=4")
    assert [(a["side"], a["lang"]) for a in lines(run / "answers-open.jsonl")] == [
        ("en", "en"), ("target", "ko"), ("target", "sw")
    ]  # fmt: skip
    done("export", f"run={run}", f"to={place / 'exported'}")
    assert 'language: [en, "ko", "sw"]' in (place / "exported/README.md").read_text()
    said = refused(["judge", f"run={run}", f"against={alone}", "base_url=http://localhost:1/v1", "model=x"], capsys)
    assert "has several targets: name the folder of one of them" in said


def test_languages_are_told_apart_among_several() -> None:
    lang = LangConfig("ko", "Korean", further=[Target("sw", "Swahili")])
    swahili, korean = (
        "Mji mkuu wa nchi hii ni Nairobi na watu wengi wanaishi huko.",
        "이 나라의 수도는 어디입니까? 서울입니다.",
    )
    english, german = (
        "The capital of this country is a large city.",
        "Die Hauptstadt dieses Landes ist eine große Stadt.",
    )
    found = confusion(lang, {"en": [english, "ok"], "ko": [korean, swahili], "sw": [german, english, swahili]})
    assert found == {
        "en": {"en": 1, "ko": 0, "sw": 0, "other": 0, "undecided": 1},
        "ko": {"en": 0, "ko": 1, "sw": 1, "other": 0, "undecided": 0},
        "sw": {"en": 1, "ko": 0, "sw": 1, "other": 1, "undecided": 0},
    }


def rows_file(folder: Path, swahili: range) -> Path:
    """Thirty examples in English and Korean; Swahili has those of the range."""
    path = folder / "rows.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for k in range(30):
            for code in ("en", "ko", *(["sw"] if k in swahili else [])):
                line = {"id": k, "lang": code, "prompt": f"{code} asks {k}", "response": f"{code} says {k}"}
                file.write(f"{json.dumps(line)}\n")
    return path


def test_a_missing_translation_is_absent_and_said(tmp_path: Path) -> None:
    words = ("lang=[ko,sw]", "data=files", f"data.train={rows_file(tmp_path, range(20))}", "data.held_out=5")
    run = composed_run(*words, "data_size={ko: 16, sw: 6}")
    rows, renderer = rows_of(run), renderer_of(run.model)
    lacking = [sum("sw" not in row.prompts for row in part) for part in (rows.train, rows.dev, rows.test)]
    assert sum(lacking) == 10
    (line,) = absent_lines(run, rows)
    assert line == (
        f"sw: {lacking[0]} of 20 training rows, {lacking[1]} of 5 dev rows, {lacking[2]} of 5 test rows have no text; "
        "their cells are absent"
    )
    items = items_of(run, renderer, rows)
    assert absences(items.train)[0] == [0, 0, 10] and len(items.train) == 16
    apart = items_of(replace(run, data=replace(run.data, targets=Targets.apart)), renderer, rows)
    assert len(apart.train) == 22 and absences(apart.train)[0] == [0, 6, 16]
    assert {row.id for row in rows_asked(run, rows)} == {row.id for row in rows.test}
    write_data_card(tmp_path, run, rows, items, renderer)
    assert f"| sw | 6 | {20 - lacking[0]} | {lacking[0]} |" in (tmp_path / "data.md").read_text()
    with pytest.raises(UserError, match=r"data_size=16 is beyond the \d+ training rows of data=files for sw"):
        rows_of(composed_run(*words, "data_size=16"))
    few = ("lang=[ko,sw]", "data=files", f"data.train={rows_file(tmp_path, range(1))}", "data.held_out=5")
    with pytest.raises(UserError, match=r"data=files has no \w+ row in sw|data_size=1 is beyond the 0 training rows"):
        rows_of(composed_run(*few, "data_size=1"))


def test_benchmarks_and_rivals_of_every_target(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    """English is asked once and stands with both; an evaluation of the finished run says the same."""
    rows = tmp_path / "benchmarks" / "belebele"
    rows.mkdir(parents=True)
    for code in ("en", "ko", "sw"):
        asked = [
            {"id": str(k), "context": f"{code} {k}.", "question": "?", "choices": list("abcd"), "answer": k % 4}
            for k in range(4)
        ]
        (rows / f"{code}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked), encoding="utf-8")
    benchmarks = ("evaluation.benchmarks.names=[belebele]", f"evaluation.benchmarks.data={rows.parent}")
    rivals = ("evaluation.rivals.names=[prompted,averaged]", "evaluation.rivals.shares=[0.5]")
    ended = warm.run(tiny(tiny_folder, tmp_path, *WORDS[:-2], *benchmarks, *rivals), tmp_path)
    assert ended.code == 0, ended.err
    (run,) = tmp_path.glob("outputs/runs/*-ko+sw-*")
    found = json.loads((run / "results.json").read_text())
    assert list(found["benchmarks"]["targets"]) == ["ko", "sw"] and list(found["rivals"])[:2] == [
        "averaged_0.5",
        "prompted",
    ]
    scores = {code: own["scores"]["belebele"] for code, own in found["benchmarks"]["targets"].items()}
    assert scores["ko"]["en"] == scores["sw"]["en"] and {*scores["ko"]} == {"target", "en"}
    assert ", prompted" not in ended.out and "prompted, ko of ko+sw" in ended.out and "Korean: " in ended.out
    (sw,) = (one for one in collect("runs", tmp_path / "outputs").runs if one.lang == "sw")
    assert sw.part("benchmarks", "scores") == {"belebele": scores["sw"]} and sw.part("benchmarks", "start", "belebele")
    assert sw.part("rivals", "prompted", "target", "all")["n"]
    page = make_report("runs", tmp_path / "outputs")
    assert (page.parent / "benchmarks.csv").read_text().count("\nbelebele") + 1 >= 4
    done("evaluate", f"run={run}")
    assert json.loads((run / "results.json").read_text()) == found
