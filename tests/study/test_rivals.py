"""Cheap rivals, from the command line to results.json and the rows of the report."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from called import refused
from conftest import byte_level_tokenizer, tiny_model
from warm_runs import WarmRuns, tiny

from clo.config import LangConfig
from clo.config.lang import Target
from clo.config.parse import RunConfig
from clo.data.rows import Row
from clo.report.collect import collect
from clo.report.summary import build
from clo.study.rivals import instructions_of, told

ASKED = "evaluation.rivals.names=[prompted,averaged]"
NAMES = {"en": "English", "sw": "Swahili", "ha": "Hausa", "ko": "Korean"}


def results(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "results.json").read_text())
    return found


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "rival_samples.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def plainly(warm: WarmRuns, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that no rival was asked of."""
    place = tmp_path_factory.mktemp("plainly")
    ended = warm.run(tiny(tiny_folder, place), place)
    assert ended.code == 0, ended.err
    (run,) = place.glob("outputs/runs/*")
    return run


@pytest.fixture
def finished(plainly: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(plainly, tmp_path / "outputs" / "runs" / plainly.name))


@pytest.mark.parametrize("tuning", ["attention", "attention_lora"])
def test_a_run_and_an_evaluation_of_it_say_the_same(
    tuning: str, warm: WarmRuns, tiny_folder: Path, tmp_path: Path
) -> None:
    """At its end or afterwards; the run itself, its name and its model are those of a run without rivals."""
    words = [*tiny(tiny_folder, tmp_path / "a", f"tuning={tuning}", "method.lr=1e-2"), ASKED]
    assert (ended := warm.run(words, tmp_path)).code == 0, ended.err
    plain = tiny(tiny_folder, tmp_path / "b", f"tuning={tuning}", "method.lr=1e-2")
    assert warm.run(plain, tmp_path).code == 0
    (with_rivals,), (without,) = ((tmp_path / name / "outputs" / "runs").iterdir() for name in "ab")
    assert with_rivals.name == without.name and "rivals" not in results(without)
    assert results(with_rivals)["scores"] == results(without)["scores"]
    ended = warm.run([f"run={without}", ASKED], tmp_path, command="evaluate")
    assert ended.code == 0 and "averaged_0.1: target chrF" in ended.out, ended.err
    found = results(with_rivals)["rivals"]
    shares = [f"averaged_{share}" for share in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert list(found) == [*shares, "prompted", "prompted_translated"]
    assert found == results(without)["rivals"] and lines(with_rivals) == lines(without)
    for rival in found.values():
        assert rival["target"]["all"]["n"] == rival["en"]["all"]["n"] == 6
    asked = {name: rival["asked"] for name, rival in found.items()}
    assert asked["averaged_0.3"] == {"share": 0.3}
    assert asked["prompted_translated"] == {"instruction": "Jibu kwa Kiswahili."}
    prompts = {(line["rival"], line["side"]): line["prompt"] for line in lines(without)}
    assert prompts["prompted", "target"].startswith("Answer in Swahili.\n")
    assert prompts["prompted", "en"].startswith("Answer in English.\n")
    assert prompts["prompted_translated", "target"].startswith("Jibu kwa Kiswahili.\n")
    assert prompts["averaged_0.1", "en"] == prompts["prompted", "en"].partition("\n")[2]
    nll = [found[name]["target"]["all"]["nll"] for name in shares]
    ends = [results(without)[when]["target"]["all"]["nll"] for when in ("start", "scores")]
    assert abs(nll[0] - ends[0]) < abs(nll[0] - ends[1]) and abs(nll[-1] - ends[1]) < abs(nll[-1] - ends[0])
    assert not (without / "rivals").exists() and not (with_rivals / "rivals").exists()


def test_every_target_is_told_its_own_language() -> None:
    """In English where there is no instruction in it; a row that lacks a language goes on lacking it."""
    further = [Target("ha", "Hausa", "low"), Target("ko", "Korean", "medium")]
    found = instructions_of(RunConfig(lang=LangConfig(further=further)))
    assert found["prompted"] == {code: f"Answer in {name}." for code, name in NAMES.items()}
    assert found["prompted_translated"] == {
        **found["prompted"], "sw": "Jibu kwa Kiswahili.", "ko": "한국어로 답하세요."
    }  # fmt: skip
    (row,) = told([Row("r", {"en": "Who?", "ko": "누구?"}, {"en": "I.", "ko": "나."})], found["prompted"])
    assert row.prompts == {"en": "Answer in English.\nWho?", "ko": "Answer in Korean.\n누구?"}


def test_rivals_are_laid_over_those_that_are_there(
    finished: Path, warm: WarmRuns, tiny_folder: Path, tmp_path: Path
) -> None:
    """One asked otherwise joins, the same again replaces; answers to other prompts end what is not comparable."""
    some = "evaluation.rivals.shares=[0.25]"
    again = [f"run={finished}", "evaluation.rivals.names=[averaged]"]
    assert warm.run([*again, some], tmp_path, command="evaluate").code == 0
    assert list(results(finished)["rivals"]) == ["averaged_0.25"]
    first = lines(finished)
    assert warm.run([*again, "evaluation.rivals.shares=[0.25,0.75]"], tmp_path, command="evaluate").code == 0
    assert list(results(finished)["rivals"]) == ["averaged_0.25", "averaged_0.75"]
    assert len(lines(finished)) == 24 and [x for x in lines(finished) if x["rival"] == "averaged_0.25"] == first
    command = tiny(tiny_folder, tmp_path, ASKED)
    ended = warm.run(command, tmp_path)
    assert ended.code == 0 and "is done already" in ended.out
    assert f"clo evaluate run={tmp_path}/outputs/runs/{finished.name} 'evaluation.rivals.names=[prompted]'" in ended.out
    assert warm.run([f"run={finished}", "evaluation.rows=4"], tmp_path, command="evaluate").code == 0
    assert "rivals" not in results(finished) and not (finished / "rival_samples.jsonl").exists()


def test_a_stopped_evaluation_goes_on(finished: Path, warm: WarmRuns, tmp_path: Path) -> None:
    """Nothing has changed until all is made; answers of rivals that are whole are not generated again."""
    again = [f"run={finished}", ASKED, "evaluation.rivals.shares=[0.5]"]
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file() and path.name != ".lock"}
    writing = {"at": "clo.study.outcome:write_together", "call": 1}
    assert warm.run(again, tmp_path, kill=writing, command="evaluate").code == -signal.SIGKILL
    assert all(path.read_bytes() == content for path, content in before.items())
    assert list((finished / "rivals").rglob("*.partial.jsonl"))
    answering = {"at": "clo.evaluation.decode:decode", "call": 1}
    ended = warm.run(again, tmp_path, kill=answering, command="evaluate")
    assert ended.code == 0, "every answer was kept"
    assert len(results(finished)["rivals"]) == 3 and not (finished / "rivals").exists()


