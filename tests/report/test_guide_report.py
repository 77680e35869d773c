"""The files of a report on mixtures: the page, what is printed, what is left out and said, and what goes again."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from guide_fixture import ENGLISH, JOINT, SMALL, guide_of, write_guide, write_mixture_run
from report_fixture import edit, write_run

from clo.report.collect import collect
from clo.report.guide.find import FILES
from clo.report.guide.runs import read_mixtures
from clo.report.make import make_report


def test_runs_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """Without tasks.csv, with a broken score, with a broken part: left out with the reason, the others stay."""
    folder = write_guide(tmp_path / "s", SMALL)
    first, second, third, *_ = sorted(path.parent for path in folder.glob("*/tasks.csv"))
    (first / "tasks.csv").unlink()
    (second / "tasks.csv").write_text("when,task,lang,id,score\nend,facts,zh,facts.0,much\n")
    edit(third / "results.json", mixture={"name": "x"})
    mixtures = read_mixtures(collect("s", tmp_path))
    assert len(mixtures.runs) == 3
    told = {one.folder.name: one.reason for one in mixtures.left_out}
    assert told[first.name].startswith("tasks.csv is missing") and "much" in told[second.name]
    assert third.name in told
    page = (make_report("s", tmp_path).parent / "guide.html").read_text(encoding="utf-8")
    assert first.name in page and "tasks.csv is missing" in page


def test_the_report_of_such_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page, linked from the first one; every file; what is printed; and tables by target as ever."""
    write_guide(tmp_path / "s", SMALL)
    write_mixture_run(tmp_path / "s", ("tasks_s", "sft"), JOINT, (25, 0), SMALL)
    report = make_report("s", tmp_path)
    said = " ".join(capsys.readouterr().out.split())
    assert 'href="guide.html"' in report.read_text(encoding="utf-8") and "target" in report.read_text(encoding="utf-8")
    page = (report.parent / "guide.html").read_text(encoding="utf-8")
    for section in ("claims", "read", "curves", "gap", "joint", "variance", "advice", "files"):
        assert f'<section id="{section}">' in page
    assert "<script" not in page and 'name="viewport"' in page and "arXiv 2504.16677" in page and f"{ENGLISH}" in page
    there = {path.name for path in report.parent.glob("*.csv")}
    assert set(FILES) <= there
    assert "95 % of the peak" in said and "not tested" in said and "Study s" not in said
    lines = list(csv.DictReader((report.parent / "guide_curves.csv").read_text(encoding="utf-8").splitlines()))
    guide = guide_of(tmp_path / "s")
    assert [float(line["score"]) for line in lines] == [p.value for c in guide.curves for p in c.points]
    scores = list(csv.DictReader((report.parent / "guide_scores.csv").read_text(encoding="utf-8").splitlines()))
    assert len(scores) == 2 * 7 * (6 + 3) and {line["right_language"] for line in scores} == {"1.0"}
    assert {line["language"] for line in csv.DictReader((report.parent / "table.csv").open())} >= {"zh", "yo"}


def test_other_studies_have_no_such_page_and_lose_an_old_one(tmp_path: Path) -> None:
    write_guide(tmp_path / "s", replace(SMALL, amounts=(25,), seeds=1))
    report = make_report("s", tmp_path).parent
    old = {path.name for path in report.iterdir() if path.name.startswith("guide")}
    assert {"guide.html", "guide_claims.csv"} <= old
    for path in (tmp_path / "s").glob("sft-*"):
        (path / "status.json").write_text(json.dumps({"state": "failed", "error": "x"}))
    write_run(tmp_path / "s", "sw", "sft", 100, 0)
    text = make_report("s", tmp_path).read_text(encoding="utf-8")
    assert not [path for path in report.iterdir() if path.name.startswith("guide")] and "guide.html" not in text


def test_a_study_of_both_kinds_has_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_guide(tmp_path / "s", replace(SMALL, amounts=(0, 25)))
    write_run(tmp_path / "s", "sw", "clo", 100, 0)
    report = make_report("s", tmp_path).parent
    said = capsys.readouterr().out
    assert "Study s" in said and "95 % of the peak" in said
    assert (report / "guide.html").is_file() and (report / "data_efficiency.png").is_file()
