"""Where translated rows are kept."""

from __future__ import annotations

from pathlib import Path

from composed import run_of

from clo.translate.ensure import rows_path


def test_rows_checked_in_another_way_are_other_rows() -> None:
    """What tells the language of a translation decides which ones are kept."""
    paths = [rows_path(run_of("data=oasst", "lang=zh", f"lang.identify={by}")) for by in ("auto", "script", "none")]
    assert len(set(paths)) == 3
    assert rows_path(run_of("data=oasst", "lang=zh")) == paths[0]


def test_another_translator_under_the_same_path_makes_other_rows(tmp_path: Path) -> None:
    """A local folder is held by its content: weights, configuration, tokenizer."""
    given = ["data=oasst", f"data.translation.model={tmp_path}"]
    (tmp_path / "config.json").write_text("{}")
    before = rows_path(run_of(*given))
    assert rows_path(run_of(*given)) == before
    (tmp_path / "config.json").write_text('{"num_beams": 5}')
    assert rows_path(run_of(*given)) != before
