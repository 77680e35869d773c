"""Where translated rows are kept."""

from __future__ import annotations

from composed import run_of

from clo.translate.ensure import rows_path


def test_rows_checked_in_another_way_are_other_rows() -> None:
    """What tells the language of a translation decides which ones are kept."""
    paths = [rows_path(run_of("data=oasst", "lang=zh", f"lang.identify={by}")) for by in ("auto", "script", "none")]
    assert len(set(paths)) == 3
    assert rows_path(run_of("data=oasst", "lang=zh")) == paths[0]
