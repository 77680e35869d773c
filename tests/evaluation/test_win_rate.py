"""Pairwise comparison of two runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clo.errors import UserError
from clo.evaluation.exact import Sample
from clo.evaluation.win_rate import compare, compare_runs, read_samples


def sample(id_: str, chrf: float = 50.0, verdict: str = "target", **changes: Any) -> Sample:
    values = {
        "id": id_, "group": "", "side": "target", "prompt": "p", "reference": "r", "answer": "x",
        "verdict": verdict, "exact": False, "chrf": chrf, "content": None, "nll": 1.0,
    }  # fmt: skip
    return Sample(**{**values, **changes})


def outcome(a: Sample, b: Sample) -> tuple[int, int, int]:
    result = compare([a], [b], a.side)
    mirror = compare([b], [a], a.side)
    counts = result["wins"], result["ties"], result["losses"]
    assert counts == (mirror["losses"], mirror["ties"], mirror["wins"])
    return counts


WIN, TIE, LOSS = (1, 0, 0), (0, 1, 0), (0, 0, 1)


def test_equal_language_is_decided_by_chrf() -> None:
    assert outcome(sample("1", 60), sample("1", 50)) == WIN
    assert outcome(sample("1", 50), sample("1", 60)) == LOSS
    assert outcome(sample("1", 50), sample("1", 50 + 1e-10)) == TIE
    assert outcome(sample("1", 50, "en"), sample("1", 40, "other")) == WIN


def test_wrong_language_loses_whatever_its_chrf() -> None:
    assert outcome(sample("1", 1), sample("1", 90, "en")) == WIN
    assert outcome(sample("1", 90, "other"), sample("1", 1)) == LOSS


def test_right_language_is_that_of_the_prompt() -> None:
    english = sample("1", 1, "en", side="en"), sample("1", 90, "target", side="en")
    assert outcome(*english) == WIN


def test_undecided_leaves_it_to_chrf() -> None:
    assert outcome(sample("1", 60, "undecided"), sample("1", 50)) == WIN
    assert outcome(sample("1", 40, "undecided"), sample("1", 50, "en")) == LOSS
    assert outcome(sample("1", 50, "undecided"), sample("1", 50, "undecided")) == TIE


def test_rates_by_hand() -> None:
    a = [
        sample("1", 60),
        sample("2", 50),
        sample("3", 50),
        sample("4", 70),
        sample("5", 99),
        sample("9", side="en"),
    ]
    b = [sample("4", 60), sample("3", 50), sample("2", 55), sample("1", 50), sample("6", 1)]
    result = compare(a, b, "target")
    low, high = result.pop("interval")
    assert result == {
        "n": 4, "wins": 2, "ties": 1, "losses": 1, "unpaired": 2,
        "win_rate": 0.625, "decided_win_rate": pytest.approx(2 / 3),
    }  # fmt: skip
    assert 0 <= low < 0.625 < high <= 1


def test_interval_of_published_results() -> None:
    """120 wins, 17 ties, 90 losses: the interval that results already written have."""
    chrfs = [60.0] * 120 + [50.0] * 17 + [40.0] * 90
    a, b = [[sample(str(k), chrf) for k, chrf in enumerate(side)] for side in (chrfs, [50.0] * 227)]
    result = compare(a, b, "target")
    assert (result["wins"], result["ties"], result["losses"]) == (120, 17, 90)
    assert result["interval"] == pytest.approx([0.5044052863436124, 0.6277533039647577], abs=1e-12)
    assert compare(a, b, "target") == result


def test_a_run_against_itself() -> None:
    samples = [sample(str(k), float(k)) for k in range(5)]
    result = compare(samples, samples, "target")
    assert (result["ties"], result["win_rate"], result["interval"]) == (5, 0.5, [0.5, 0.5])
    assert result["decided_win_rate"] is None


def test_other_keys() -> None:
    a = [sample("1", 1, exact=True, content=True), sample("2", 1, content=True)]
    b = [sample("1", 9, exact=False, content=True), sample("2", 9, content=None)]
    exact, found = compare(a, b, "target", "exact"), compare(a, b, "target", "content")
    assert (exact["wins"], exact["ties"]) == (1, 1)
    assert (found["n"], found["ties"]) == (1, 1)
    with pytest.raises(UserError, match="one of chrf, exact, content, got 'nll'"):
        compare(a, b, "target", "nll")  # type: ignore[arg-type]


def test_nothing_shared() -> None:
    with pytest.raises(UserError, match=r"share no test prompt .* side 'target'"):
        compare([sample("1")], [sample("2")], "target")
    with pytest.raises(UserError, match="'content' score"):
        compare([sample("1")], [sample("1")], "target", "content")


def write(folder: Path, samples: Sequence[Sample]) -> Path:
    folder.mkdir(parents=True)
    lines = [json.dumps(s.to_dict(), ensure_ascii=False) for s in samples]
    (folder / "samples.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_compare_runs(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [sample("1", 60), sample("2", 60), sample("1", 10, "en", side="en")])
    b = write(tmp_path / "b", [sample("1", 50), sample("2", 50), sample("1", 20, "en", side="en")])
    result = compare_runs(a, str(b))
    assert list(result) == ["target", "en"]
    assert (result["target"]["wins"], result["en"]["losses"]) == (2, 1)
    one_side = write(tmp_path / "c", [sample("1", 50)])
    assert list(compare_runs(a, one_side)) == ["target"]


def test_line_separators_inside_an_answer_do_not_cut_it(tmp_path: Path) -> None:
    """U+2028 and U+0085 end a line for ``str.splitlines`` but not in JSON lines."""
    written = [sample("1", answer="a\u2028b\u0085c\nd")]
    assert read_samples(write(tmp_path / "a", written)) == written


def test_user_errors_name_the_place(tmp_path: Path) -> None:
    good = write(tmp_path / "good", [sample("1")])
    with pytest.raises(UserError, match=r"nothere.*samples\.jsonl' does not exist"):
        compare_runs(good, tmp_path / "nothere")
    with pytest.raises(UserError, match="share no test prompt"):
        compare_runs(good, write(tmp_path / "other", [sample("2")]))
    with pytest.raises(UserError, match="row '1' has another reference"):
        compare_runs(good, write(tmp_path / "reference", [sample("1", reference="s")]))
    with pytest.raises(UserError, match="line 2 repeats row '1' on side 'target'"):
        read_samples(write(tmp_path / "twice", [sample("1"), sample("1")]))
    with pytest.raises(UserError, match="has no samples"):
        read_samples(write(tmp_path / "empty", []))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "1"', "line 1 is no sample"),
        ('{"id": "1"}', "line 1: a sample lacks the key group"),
        ("[1]", "line 1"),
        ("null", "line 1"),
        ("\ufffd\x00", "line 1"),
    ],
)
def test_broken_lines(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "samples.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_samples(tmp_path)


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_bytes(b"\xff\xfe{}")
    with pytest.raises(UserError, match=r"samples\.jsonl' is not UTF-8"):
        read_samples(tmp_path)
