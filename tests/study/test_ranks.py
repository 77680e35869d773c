"""Several ranks of one run: what they measure together is what one of them measures alone, bit for bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from warm_runs import cold, tiny

SMALL = (
    *("evaluation.max_tokens=20", "trainer.max_tokens=100", "evaluation.rivals.names=[averaged,prompted]"),
    *("method.rejected=[translation,own]", "method.own_tokens=4", "trainer.keep=best"),
)
"""Many batches, and everything that a run measures."""


def measured(place: Path) -> dict[str, Any]:
    """All that a run says of its models, and their answers."""
    (path,) = place.glob("outputs/runs/*/results.json")
    found = json.loads(path.read_text())
    kept = {key: found[key] for key in ("scores", "start", "square", "rivals", "last") if key in found}
    names = ("samples.jsonl", "start_samples.jsonl", "rival_samples.jsonl", "own_answers.jsonl", "last_samples.jsonl")
    return kept | {name: (path.parent / name).read_text() for name in names if (path.parent / name).is_file()}


def train(model: Path, place: Path, *more: str) -> str:
    place.mkdir(exist_ok=True)
    ended = cold([str(ROOT / "train.py"), *tiny(model, place, *SMALL, *more)], place, timeout=280)
    assert ended.code == 0, ended.err
    return ended.out


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "strategy"), [(2, "ddp"), (4, "fsdp2")])
def test_scores_do_not_depend_on_the_number_of_ranks(
    tiny_folder: Path, tmp_path: Path, ranks: int, strategy: str
) -> None:
    """The same trained weights, scored again by more ranks: equal to the last digit, and so is the start."""
    train(tiny_folder, tmp_path / "one")
    expected = measured(tmp_path / "one")
    assert {"rivals", "own_answers.jsonl", "rival_samples.jsonl"} <= expected.keys()
    shutil.copytree(tmp_path / "one" / "outputs", tmp_path / "more" / "outputs")
    (run,) = (tmp_path / "more" / "outputs" / "runs").glob("*/")
    for name in ("status.json", "results.json", "samples.jsonl", "start_samples.jsonl", "rival_samples.jsonl"):
        (run / name).unlink()
    train(tiny_folder, tmp_path / "more", f"trainer.devices={ranks}", f"trainer.strategy={strategy}")
    assert measured(tmp_path / "more") == expected
