"""``clo advise``: the planted best mixture is found, and what the runs cannot tell is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from called import called, refused
from guide_fixture import ENGLISH, SMALL, TASKS, Grid, Mixture, level, write_guide
from report_fixture import write_run

from clo.report.guide.advice import Wish, advise

GRID = Grid(
    ("tasks_s", "tasks_m"),
    (Mixture(tasks=("maths",)), Mixture("latin_only", ("de", "id"), ("maths",)), Mixture("guide_joint", tasks=TASKS)),
    (0, 100, 400),
    3,
    prompts=10,
    noise=0.05,
)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("advise")
    write_guide(folder / "guide", GRID)
    return folder


def told(outputs: Path, capsys: pytest.CaptureFixture[str], *words: str, study: str = "guide") -> str:
    capsys.readouterr()
    assert called("advise", f"study={study}", f"output_dir={outputs}", *words) == 0
    return capsys.readouterr().out


def test_the_best_mixture_within_the_budget(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Swahili, which one mixture trains and the other does not; the larger amount fits one budget, not the other."""
    plenty = told(outputs, capsys, "task=maths", "target=sw", "budget=1600", "model=tasks_s")
    assert plenty.startswith(
        "tasks_s, maths in sw, at most 1,600 rows: guide_single, sft, 400 rows of each other language"
    )
    assert "maths: en zh de sw 400 each" in plenty and "1,600 rows in all; expected score 40.0 (" in plenty
    assert "the runs tell them apart" in plenty and "3 seeds" in plenty
    runs = [path.name for path in (outputs / "guide").glob("sft-tasks_s-guide_single-maths-400-*")]
    assert len(runs) == 3 and all(name in plenty for name in runs)
    less = told(outputs, capsys, "task=maths", "target=sw", "budget=1599", "model=tasks_s")
    true = level("tasks_s", GRID.mixtures[0], "maths", "sw", 100)
    assert "guide_single, sft, 100 rows" in less and f"expected score {true:.1f} (" in less
    assert (
        "maths: en 400, zh de sw 100 each" in less and "of mixtures between 1,200 and 1,600 rows none was run" in less
    )


def test_a_language_that_is_never_trained(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Korean: rows in Latin script alone are planted to be the best for it; that it is transfer is said."""
    said = told(outputs, capsys, "task=maths", "target=ko", "budget=5000", "model=tasks_s")
    assert "latin_only, sft, 400 rows" in said and "no run trains maths in ko: scores are of transfer alone" in said
    assert "en de id 400 each" in said


def test_every_model_is_answered_for(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = told(outputs, capsys, "task=maths", "target=sw", "budget=1600")
    assert [line.split(",")[0] for line in said.splitlines() if "at most" in line] == ["tasks_s", "tasks_m"]


def test_budgets_outside_what_was_run(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = told(outputs, capsys, "task=maths", "target=sw", f"budget={ENGLISH - 1}", "model=tasks_s")
    assert "cannot tell" in few and f"the smallest mixture that was run has {ENGLISH} rows" in few
    many = told(outputs, capsys, "task=maths", "target=sw", "budget=90000", "model=tasks_s")
    assert "guide_single, sft, 400 rows" in many and "the largest mixture that was run has 4,800 rows" in many
    english = told(outputs, capsys, "task=maths", "target=sw", f"budget={ENGLISH}", "model=tasks_m")
    assert "0 rows of each other language" in english and "maths: en 400" in english


def test_what_cannot_be_told_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Seeds that differ more than mixtures do; one seed; one mixture. The cheapest that may be as good is named."""
    write_guide(tmp_path / "loud", replace(GRID, models=("tasks_l",), noise=5.0))
    said = told(tmp_path, capsys, "task=maths", "target=sw", "budget=5000", study="loud")
    assert "the runs cannot tell which is better (the interval has 0 in it)" in said
    (one,) = advise("loud", tmp_path, Wish("maths", "sw", 5000))
    assert not one.certain and one.best is not None and one.runner_up is not None
    if one.cheapest is not None:
        assert one.cheapest.run.total < one.best.run.total and "Cheapest that cannot be told from it" in said
    write_guide(tmp_path / "single", replace(GRID, models=("tasks_s",), seeds=1))
    said = told(tmp_path, capsys, "task=maths", "target=sw", "budget=5000", study="single")
    assert "cannot tell which is better (one seed says nothing of others)" in said
    write_guide(tmp_path / "alone", replace(SMALL, amounts=(25,)))
    said = told(tmp_path, capsys, "task=facts", "target=sw", "budget=5000", study="alone")
    assert "No other mixture fits the budget" in said


def test_mistakes_are_one_sentence(outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each says what there is; nothing of the study is written to."""
    there = f"output_dir={outputs}"
    said = refused(["advise", "study=guide", "task=math", "target=sw", "budget=9", there], capsys)
    assert "task=math is none of study guide" in said and "facts, maths, summaries" in said
    said = refused(["advise", "study=guide", "task=maths", "target=xx", "budget=9", there], capsys)
    assert "target=xx" in said and "de, en, id, ko, sw, yo, zh" in said
    said = refused(["advise", "study=guide", "task=maths", "target=sw", "budget=9", "model=nano", there], capsys)
    assert "model=nano" in said and "tasks_s, tasks_m" in said
    said = refused(["advise", "study=guides", "task=maths", "target=sw", "budget=9", there], capsys)
    assert "guides" in said and "studies there: guide" in said
    assert "budget" in refused(["advise", "study=guide", "task=maths", "target=sw", "budget=many", there], capsys)
    assert "target=<code> is missing" in refused(["advise", "study=guide", "task=maths", "budget=9", there], capsys)
    write_run(tmp_path / "plain", "sw", "sft", 100, 0)
    said = refused(["advise", "study=plain", "task=maths", "target=sw", "budget=9", f"output_dir={tmp_path}"], capsys)
    assert "has no finished run of a mixture" in said
    folder = write_guide(tmp_path / "lost", replace(SMALL, amounts=(25,), seeds=1))
    next(folder.glob("*/tasks.csv")).unlink()
    said = refused(["advise", "study=lost", "task=facts", "target=sw", "budget=9", f"output_dir={tmp_path}"], capsys)
    assert "tasks.csv is missing" in said
    assert not list(outputs.glob("*/report")) and json.loads(next(outputs.glob("guide/*/status.json")).read_text())
