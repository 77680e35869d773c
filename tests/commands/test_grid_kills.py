"""One grid killed twenty times, also while its cells share a stage: its report is that of a grid left alone."""

from __future__ import annotations

import json
import random
import signal
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from warm_runs import WarmRuns, tiny

pytestmark = pytest.mark.slow
KILLS = 20

# Stage -> (function, calls of it among which one is chosen). Low numbers: a grid must not be over before its last kill.
SHARED = {
    "start answers": ("clo.evaluation.decode:decode", 1),
    "references": ("clo.square.reference:ReferenceCache._append", 1),
    "stage of another cell": ("clo.training.first_stage:FirstStage._take", 2),
    "waiting": ("clo.storage.claim:Claim.take", 3),
}
CELLS = {
    "loading": ("clo.study.session:open_session", 1),
    "steps": ("clo.training.module:CLOModule.training_step", 6),
    "checkpoint": ("clo.training.checkpoint:write_tensors", 2),
    "status": ("clo.storage.files:write_together", 5),
    "end answers": ("clo.evaluation.decode:decode", 3),
}
LATER = {"at": "clo.training.module:CLOModule.training_step", "call": 6, "whom": "parent"}
"""Where the moment does not come in a round, the grid ends at this one: it must not be over before its last kill."""
GRID = {"start of a cell": ("clo.study.cell:Cell.start", 2), "look": ("clo.study.board:Board.moved", 20)}


def moments(seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Moments of which each ends the grid with its cells, without end."""
    rng = random.Random(seed)
    while True:
        stages = [*SHARED, *SHARED, *CELLS, *GRID]
        rng.shuffle(stages)
        for name in stages:
            at, calls = (SHARED | CELLS | GRID)[name]
            whom = {} if name in GRID else {"whom": "parent"}
            yield name, {"at": at, "call": rng.randint(1, calls), **whom}


def report_of(warm: WarmRuns, place: Path) -> dict[str, bytes]:
    """Every file of the report, made without the seconds that training took."""
    for path in place.glob("outputs/runs/*/results.json"):
        results = json.loads(path.read_text(encoding="utf-8"))
        results["train"]["seconds"] = 0.0
        path.write_text(json.dumps(results), encoding="utf-8")
    ended = warm.run(["study=runs", "output_dir=outputs"], place, command="report")
    assert ended.code == 0, ended.err
    report = place / "outputs" / "runs" / "report"
    return {str(path.relative_to(report)): path.read_bytes() for path in report.rglob("*") if path.is_file()}


def test_a_grid_killed_twenty_times(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    size = ["data_size=40", "batch_size=8", "trainer.checkpoints=5", "evaluation.max_tokens=50", "method.epochs=2"]
    grid = ["method=sft,sft_dpo,clo", "seed=0,1,2,3,4", "jobs=2", "retries=0"]
    words = ["-m", *tiny(tiny_folder, Path("."), *size, *grid)]
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    for place in (alone, killed):
        place.mkdir()
    assert warm.run(words, alone).code == 0
    counts = Counter[str]()
    for stage, moment in islice(moments(7), KILLS - 1):
        assert warm.run(words, killed, kill=[moment, LATER]).code == -signal.SIGKILL
        counts[stage] += 1
    assert warm.run(words, killed, kill=LATER | {"whom": ""}).code == 1  # each cell alone: the grid goes on
    print(f"{KILLS} kills: {dict(counts)}, cells alone")
    ended = warm.run(words, killed)
    assert ended.code == 0, ended.err
    assert len([*killed.glob("**/stages/*.json")]) == 5  # of each seed, trained once for SFT and SFT+DPO
    wanted, found = report_of(warm, alone), report_of(warm, killed)
    assert wanted.keys() == found.keys()
    assert [name for name in wanted if wanted[name] != found[name]] == []
    assert [path for path in (killed / "cache").rglob("*") if "partial" in path.name or path.suffix == ".tmp"] == []
