"""Where translated rows are kept."""

from __future__ import annotations

from pathlib import Path

from composed import run_of

from clo.translate.ensure import rows_path


def path_of(*words: str) -> Path:
    run = run_of("data=oasst", "lang=zh", *words)
    return rows_path(run.data, run.lang, run.cache_dir)


def test_rows_checked_in_another_way_are_other_rows() -> None:
    """What tells the language of a translation decides which ones are kept."""
    paths = [path_of(f"lang.identify={by}") for by in ("auto", "script", "none")]
    assert len(set(paths)) == 3
    assert path_of() == paths[0]
