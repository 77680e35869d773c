"""The answers that are looked at while a model trains."""

from __future__ import annotations

import json
from pathlib import Path

from warm_runs import WarmRuns, tiny


def test_a_run_keeps_the_watched_answers(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    """The same prompts at the start and at every validation, in both languages; rates beside the other metrics."""
    ended = warm.run(tiny(tiny_folder, tmp_path, "evaluation.watch=3", "evaluation.validations=2"), tmp_path)
    assert ended.code == 0, ended.err
    (run,) = tmp_path.glob("outputs/runs/*")
    lines = [json.loads(line) for line in (run / "watched.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = sorted({line["step"] for line in lines})
    assert len(steps) == 3 and steps[0] == 0
    asked = [[(r["side"], r["prompt"]) for r in lines if r["step"] == step] for step in steps]
    assert asked[0] == asked[1] == asked[2] and len(asked[0]) == 6
    assert {line["verdict"] for line in lines} <= {"target", "en", "other", "undecided"}
    for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
        if "val/nll_en" in line:
            for side in ("target", "en"):
                verdicts = [r["verdict"] for r in lines if r["step"] == line["step"] and r["side"] == side]
                decided = [v for v in verdicts if v != "undecided"]
                expected = decided.count(side) / len(decided) if decided else None
                assert line.get(f"val/right_language_{side}") == expected
