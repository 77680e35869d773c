"""Benchmarks of a run, from the command line to results.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from called import done, refused
from composed import run_of
from warm_runs import WarmRuns, tiny

from clo.config.evaluation import BENCHMARKS
from clo.errors import UserError
from clo.evaluation.benchmarks.lm_eval import harness_tasks
from clo.evaluation.benchmarks.tasks import TASKS


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two benchmarks: one in both languages, one in Swahili alone."""
    folder = tmp_path_factory.mktemp("benchmarks")
    for name, langs in (("belebele", ("en", "sw")), ("xcopa", ("sw",))):
        (folder / name).mkdir()
        for lang in langs:
            rows = []
            for k in range(6):
                row: dict[str, Any] = {
                    "id": str(k),
                    "context": f"Text {k}.",
                    "question": f"What is {k}?",
                    "answer": k % 2,
                }
                row |= {"choices": ["one", "two", "three", "four"]} if name == "belebele" else {"question": "cause"}
                rows.append(row if name == "belebele" else {**row, "choices": ["moja", "mbili"]})
            (folder / name / f"{lang}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def results(place: Path) -> dict[str, Any]:
    (path,) = place.glob("outputs/runs/*/results.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_start_and_trained_model_in_both_languages(
    warm: WarmRuns, tiny_folder: Path, questions: Path, tmp_path: Path
) -> None:
    asked = ["evaluation.benchmarks.names=[belebele,xcopa]", f"evaluation.benchmarks.data={questions}"]
    asked += ["evaluation.benchmarks.scoring=[letters,answers]", "evaluation.benchmarks.limit=5"]
    ended = warm.run(tiny(tiny_folder, tmp_path, *asked), tmp_path)
    assert ended.code == 0, ended.err
    scores = results(tmp_path)["benchmarks"]
    for part in (scores["scores"], scores["start"]):
        assert {name: list(sides) for name, sides in part.items()} == {
            "belebele": ["target", "en"],
            "xcopa": ["target"],
        }
        for sides in part.values():
            for scorings in sides.values():
                assert list(scorings) == ["letters-first5", "answers-first5"]
                for found in scorings.values():
                    assert 0 <= found["accuracy"] <= 1 and found["n"] == 5 and found["prompt"]
    assert "no xcopa/en.jsonl" in scores["left_out"]["xcopa"]["en"]
    assert "belebele (letters-first5), Swahili: " in ended.out and "belebele (answers-first5), English: " in ended.out
    (run,) = (tmp_path / "outputs" / "runs").iterdir()
    rows = json.loads((run / "benchmarks" / "belebele-target.json").read_text())["rows"]["letters-first5"]
    assert [row["id"] for row in rows] == list("01234") and all(len(row["log_probs"]) == 4 for row in rows)
    kept = sorted((tmp_path / "cache" / "benchmarks").rglob("belebele-target.json"))
    assert len(kept) == 1
    before = kept[0].stat().st_mtime_ns
    ended = warm.run(tiny(tiny_folder, tmp_path / "b", *asked, "seed=1", f"cache_dir={tmp_path}/cache"), tmp_path)
    assert ended.code == 0 and kept[0].stat().st_mtime_ns == before  # another run of the same start model


def test_of_several_targets_those_are_asked_that_a_benchmark_has(
    warm: WarmRuns, tiny_folder: Path, questions: Path, tmp_path: Path
) -> None:
    """XCOPA has Swahili alone here: Korean and English are left out, and say why."""
    asked = ["lang=[ko,sw]", f"evaluation.benchmarks.data={questions}"]
    ended = warm.run(tiny(tiny_folder, tmp_path, *asked, "evaluation.benchmarks.names=[xcopa]"), tmp_path)
    assert ended.code == 0, ended.err
    found = results(tmp_path)["benchmarks"]["targets"]
    assert list(found["sw"]["scores"]["xcopa"]) == ["target"] and found["ko"]["scores"] == {}
    assert "no language 'ko'" in found["ko"]["left_out"]["xcopa"]["target"]
    assert "xcopa was not asked in Korean" in ended.out
    ended = warm.run(tiny(tiny_folder, tmp_path / "b", *asked, "evaluation.benchmarks.names=[cmmlu]"), tmp_path)
    assert ended.code == 1 and ended.err.startswith("error: cmmlu has none of the run's languages: ")
    assert not list((tmp_path / "b").glob("outputs/runs/*/checkpoint/*"))


def test_a_finished_run_is_asked_more(
    warm: WarmRuns,
    tiny_folder: Path,
    questions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert warm.run(tiny(tiny_folder, tmp_path), tmp_path).code == 0
    trained = results(tmp_path)
    assert "benchmarks" not in trained
    (run,) = (tmp_path / "outputs" / "runs").iterdir()
    answers = (run / "samples.jsonl").read_bytes()
    more = ["evaluation.benchmarks.names=[belebele]", f"evaluation.benchmarks.data={questions}"]
    with monkeypatch.context() as patched:
        patched.setattr("clo.study.scores.answer_scores", None)  # answers that are there are not made again
        done("evaluate", f"run={run}", *more)
    first = results(tmp_path)
    assert set(first["benchmarks"]) == {"scores", "left_out", "start"}
    assert first["scores"] == trained["scores"] and (run / "samples.jsonl").read_bytes() == answers
    (run / "samples.jsonl").write_bytes(answers[:-9])  # but of a torn file they are
    done("evaluate", f"run={run}", *more)
    assert (run / "samples.jsonl").read_bytes() == answers
    done("evaluate", f"run={run}")
    assert results(tmp_path)["benchmarks"] == first["benchmarks"]  # an evaluation without benchmarks keeps them
    other = ["evaluation.benchmarks.names=[belebele]", "evaluation.benchmarks.shots=1"]
    done("evaluate", f"run={run}", *other, f"evaluation.benchmarks.data={questions}")
    done("evaluate", f"run={run}", "evaluation.benchmarks.names=[xcopa]", f"evaluation.benchmarks.data={questions}")
    both = results(tmp_path)["benchmarks"]
    assert set(both["scores"]) == set(both["start"]) == {"belebele", "xcopa"}
    assert set(both["scores"]["belebele"]["target"]) == {"letters", "letters-1shots"}  # merged by name and settings
    assert (
        both["scores"]["belebele"]["target"]["letters"]
        == first["benchmarks"]["scores"]["belebele"]["target"]["letters"]
    )
    kept = json.loads((run / "benchmarks" / "belebele-target.json").read_text())["rows"]
    assert set(kept) == {"letters", "letters-1shots"}
    for wrong, said in (
        ("names=[bele]", "is a list of belebele"),
        ("nothing=1", "unknown key evaluation.benchmarks.nothing"),
    ):
        assert said in refused(["evaluate", f"run={run}", f"evaluation.benchmarks.{wrong}"], capsys)


def test_the_harness_asks_the_same(warm: WarmRuns, tiny_folder: Path, questions: Path, tmp_path: Path) -> None:
    """lm-eval on task files made of the rows: the accuracy of our own scorer, for both models and languages."""
    pytest.importorskip("lm_eval", reason="pip install 'clo[lm_eval]'")
    asked = [f"evaluation.benchmarks.{name}=[belebele,xcopa]" for name in ("names", "harness")]
    asked += [f"evaluation.benchmarks.data={questions}", "evaluation.benchmarks.scoring=[letters,answers]"]
    asked += ["evaluation.benchmarks.shots=1"]
    ended = warm.run(tiny(tiny_folder, tmp_path, *asked), tmp_path)
    assert ended.code == 0, ended.err
    scores = results(tmp_path)["benchmarks"]
    sides = {"sw": "target", "en": "en"}
    for harness, ours in (("lm_eval", "scores"), ("lm_eval_start", "start")):
        found = scores[harness]["results"]
        assert len(found) == 6 and scores[harness]["harness"].startswith("lm-eval")
        for task, values in found.items():
            _, name, lang, scoring = task.split("_")
            mine = scores[ours][name][sides[lang]][f"{scoring}-1shots"]
            assert values["acc,none"] == pytest.approx(mine["accuracy"]), task


def test_a_benchmark_without_rows_stops_before_training(
    warm: WarmRuns, tiny_folder: Path, questions: Path, tmp_path: Path
) -> None:
    asked = ["evaluation.benchmarks.names=[cmmlu]", f"evaluation.benchmarks.data={questions}"]
    ended = warm.run(tiny(tiny_folder, tmp_path, *asked), tmp_path)
    assert (
        ended.code == 1 and ended.err.startswith("error: cmmlu has neither language") and "\n" not in ended.err.strip()
    )
    assert not list(tmp_path.glob("outputs/runs/*/checkpoint/*"))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("names=[belebele,belebele]", "names one twice"),
        ("names=[bele]", "is a list of belebele"),
        ("scoring=[]", "scoring"),
        ("scoring=[words]", "scoring"),
        ("shots=-1", "shots"),
        ("limit=0", "limit"),
        ("data=/nowhere", "is no folder"),
    ],
)
def test_impossible_settings(setting: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        run_of(f"evaluation.benchmarks.{setting}")


def test_names_and_choices() -> None:
    assert set(BENCHMARKS) == set(TASKS)
    assert run_of("evaluation=paper").evaluation.benchmarks.names == ["belebele", "mmmlu"]
    assert run_of("evaluation=lm_eval").evaluation.benchmarks.harness == ["belebele", "mmmlu"]
    tasks = harness_tasks(["belebele", "mmmlu", "mgsm_direct_sw"], ("en", "sw"))
    assert tasks == ["belebele_swh_Latn", "belebele_eng_Latn", "mmmlu_sw_ke", "mmlu", "mgsm_direct_sw"]
    with pytest.raises(UserError, match="has no language 'ha'"):
        harness_tasks(["mmmlu"], ("en", "ha"))


def test_where_rows_lie_is_no_part_of_a_run(questions: Path) -> None:
    assert run_of().slug() == run_of(f"evaluation.benchmarks.data={questions}").slug()
    assert run_of().slug() != run_of("evaluation.benchmarks.names=[belebele]").slug()
