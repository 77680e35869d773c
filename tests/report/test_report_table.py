"""The report's table: its numbers by hand, the columns it shows, and its files."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path

import pytest
from report_fixture import edit, write_run, write_study
from rich.console import Console

from clo.errors import UserError
from clo.report.collect import Run, Study, collect
from clo.report.make import make_report
from clo.report.measures import BY_KEY, COLUMNS, Mean, mean_of
from clo.report.summary import Table, TableRow, build
from clo.report.tables import assumed, fitting, to_csv, to_latex, to_markdown, to_rich

CLO, SFT, DPO = "CLO, attention", "SFT, all weights", "SFT+DPO, all weights"


@pytest.fixture(scope="module")
def study(demo_report: Path) -> Study:
    """The study of the demo report."""
    return collect("demo", demo_report.parent.parent)


@pytest.fixture(scope="module")
def table(study: Study) -> Table:
    """Its table."""
    return build(study)


def row_of(table: Table, lang: str, size: int | None, label: str) -> TableRow:
    """The one row of a group."""
    [row] = [r for r in table.rows if (r.lang, r.size, r.label) == (lang, size, label)]
    return row


def test_mean_and_interval_by_hand(tmp_path: Path) -> None:
    """Means 60, 70, 80: mean 70, sd 10, half-width 4.302653 x 10 / sqrt(3) = 24.8414 (t, 2 degrees)."""
    for seed, chrf in enumerate((60.0, 70.0, 80.0)):
        folder = write_run(tmp_path / "hand", "sw", "clo", 400, seed)
        results = json.loads((folder / "results.json").read_text())
        results["scores"]["target"]["all"]["chrf"] = chrf
        results["start"]["target"]["all"]["chrf"] = 25.0
        results["scores"]["en"]["all"]["content"] = 0.9
        results["start"]["en"]["all"]["content"] = 0.95
        edit(folder / "results.json", **results)
    row = row_of(build(collect("hand", tmp_path)), "sw", 400, "CLO")
    assert row.n == 3
    assert row.cells["target_chrf"].mean == pytest.approx(70.0)
    assert row.cells["target_chrf"].half == pytest.approx(24.8414, abs=1e-3)
    assert row.cells["target_gain_chrf"].mean == pytest.approx(45.0)
    assert row.cells["english_change_content"].mean == pytest.approx(-0.05)
    assert row.cells["english_change_content"].half == pytest.approx(0.0, abs=1e-9)


def test_one_seed_has_no_interval() -> None:
    """A single value is its own mean."""
    assert mean_of([3.5]) == Mean(3.5, None, 1)


def test_rows_are_sorted_and_complete(table: Table) -> None:
    """Language, then start, then size, then sft before sft_dpo before clo."""
    got = [(row.lang, row.size, row.label, row.n) for row in table.rows]
    want: list[tuple[str, int | None, str, int]] = []
    for lang, seeds in (("ko", 2), ("sw", 3)):
        want.append((lang, None, "start", 0))
        want += [(lang, n, m, seeds) for n in (100, 200, 400) for m in (SFT, DPO, CLO)]
    assert got == want


def test_best_is_the_highest_mean_of_its_language_and_size(table: Table) -> None:
    """One best row per group of three seeds and measure; start rows never compete, and win rates are not ranked."""
    group = [i for i, row in enumerate(table.rows) if (row.lang, row.size) == ("sw", 400)]
    means = {i: table.rows[i].cells["target_chrf"].mean for i in group}
    assert [i for i in group if (i, "target_chrf") in table.best] == [max(means, key=lambda i: means[i])]
    assert not any(table.rows[i].lang == "ko" for i, _ in table.best), "ko has two seeds"
    assert not any(table.rows[i].size is None or key == "target_win_rate" for i, key in table.best)


def test_two_seeds_are_marked_and_never_bold(tmp_path: Path) -> None:
    """Their interval has a dagger in every form of the table, which says why; nothing of them stands out."""
    write_study(tmp_path / "two", {"sw": 2}, (400,), unfinished=False)
    page = make_report("two", tmp_path).read_text(encoding="utf-8")
    table, study = build(collect("two", tmp_path)), collect("two", tmp_path)
    clo = row_of(table, "sw", 400, CLO).cells["target_chrf"]
    half = f"{clo.half:.1f}"
    assert not table.best and "<b>better" not in page and "<b>worse" not in page
    assert f'>{clo.mean:.1f} <span class="half">± {half}†</span></a></td>' in page
    assert f"{clo.mean:.1f} ± {half}† |" in to_markdown(table, study) and "**" not in to_markdown(table, study)
    tex = to_latex(table)
    assert rf"${clo.mean:.1f} \pm {half}^\dagger$" in tex and "mathbf" not in tex and "†" not in tex
    assert r"% \dagger: Interval of two seeds" in tex and "† Interval of two seeds" in table.notes[0]
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(to_rich(table, "two", 200))
    assert f"{clo.mean:.1f} ±{half}†" in console.export_text()


def test_three_seeds_have_no_dagger(tmp_path: Path) -> None:
    """Nor has one seed, which has no interval; only three may be bold."""
    write_study(tmp_path / "three", {"sw": 3, "ko": 1}, (400,), unfinished=False)
    text = to_markdown(build(collect("three", tmp_path)), collect("three", tmp_path))
    assert "†" not in text
    assert {line.split("|")[1].strip() for line in text.splitlines() if "**" in line} == {"sw"}


def test_win_rate_is_against_the_run_of_equal_seed(tmp_path: Path) -> None:
    """Of 16 target prompts clo wins 4 (longer overlap) and ties 12: (4 + 6) / 16; the baseline has none."""
    ours = write_run(tmp_path / "wins", "sw", "clo", 400, 0)
    theirs = write_run(tmp_path / "wins", "sw", "sft", 400, 0)
    write_run(tmp_path / "wins", "sw", "sft", 400, 1)
    for folder, best in ((ours, 4), (theirs, 0)):
        samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
        target = [s | {"verdict": "target", "chrf": 50.0} for s in samples if s["side"] == "target"]
        target = [s | {"chrf": 80.0} if i < best else s for i, s in enumerate(target)]
        (folder / "samples.jsonl").write_text("\n".join(map(json.dumps, target)))
    table = build(collect("wins", tmp_path))
    assert row_of(table, "sw", 400, CLO).cells["target_win_rate"].mean == pytest.approx(10 / 16)
    assert "target_win_rate" not in row_of(table, "sw", 400, SFT).cells
    assert table.compare == "sft"


def test_compare_that_is_no_method_is_refused(study: Study) -> None:
    """The sentence names the methods there are."""
    with pytest.raises(UserError, match=r"compare=dpo .*sft; sft_dpo; clo; SFT, all weights; SFT.DPO"):
        build(study, "dpo")


def test_columns_without_a_story_of_their_own_are_hidden(table: Table) -> None:
    """With gold content and groups, overall exact match and English chrF only stand in table.csv."""
    keys = [column.key for column in table.columns]
    assert keys[:4] == ["target_exact_seen", "target_exact_unseen", "target_chrf", "target_gain_chrf"]
    assert keys[4:8] == ["target_language_ok", "target_win_rate", "english_content", "english_change_content"]
    assert keys[8:] == ["english_exact", "english_language_ok"]


def test_csv_round_trip(table: Table, demo_report: Path) -> None:
    """Every number of the table comes back from the file at full precision."""
    lines = list(csv.DictReader(io.StringIO((demo_report / "table.csv").read_text(encoding="utf-8"))))
    assert (demo_report / "table.csv").read_text(encoding="utf-8") == to_csv(table)
    assert len(lines) == len(table.rows)
    for line, row in zip(lines, table.rows, strict=True):
        assert (line["language"], line["method"], line["runs"]) == (row.lang, row.label, str(row.n))
        assert line["data_size"] == ("" if row.size is None else str(row.size))
        for column in COLUMNS:
            cell = row.cells.get(column.key)
            assert line[column.key] == ("" if cell is None else repr(cell.mean))
            if cell is not None:
                assert float(line[column.key]) == cell.mean
                assert line[f"{column.key}_half_width"] == ("" if cell.half is None else repr(cell.half))


def test_latex_is_balanced_and_escaped(table: Table) -> None:
    """Equal cells on every line, no bare underscore or percent sign, best values in bold."""
    text = to_latex(table)
    width = 4 + len(table.columns)
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") + 1 for line in body[1:]} == {width}
    assert body[0].count("&") == 4 + 2 - 1
    assert r"SFT+DPO, all weights" in text and r"(\%)" in text and r"\mathbf{" in text
    assert not re.search(r"(?<!\\)[_#]|(?<!\\)%(?! needs| \\dagger)", text)
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1


def test_markdown_says_what_is_missing_and_assumed(table: Table, study: Study) -> None:
    """Failed and running runs with their reason, assumed values, number of seeds."""
    text = to_markdown(table, study)
    assert "clo-sw-800-s0-deadbeef, failed: ran out of memory" in text
    assert "sft-sw-800-s0-cafebabe, running: stage clo, step 12 of 75" in text
    assert "beta = 0.1" in text and "Runs (seeds) per row: 2 to 3." in text
    assert assumed(study) == ["beta = 0.1", "optimizer.weight_decay = 0.0"]


def test_narrow_terminal_keeps_the_two_numbers_that_belong_together(table: Table) -> None:
    """Gain and English change stay, whatever else goes."""
    kept = [column.key for column in fitting(table, 72)]
    assert kept == ["target_gain_chrf", "english_change_content"]
    assert fitting(table, 400) == table.columns


def test_without_gold_content_english_is_told_by_chrf(tmp_path: Path) -> None:
    """Rows of real text have no gold content and no groups: the table has chrF and NLL."""
    folder = write_run(tmp_path / "files", "sw", "clo", 400, 0)
    results = json.loads((folder / "results.json").read_text())
    for when in ("scores", "start"):
        for side in ("target", "en"):
            results[when][side] = {"all": results[when][side]["all"] | {"content": None}}
    edit(folder / "results.json", **results)
    table = build(collect("files", tmp_path))
    keys = [column.key for column in table.columns]
    assert keys[:5] == ["target_exact", "target_chrf", "target_gain_chrf", "target_nll", "target_language_ok"]
    assert keys[5:] == ["english_chrf", "english_change_chrf", "english_nll", "english_exact", "english_language_ok"]
    make_report("files", tmp_path)


def test_score_that_is_no_number_is_left_out(tmp_path: Path) -> None:
    """NaN in results.json leaves a gap instead of a wrong mean."""
    for seed in (0, 1):
        folder = write_run(tmp_path / "nan", "sw", "clo", 400, seed)
    results = json.loads((folder / "results.json").read_text())
    results["scores"]["target"]["all"]["chrf"] = math.nan
    edit(folder / "results.json", **results)
    cell = row_of(build(collect("nan", tmp_path)), "sw", 400, "CLO").cells["target_chrf"]
    assert cell.n == 1 and math.isfinite(cell.mean)


def test_what_is_asked_of_a_start_model_counts_once(tmp_path: Path) -> None:
    """Runs that share a start model and a fold hold copies of its scores: no interval comes of them."""
    from clo.report.rivals import once

    def run(seed: int, path: str, fold: str) -> Run:
        config = {"model.path": path, "data.fold": fold}
        return Run(tmp_path / f"{seed}{path}{fold}", {}, config, "sw", 400, "clo", seed)

    copies = [run(seed, "nano", "0") for seed in range(4)]
    assert once(copies) == copies[:1]
    assert once([*copies, run(4, "nano-1", "0"), run(5, "nano", "1"), run(6, "nano-1", "0")]) == [
        copies[0], run(4, "nano-1", "0"), run(5, "nano", "1"),
    ]  # fmt: skip


def test_less_is_better_where_a_column_says_so() -> None:
    """Bold is the lowest NLL and KL, and the highest of all else."""
    means = {"english_chrf": (20.0, 30.0), "english_nll": (3.5, 2.5), "english_kl": (0.1, 0.4)}
    rows = [
        TableRow("sw", "Swahili", 100, f"arm {i}", 3, {key: Mean(pair[i], 0.1, 3) for key, pair in means.items()})
        for i in range(2)
    ]
    table = Table(rows, [BY_KEY[key] for key in means], None, [])
    assert table.best == {(1, "english_chrf"), (1, "english_nll"), (0, "english_kl")}