def test_a_chat_vector_from_folders(finished: Path, warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    """Added to the start model's own base it is the start model; models of other shapes are refused."""
    for name, model in (("base", tiny_model(seed=1)), ("other", tiny_model(seed=1, layers=3))):
        model.save_pretrained(tmp_path / name)
        byte_level_tokenizer().save_pretrained(tmp_path / name)
    asked = [f"run={finished}", "evaluation.rivals.names=[chat_vector]", f"evaluation.rivals.base={tmp_path}/base"]
    ended = warm.run([*asked, f"evaluation.rivals.adapted={tmp_path}/base"], tmp_path, command="evaluate")
    assert ended.code == 0, ended.err
    found, start = results(finished)["rivals"]["chat_vector"], results(finished)["start"]
    assert found["target"]["all"]["nll"] == pytest.approx(start["target"]["all"]["nll"], rel=1e-4)
    assert found["asked"]["base"] == f"{tmp_path}/base"
    ended = warm.run([*asked, f"evaluation.rivals.adapted={tmp_path}/other"], tmp_path, command="evaluate")
    assert ended.code == 1 and ended.err.startswith("error: a chat vector needs three models of one shape: ")
    assert ended.err.count("\n") == 1


def test_a_chat_vector_without_its_models_is_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["evaluate", f"run={finished}", "evaluation.rivals.names=[chat_vector]"], capsys)
    assert "needs evaluation.rivals.base=<hub id or folder>" in said
    said = refused(["evaluate", f"run={finished}", "evaluation.rivals.shares=[0.5]"], capsys)
    assert "has no effect here: it is read with evaluation.rivals.names=[averaged]" in said


def test_rows_of_the_report(finished: Path, warm: WarmRuns, tmp_path: Path) -> None:
    """The start model's rivals stand under it, once for all its runs; averages under the method."""
    again = [f"run={finished}", ASKED, "evaluation.rivals.shares=[0.5]"]
    assert warm.run(again, tmp_path, command="evaluate").code == 0
    twin = finished.with_name(finished.name.replace("s0", "s1"))
    shutil.copytree(finished, twin)
    changed = results(twin) | {"seed": 1}
    changed["rivals"]["averaged_0.5"]["target"]["all"]["chrf"] += 2.0
    (twin / "results.json").write_text(json.dumps(changed))
    shutil.copytree(twin, other := twin.with_name(f"{twin.name}x"))
    (other / "results.json").write_text(json.dumps(changed | {"data_size": 8}))
    table = build(collect("runs", tmp_path / "outputs"))
    labels = [row.label for row in table.rows]
    assert labels == [
        *("start", "start, told “Answer in Swahili.”", "start, told “Jibu kwa Kiswahili.”"),
        *("CLO", "CLO: averaged with the start, .5 trained") * 2,
    ]
    rows = {(row.label, row.size): row for row in table.rows}
    told = rows["start, told “Answer in Swahili.”", None]
    assert told.cells["target_chrf"].n == 1 and told.rival and told.n == 0
    averaged = rows["CLO: averaged with the start, .5 trained", 16]
    chrf = results(finished)["rivals"]["averaged_0.5"]["target"]["all"]["chrf"]
    assert averaged.cells["target_chrf"].mean == pytest.approx(chrf + 1.0) and averaged.n == 2
    start = results(finished)["start"]["target"]["all"]["chrf"]
    assert averaged.cells["target_gain_chrf"].mean == pytest.approx(chrf + 1.0 - start)
