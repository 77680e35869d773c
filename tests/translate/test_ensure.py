"""Where translated rows are kept, and what a plan takes for them until they are made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from composed import run_of

from clo.errors import UserError
from clo.translate.ensure import rows_path
from clo.translate.estimate import planned_splits


def path_of(*words: str) -> Path:
    run = run_of("data=oasst", "lang=zh", *words)
    return rows_path(run.data, run.lang, run.cache_dir)


def test_rows_checked_in_another_way_are_other_rows() -> None:
    """What tells the language of a translation decides which ones are kept."""
    paths = [path_of(f"lang.identify={by}") for by in ("auto", "script", "none")]
    assert len(set(paths)) == 3
    assert path_of() == paths[0]


def test_another_translator_under_the_same_path_makes_other_rows(tmp_path: Path) -> None:
    """A local folder is held by its content: weights, configuration, tokenizer."""
    run = run_of("data=oasst", f"data.translation.model={tmp_path}")
    (tmp_path / "config.json").write_text("{}")
    before = rows_path(run.data, run.lang, run.cache_dir)
    assert rows_path(run.data, run.lang, run.cache_dir) == before
    (tmp_path / "config.json").write_text('{"num_beams": 5}')
    assert rows_path(run.data, run.lang, run.cache_dir) != before


def test_a_plan_names_the_examples_that_are_too_few(tmp_path: Path) -> None:
    lines = [json.dumps({"instruction": f"Tell me about animal {k}.", "output": "It is a cat."}) for k in range(3)]
    (tmp_path / "english.jsonl").write_text("\n".join(lines))
    run = run_of("data=table", f"data.source.path={tmp_path}/english.jsonl", "data.held_out=2")
    with pytest.raises(UserError, match=r"english\.jsonl has 3 rows, too few to hold 4 out"):
        planned_splits(replace(run, cache_dir=str(tmp_path / "cache")))
