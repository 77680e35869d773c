"""Tables of the pages: what is committed is what the committed numbers give, and the command that writes them."""

from __future__ import annotations

import csv
import io
import re
import shutil
from pathlib import Path

import pytest
from called import called
from conftest import ROOT
from guide_fixture import SMALL, write_guide
from report_fixture import write_run

from clo.errors import UserError
from clo.report.benchmarks import Asked, BenchmarkScore, to_csv
from clo.report.docs import KINDS, MARKED, filled, write_docs

DATA = ROOT / "docs" / "data"
OF_THE_GUIDE = ("sentences", "curves", "shares")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
if not DATA.is_dir():
    pytest.skip("not a checkout of the repository", allow_module_level=True)


def markers(*kinds: str) -> str:
    """A page with a table of each kind, empty as yet."""
    return "".join(f"Before.\n<!-- table: {kind} -->\n<!-- end of table -->\nAfter.\n" for kind in kinds)


def test_rows_without_objects_are_told_by_chrf_and_nll(tmp_path: Path) -> None:
    """Of a file that has no such column, a dash."""
    heads, values = ("language", "data_size", "method", "runs"), ("sw", "192", "CLO", "1")
    told = {"target_chrf": "14.2", "target_nll": "3.54", "english_nll": "2.71"}
    more = [
        (key, value)
        for name, v in told.items()
        for key, value in ((name, v), (f"{name}_half_width", ""), (f"{name}_n", "1"))
    ]
    lines = [",".join((*heads, *(key for key, _ in more))), ",".join((*values, *(value for _, value in more)))]
    (tmp_path / "mine.csv").write_text("\n".join(lines), encoding="utf-8")
    assert "| CLO | 14 | 354 | – | – | 271 |" in filled(markers("mine open 192"), tmp_path, tmp_path)


def test_two_seeds_are_two_numbers(tmp_path: Path) -> None:
    """They make no interval. Whether English prompts are answered in English has a column where an arm fails to."""
    heads = ["language", "data_size", "method", "runs"]
    told = {"target_chrf": (42.0, "12.7062047", 2), "english_language_ok": (0.5, "0.05", 3)}
    heads += [key for name in told for key in (name, f"{name}_half_width", f"{name}_n")]
    values = ["sw", "192", "CLO", "2", *(str(one) for three in told.values() for one in three)]
    (tmp_path / "mine.csv").write_text(f"{','.join(heads)}\n{','.join(values)}\n", encoding="utf-8")
    text = filled(markers("mine chrf 192"), tmp_path, tmp_path)
    assert "| sw: English in English, % |" in text and "| CLO | 41, 43 | – | 50 ± 5 |" in text
    values[-3] = "0.95"
    (tmp_path / "mine.csv").write_text(f"{','.join(heads)}\n{','.join(values)}\n", encoding="utf-8")
    assert "English in English" not in filled(markers("mine chrf 192"), tmp_path, tmp_path)


def test_benchmarks_stand_side_by_side(tmp_path: Path) -> None:
    """Other sizes stay out, an arm that was not asked has a dash, two seeds a dagger."""
    asked = Asked("belebele", "answers", 0, "", "{x}", "")

    def score(side: str, size: int | None, label: str, mean: float, runs: int) -> BenchmarkScore:
        return BenchmarkScore(asked, "de", size, label, side, mean, mean - 0.1, mean + 0.1, None, 0.25, 150, runs, {})

    scores = [score("target", None, "start", 0.3, 0), score("en", None, "start", 0.4, 0)]
    scores += [score("target", 192, "CLO", 0.5, 2), score("target", 96, "CLO", 0.9, 2)]
    (tmp_path / "mine_benchmarks.csv").write_text(to_csv(scores), encoding="utf-8")
    text = filled(markers("mine benchmarks 192"), tmp_path, tmp_path)
    assert "| belebele by answers, de (150 rows, chance 25) | belebele by answers, English, de trained (150" in text
    assert "| start model | 30 (20 to 40) | 40 (30 to 50) |" in text and "| CLO | 50 (40 to 60)† | – |" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_committed_tables_are_what_the_committed_numbers_give(page: Path) -> None:
    """If this fails: `make results`."""
    text = page.read_text(encoding="utf-8")
    assert filled(text, DATA, page) == text
    assert text.count("<!-- table:") == text.count("<!-- end of table -->") == len(MARKED.findall(text))


def test_every_page_of_results_has_marked_tables_that_name_their_study() -> None:
    for name in ("README.md", "docs/results.md", "docs/results-bed.md", "docs/results-first-edition.md"):
        found = list(MARKED.finditer((ROOT / name).read_text(encoding="utf-8")))
        assert found, name
        assert all(f"| `{study}`" in one[0] for one in found for study in one[2].split(","))


def test_numbers_of_a_table_are_the_files(tmp_path: Path) -> None:
    """chrF and shares of the CSV, rounded, at their language and arm."""
    text = filled(markers("fixed_steps at 400"), DATA, tmp_path)
    (line,) = (
        one for one in csv.DictReader(io.StringIO((DATA / "fixed_steps.csv").read_text(encoding="utf-8")))
        if (one["language"], one["data_size"], one["method"]) == ("ko", "400", "CLO, attention")
    )  # fmt: skip
    (row,) = re.findall(r"^\| CLO, attention \|(.*)\|$", text, re.M)
    told = [f"{float(line['target_chrf']):.0f} ± {float(line['target_chrf_half_width']):.0f}"]
    told += [
        f"{100 * float(line[key]):.0f} ± {100 * float(line[f'{key}_half_width']):.0f}"
        for key in ("target_language_ok", "english_content")
    ]
    assert [cell.strip() for cell in row.split("|")][:3] == told
    assert filled(markers("bed at 400"), DATA, tmp_path) != filled(markers("bed chrf 400"), DATA, tmp_path)
    assert "Korean: chrF" in filled(markers("bed chrf 400"), DATA, tmp_path)


