"""Tables as files."""

from __future__ import annotations

import csv
import io

import pytest

from clo.storage.files import csv_text


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "a\r\nb", '"', "a,b", "a\x85b", " ", ""])
def test_a_cell_may_hold_any_text(text: str) -> None:
    table = csv_text(("id", "answer"), [(1, text), (2, "plain")])
    assert list(csv.reader(io.StringIO(table, newline=""))) == [["id", "answer"], ["1", text], ["2", "plain"]]
    assert table.endswith("\n2,plain\n")
