"""What the report reads: labels, single runs to show, broken folders, studies that are not there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from report_fixture import edit, write_run, write_study

from clo.errors import UserError
from clo.report.collect import collect, read_lines
from clo.report.summary import build
from clo.storage.run_folder import RunFolder


def test_single_runs_shown_are_of_the_largest_size_that_most_methods_have(tmp_path: Path) -> None:
    """One method has run ahead to 800 items: the others are still shown beside it at 400, first seed."""
    write_study(tmp_path / "part", {"sw": 2}, (100, 400), unfinished=False)
    write_run(tmp_path / "part", "sw", "clo", 800, 0)
    shown = [(run.label, run.size, run.seed) for run in collect("part", tmp_path).exemplars("sw")]
    assert shown == [(label, 400, 0) for label in ("SFT, all weights", "SFT+DPO, all weights", "CLO, attention")]


def test_ablation_rows_are_told_apart_by_what_varies(tmp_path: Path) -> None:
    """Only the keys that vary, numbers in order, and one key where two say the same."""
    settings = [{"method.lam": lam, "method.beta": 0.1} for lam in (0.9, 0.3, 0.05)]
    write_study(tmp_path / "lam", {"sw": 2}, (400,), ("clo",), settings, unfinished=False)
    assert collect("lam", tmp_path).labels == ["CLO (λ .05)", "CLO (λ .3)", "CLO (λ .9)"]
    write_study(tmp_path / "lam", {"sw": 2}, (400,), ("sft",), unfinished=False)
    assert collect("lam", tmp_path).labels[:2] == ["SFT, all weights", "CLO (λ .05), attention"]
    tunings = [{"tuning.name": name, "tuning.trains": name} for name in ("full", "mlp")]
    write_study(tmp_path / "tuning", {"sw": 1}, (400,), ("sft", "clo"), tunings, unfinished=False)
    labels = ["SFT, MLP", "SFT, all weights", "CLO, MLP", "CLO, all weights"]
    study = collect("tuning", tmp_path)
    assert study.labels == labels
    rates = [row.cells.get("target_win_rate") for row in build(study).rows if row.label.startswith("CLO")]
    assert all(rates), "each clo run is compared with the sft run of its own tuning"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("results.json", "{", "results.json is not valid JSON"),
        ("results.json", "{}", "results.json lacks lang"),
        ("status.json", "[]", "status.json holds no JSON object"),
        ("config.yaml", "a: [", "config.yaml is not valid YAML"),
    ],
)
def test_broken_folder_is_listed_not_fatal(tmp_path: Path, name: str, content: str, reason: str) -> None:
    """The other run is reported all the same."""
    write_run(tmp_path / "part", "sw", "clo", 400, 0)
    broken = write_run(tmp_path / "part", "sw", "clo", 400, 1)
    (broken / name).write_text(content)
    study = collect("part", tmp_path)
    assert len(study.runs) == 1
    [unfinished] = study.unfinished
    assert unfinished.folder == broken and unfinished.state == "broken" and reason in unfinished.reason


def test_missing_study_names_those_there_are(tmp_path: Path) -> None:
    """The sentence tells what there is and which keys to set."""
    write_study(tmp_path / "demo", {"sw": 1}, (100,), ("clo",))
    with pytest.raises(UserError, match=r"study=dmo.*studies there: demo"):
        collect("dmo", tmp_path)
    with pytest.raises(UserError, match="no studies yet"):
        collect("demo", tmp_path / "elsewhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no run folders"):
        collect("empty", tmp_path)


def test_study_of_failures_tells_them(tmp_path: Path) -> None:
    """No finished run: the reasons are in the sentence."""
    folder = write_run(tmp_path / "failures", "sw", "clo", 100, 0)
    edit(folder / "status.json", state="failed", error="the disk is full")
    with pytest.raises(UserError, match=r"no finished run.*failed: the disk is full"):
        collect("failures", tmp_path)


def test_a_line_separator_in_an_answer_breaks_no_line(tmp_path: Path) -> None:
    """JSON writes U+2028 and U+0085 as they are; only a newline ends a line of the file."""
    path = tmp_path / "samples.jsonl"
    objects = [{"answer": "a\u2028b\u0085c\u000bd"}, {"answer": "e"}]
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in objects) + '{"cut', encoding="utf-8")
    assert read_lines(path) == objects


def test_cells_that_are_queued_or_at_work_are_told(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "s", {"sw": 1}, (100,), unfinished=False)
    for name in ("a", "b"):
        RunFolder(folder / name).queue()
    at_work = RunFolder(folder / "c")
    at_work.lock()
    at_work.status(now=True, state="running", stage="train clo", step=3, total_steps=9)
    assert [str(one) for one in collect("s", tmp_path).unfinished] == [
        f"c, running: stage train clo, step 3 of 9, process {os.getpid()} works on it",
        "s, queued: 2 cells that nobody has begun",
    ]
    at_work.release()
    assert "step 3 of 9, nobody works on it" in str(collect("s", tmp_path).unfinished[0])
