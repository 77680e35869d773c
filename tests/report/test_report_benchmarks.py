"""Benchmarks in the report: means, intervals, changes and paired tests by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from report_extras import summary_of
from report_fixture import write_run

from clo.evaluation.statistics import bootstrap_mean
from clo.report.benchmarks import BenchmarkScore, collect_benchmarks, rows_of
from clo.report.collect import collect
from clo.report.make import make_report
from clo.report.render import environment

ASKED = {"scoring": "letters", "shots": 0, "shots_from": None, "prompt": "Q", "template": None}


def with_interval(score: BenchmarkScore) -> str:
    """What a page shows of a score."""
    return str(environment().get_template("macros.html").module.with_interval(score))  # type: ignore[attr-defined]


def with_benchmark(folder: Path, method: str, seed: int, right: list[bool], before: float = 0.25, **how: Any) -> Path:
    """A run with one benchmark, whose rows are given."""
    path = write_run(folder, "sw", method, 100, seed)
    results = json.loads((path / "results.json").read_text())
    summary = summary_of("letters", "Q", right) | how
    start = {"accuracy": before, "interval": [before, before], "n": len(right), "chance": 0.25} | ASKED | how
    results["benchmarks"] = {
        "scores": {"belebele": {"target": {"letters": summary}}},
        "start": {"belebele": {"target": {"letters": start}}},
        "left_out": {"belebele": {"en": "no <rows>"}},
    }
    (path / "results.json").write_text(json.dumps(results))
    (path / "benchmarks").mkdir()
    rows = [{"id": f"r{k}", "right": one} for k, one in enumerate(right)]
    (path / "benchmarks" / "belebele-target.json").write_text(json.dumps({"key": "", "rows": {"letters": rows}}))
    return path


def test_mean_interval_and_change_by_hand(tmp_path: Path) -> None:
    """Shares 0.5, 0.6, 0.7: mean 0.6, sd 0.1, half-width 4.302653 x 0.1 / sqrt(3) = 0.248414; 0.35 above the start."""
    for seed, hits in enumerate((50, 60, 70)):
        with_benchmark(tmp_path / "s", "clo", seed, [k < hits for k in range(100)])
    found = collect_benchmarks(collect("s", tmp_path), "sft")
    start, clo = sorted(found.scores, key=lambda score: score.size or 0)
    assert (start.size, start.mean, start.low, start.change, start.runs) == (None, 0.25, 0.25, None, 0)
    assert clo.mean == pytest.approx(0.6) and clo.change == pytest.approx(0.35)
    assert clo.low == pytest.approx(0.6 - 0.248414, abs=1e-5) and clo.high == pytest.approx(0.848414, abs=1e-5)
    assert (clo.chance, clo.n, clo.runs, clo.side) == (0.25, 100, 3, "target")
    assert with_interval(clo) == '60.0 <span class="half">[35.2, 84.8]</span>'
    assert found.tests == {}, "there is no baseline"


@pytest.mark.parametrize("kept", [True, False])
def test_seeds_that_agree_leave_the_rows_uncertain(tmp_path: Path, kept: bool) -> None:
    """Thirty right of a hundred with every seed: nothing is known of other rows by that, as one run's interval says."""
    folders = [with_benchmark(tmp_path / "s", "clo", seed, [k < 30 for k in range(100)]) for seed in range(3)]
    if not kept:
        (folders[0] / "benchmarks" / "belebele-target.json").unlink()
    clo = max(collect_benchmarks(collect("s", tmp_path), "sft").scores, key=lambda score: score.size or 0)
    alone = bootstrap_mean([k < 30 for k in range(100)])
    assert (clo.low, clo.high) == pytest.approx((alone.low, alone.high) if kept else (0.3, 0.3))


def test_one_seed_has_the_interval_of_its_rows(tmp_path: Path) -> None:
    """What the summary says, in brackets."""
    with_benchmark(tmp_path / "s", "clo", 0, [True] * 5 + [False] * 5, interval=[0.2, 0.8])
    [clo] = [score for score in collect_benchmarks(collect("s", tmp_path), "sft").scores if score.size]
    assert (clo.low, clo.high, clo.runs) == (0.2, 0.8, 1)
    assert with_interval(clo) == '50.0 <span class="half">[20.0, 80.0]</span>'


def test_paired_tests_take_shared_rows_and_seeds(tmp_path: Path) -> None:
    """Over 12 rows clo is right in all, sft in 4: +66.7 points; p = 2 / 2^8; the second seed has no rival."""
    folder = tmp_path / "s"
    with_benchmark(folder, "sft", 0, [k < 4 for k in range(12)])
    with_benchmark(folder, "clo", 0, [True] * 14)
    with_benchmark(folder, "clo", 1, [False] * 14)
    [tests] = collect_benchmarks(collect("s", tmp_path), "sft").tests.values()
    [test] = tests
    assert (test.items, test.seeds, test.side, test.label) == (12, 1, "target", "CLO, attention")
    assert test.gap == pytest.approx(100 * 8 / 12) and test.p == pytest.approx(2 / 2**8) and test.verdict == "better"


