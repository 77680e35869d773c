"""Absent cells in references, likely tokens and whole runs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_model
from holed import CODES, EVERY, FURTHER, holed_items
from tiny_runs import difference, fit, metrics, run_config, weights

import clo.training.stages
from clo.config.choices import ReferenceMode
from clo.square.anchor import likely_tokens
from clo.square.comparisons import Comparison
from clo.square.reference import ReferenceCache
from clo.square.scores import score_items
from clo.training.stage_plan import StageData


def test_references_and_likely_tokens_of_what_is_there(tmp_path: Path) -> None:
    items, model = holed_items(8), tiny_model()
    cells = EVERY[1].cells()
    cache = ReferenceCache(tmp_path, "key", cells)
    first = cache.scores(model, items, 500)
    again = ReferenceCache(tmp_path, "key", cells).scores(None, items, 500)
    wanted = score_items(model, items, cells, 500).S_BLK
    for k, item in enumerate(items):
        assert torch.equal(first[item.key()], wanted[k]) and torch.equal(again[item.key()], wanted[k])
    assert [len(part.ids_TK) for part in likely_tokens(model, items, 4, 500)] == [len(i.response(0)) for i in items]


def fitted(folder: Path, monkeypatch: pytest.MonkeyPatch, further: tuple[Comparison, ...], **changes: Any) -> Any:
    """A run over items with holes, its comparisons with further candidates put into the plan."""
    plans = clo.training.stages.plan_stages

    def with_further(*args: Any) -> Any:
        return [replace(p, objective=replace(p.objective, further=further)) for p in plans(*args[:4], CODES)]

    monkeypatch.setattr(clo.training.stages, "plan_stages", with_further)
    return fit(folder, run_config(folder, **changes), data=StageData(holed_items(14), holed_items(6, seed=1)))


def test_training_does_not_depend_on_the_split_or_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        weights(
            fitted(
                tmp_path / f"{tokens}-{mode}", monkeypatch, FURTHER, max_tokens=tokens, reference=ReferenceMode[mode]
            )
        )
        for tokens, mode in ((40, "cached"), (150, "cached"), (4000, "cached"), (4000, "swapped"))
    ]
    for other in found[1:]:
        assert difference(found[0], other)[0] < 5e-5
    first, last = metrics(tmp_path / "40-cached")[0], metrics(tmp_path / "40-cached", "val")[-1]
    assert first["train/pref"] == pytest.approx(0.3 * math.log(2), rel=1e-5)
    for name in ("margin_ko", "accuracy_sw", "nll_ko", "margin_own", "accuracy_worse", "nll_target", "logp_sw_en"):
        assert math.isfinite(last[f"val/{name}"])
    assert last["val/margin_own"] > 0


def test_what_no_item_of_a_step_has_is_not_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of one item: the third item, which has its source alone, makes a step whose loss is 0."""
    run = run_config(tmp_path, method_changes={"epochs": 1.0})
    run.batch_size = 1
    plans = clo.training.stages.plan_stages
    monkeypatch.setattr(clo.training.stages, "plan_stages", lambda *args: plans(*args[:4], CODES))
    fit(tmp_path, run, data=StageData(holed_items(5), holed_items(3, seed=1)))
    lines = metrics(tmp_path)
    (alone,) = (line for line in lines if line["train/loss"] == 0)
    assert not [name for name in alone if "margin" in name] and alone["train/grad_norm"] == 0
    assert sum("train/margin_sw" in line for line in lines) >= 2