def test_the_command_keeps_numbers_and_fills_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From run folders to tables; prose outside stays, a second call changes nothing, old numbers go."""
    outputs, docs = tmp_path / "outputs", tmp_path / "docs"
    docs.mkdir()
    for method in ("sft", "clo"):
        for size in (100, 200):
            for seed in (0, 1):
                changes = {"tuning.name": "attention", "tuning.trains": "attention"}
                write_run(outputs / "mine", "sw", method, size, seed, changes)
    kinds = ("at 100", "chrf 100", "open 100", "by size", "equal", "claims", "gains", "verdicts")
    kinds = [f"mine {kind}" for kind in kinds]
    assert {kind.removeprefix("mine ").removesuffix(" 100") for kind in kinds} == {*KINDS} - {
        *OF_THE_GUIDE,
        "benchmarks",
    }
    (tmp_path / "README.md").write_text(markers(kinds[0]), encoding="utf-8")
    (docs / "page.md").write_text(markers(*kinds), encoding="utf-8")
    (docs / "other.md").write_text("No table.\n", encoding="utf-8")
    command = ("report", "study=mine", f"output_dir={outputs}", f"docs={docs}")
    assert called(*command) == 0
    said = capsys.readouterr().out
    assert f"Tables: {docs / 'page.md'}" in said and "other.md" not in said
    text = (docs / "page.md").read_text(encoding="utf-8")
    assert text.count("Before.") == text.count("After.") == 8
    told = text.replace("| arm | chrF: 100 items ", "| arm ")
    for words in (
        "| `mine`, 100 items, 2 seeds |",
        "| chrF: 200 items |",
        "| Swahili | CLO |",
        "`mine`: claim",
        "`mine`: gain",
        "| CLO less SFT, target language | sw (low) | MMMLU | 2 | +4.7 (+3.6 to +5.8) | secondary |",
    ):
        assert words in told, words
    assert "start model" in text and "±" not in text
    for told in ("†; p = ", "†) |"):  # differences to SFT, claims and gains of two seeds
        assert told in text, told
    assert sorted(path.name for path in (docs / "data").iterdir()) == [
        f"mine{ending}.csv" for ending in ("", "_claims", "_equal", "_gains")
    ]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.md")}
    write_docs(docs)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.md")} == before
    for path in outputs.glob("mine/sft-*"):
        shutil.rmtree(path)
    (docs / "page.md").write_text(markers("mine at 100"), encoding="utf-8")
    assert called(*command) == 0 and not (docs / "data" / "mine_equal.csv").exists()


def test_verdicts_of_several_studies_stand_side_by_side(tmp_path: Path) -> None:
    """Of the first arm of each; a claim that a study lacks is a dash."""
    head = "claim,arm,verdict,language,difference\n"
    rows = "better,CLO,held,de,1.25\nbetter,CLO,held,sw,-0.5\nbetter,λ .9,undecided,de,7\nkeeps,CLO,not tested,,\n"
    (tmp_path / "one_claims.csv").write_text(head + rows, encoding="utf-8")
    (tmp_path / "two_claims.csv").write_text(f"{head}better,CLO 2,did not hold,ko,-3\n", encoding="utf-8")
    text = filled(markers("one,two verdicts"), tmp_path, tmp_path)
    assert "| claim | `one` | `two` |" in text
    assert "| better | held (de +1.2, sw −0.5) | did not hold (ko −3.0) |" in text
    assert "| keeps | not tested | – |" in text
    with pytest.raises(UserError, match=r"needs .*three_claims\.csv and a kind of"):
        filled(markers("one,three verdicts"), tmp_path, tmp_path)


def test_the_guide_has_tables_of_its_own(tmp_path: Path) -> None:
    """From run folders: what is known of the made-up study stands in its cells."""
    write_guide(tmp_path / "outputs" / "guide", SMALL)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "page.md").write_text(markers(*(f"guide {kind}" for kind in OF_THE_GUIDE)), encoding="utf-8")
    assert called("report", "study=guide", f"output_dir={tmp_path / 'outputs'}", f"docs={docs}") == 0
    text = (docs / "page.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| tasks_s \| facts \| facts \| languages with rows \|(.*)\|$", text, re.M)
    found = [float(cell.split("(")[0]) for cell in row.split("|")]
    lines = csv.DictReader(io.StringIO((docs / "data" / "guide_curves.csv").read_text(encoding="utf-8")))
    known = [float(one["score"]) for one in lines if (one["tasks"], one["group"]) == ("facts", "seen")]
    assert found == [round(score) for score in known] and len(found) == len(SMALL.amounts)
    assert "| The gap of unseen languages stays as rows are added (within 2 points) |" in text
    assert re.search(r"^\| left \| [\d.]+ \([\d.]+ to [\d.]+\) \|", text, re.M)


@pytest.mark.parametrize("kind", ["nobody at 400", "fixed_steps by name", "fixed_steps cakes"])
def test_a_marker_that_names_nothing_is_refused(kind: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"page.md: `table: {kind}` needs")):
        filled(markers(kind), DATA, Path("page.md"))
