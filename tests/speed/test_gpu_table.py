"""The measurement on a GPU: which items its steps train, and what its table compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="the rival in the speed tables; `pip install trl`")

from speed.gpu import CASES, table
from speed.gpu_sides import Case, measure


def done(side: str, rate: float, **words: Any) -> dict[str, Any]:
    """A case's result as ``speed.gpu_sides`` prints it."""
    case = Case(side, **words)
    known = {"mfu": 0.5, "peak of a step, GB": 90.0, "first step, s": 2.0}
    return {"case": case.__dict__, "name": case.name(), "items/s": rate, **known} | {
        "6,400 items with references, minutes": 5.0
    }


def test_ratios_are_to_the_fastest_rival_on_the_same_batches() -> None:
    rivals = [
        done("trl strongest", 10.0) | {"items per pass": 4},
        done("trl strongest", 12.0, compile=True),
        done("trl strongest", 20.0, sort=True),
    ]
    cases = [*rivals, done("ours", 30.0), done("ours", 25.0, sort=True), {"case": {"side": "x"}, "failed": "a\nb"}]
    text = table({"card": {"name": "H"}, "cases": cases})
    assert "| ours, 8,192 tokens | 30.0 | 2.50x | 50 % | 90.0 | 2.0 | 5.0 |" in text
    assert "| ours, 8,192 tokens, sorted | 25.0 | 1.25x |" in text
    assert "| trl strongest (4 items per pass) | 10.0 | 0.83x |" in text
    assert text.startswith("name H\n\n| side |") and text.endswith("\n\n{'side': 'x'}: b\n")


def test_cases_name_what_a_case_has() -> None:
    assert {Case(**case).name() for case in CASES} >= {"trl strongest, compiled, sorted", "trl stock"}


def test_both_sides_train_the_same_items_and_the_trace_is_a_step_more(tmp_path: Path) -> None:
    """On a CPU: losses of ours and TRL's agree; the profiled step is not among the timed ones."""
    words = {"shape": "tiny", "device": "cpu", "lang": "table", "items": 4, "steps": 2}
    ours = measure(Case("ours", trace=str(tmp_path / "trace.json"), **words))
    theirs = measure(Case("trl strongest", **words))
    assert len(ours["losses"]) == 3 and len(theirs["losses"]) == 2
    assert ours["losses"][:2] == pytest.approx(theirs["losses"], rel=2e-2)
    assert ours["items/s"] == pytest.approx(4 / ours["median step, s"])
    assert (tmp_path / "trace.json").stat().st_size > 1000