def test_p_values_are_corrected_over_the_lines_of_a_side(tmp_path: Path) -> None:
    """Two methods with 8 and with 6 rows ahead: Holm doubles the smaller p and leaves the larger."""
    folder = tmp_path / "s"
    with_benchmark(folder, "sft", 0, [False] * 12)
    with_benchmark(folder, "clo", 0, [k < 8 for k in range(12)])
    with_benchmark(folder, "sft_dpo", 0, [k < 6 for k in range(12)])
    [tests] = collect_benchmarks(collect("s", tmp_path), "sft").tests.values()
    found = {test.label: test.p for test in tests}
    assert found == {"CLO, attention": pytest.approx(2 * 2 / 2**8), "SFT+DPO, all weights": pytest.approx(2 / 2**6)}


def test_what_was_asked_differently_is_never_compared(tmp_path: Path) -> None:
    """Another number of examples is another table."""
    folder = tmp_path / "s"
    with_benchmark(folder, "sft", 0, [False] * 12)
    with_benchmark(folder, "clo", 0, [True] * 12, shots=5, shots_from="the test split")
    found = collect_benchmarks(collect("s", tmp_path), "sft")
    assert [asked.title for asked in found.asked] == ["belebele, letters", "belebele, letters, 5 shots"]
    assert found.tests == {}
    text = make_report("s", tmp_path).read_text()
    assert "5 examples, the test split" in text and "no examples" in text and "no &lt;rows&gt;" in text


def relabel(path: Path, label: str) -> None:
    """Give the one result of a run another label, in results.json and in the file of its rows."""
    results = json.loads((path / "results.json").read_text())
    for when in ("scores", "start"):
        results["benchmarks"][when]["belebele"]["target"] = {
            label: results["benchmarks"][when]["belebele"]["target"]["letters"]
        }
    (path / "results.json").write_text(json.dumps(results))
    file = path / "benchmarks" / "belebele-target.json"
    file.write_text(file.read_text().replace('"letters":', f'"{label}":'))


@pytest.mark.parametrize("label", ["letters-5shots", "letters-first12", "letters-5shots-first12"])
def test_results_under_an_older_label_join_those_that_mean_the_same(tmp_path: Path, label: str) -> None:
    """0.1.0 wrote ``letters``, however it was asked: one table, one paired test."""
    folder, how = tmp_path / "s", {"shots": 5, "shots_from": "the test split"} if "5shots" in label else {}
    with_benchmark(folder, "sft", 0, [False] * 12, **how)
    relabel(with_benchmark(folder, "clo", 0, [True] * 12, **how), label)
    found = collect_benchmarks(collect("s", tmp_path), "sft")
    assert len(found.asked) == 1 and len(found.scores) == 3
    [[test]] = found.tests.values()
    assert (test.items, test.gap) == (12, 100.0)


def test_other_rows_are_never_joined(tmp_path: Path) -> None:
    """The first 8 of 12 rows are another benchmark than all 12."""
    folder = tmp_path / "s"
    with_benchmark(folder, "sft", 0, [False] * 12)
    relabel(with_benchmark(folder, "clo", 0, [True] * 8), "letters-first8")
    found = collect_benchmarks(collect("s", tmp_path), "sft")
    assert {asked.title for asked in found.asked} == {"belebele, letters", "belebele, letters, first 8 rows"}
    assert found.tests == {}


def test_a_run_that_was_asked_again_counts_once(tmp_path: Path) -> None:
    """Both labels in one run are one seed, and the newer one's number."""
    path = with_benchmark(tmp_path / "s", "clo", 0, [True] * 12, shots=5)
    results = json.loads((path / "results.json").read_text())
    sides = results["benchmarks"]["scores"]["belebele"]["target"]
    sides["letters-5shots"] = sides["letters"] | {"accuracy": 0.5}
    (path / "results.json").write_text(json.dumps(results))
    [clo] = [score for score in collect_benchmarks(collect("s", tmp_path), "sft").scores if score.size]
    assert (clo.mean, clo.runs) == (0.5, 1)


def test_broken_parts_are_left_out(tmp_path: Path) -> None:
    """Summaries without a number, rows that cannot be read: no error, no line."""
    path = with_benchmark(tmp_path / "s", "clo", 0, [True] * 4)
    results = json.loads((path / "results.json").read_text())
    results["benchmarks"]["scores"]["belebele"]["target"]["letters"]["accuracy"] = None
    (path / "results.json").write_text(json.dumps(results))
    (path / "benchmarks" / "belebele-target.json").write_text("{")
    study = collect("s", tmp_path)
    found = collect_benchmarks(study, "sft")
    assert [score.size for score in found.scores] == [None]
    assert rows_of(study.runs[0], found.asked[0], "target") == {}
    for broken in ("nonsense", {"scores": [], "start": 3, "left_out": {"a": 1}, "lm_eval": {"results": 1}}, None):
        results = json.loads((path / "results.json").read_text()) | {"benchmarks": broken}
        (path / "results.json").write_text(json.dumps(results))
        assert 'id="benchmarks"' not in make_report("s", tmp_path).read_text()
