"""LaTeX of every table: strictly looked at always, compiled where the machine has a TeX."""

from __future__ import annotations

import os
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
from latex import faults
from report_extras import add_everything
from report_fixture import edit, write_study

from clo.report.make import make_report
from clo.report.tex import TexTable, parted, tex_escape

ENGINE = next(filter(None, map(shutil.which, ("pdflatex", "tectonic", "lualatex", "xelatex"))), None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study with every table, of a model that the paper has; its folder."""
    outputs = tmp_path_factory.mktemp("latex")
    folder = add_everything(write_study(outputs / "a_b & 50 %", {"sw": 2}, (6400,), ("sft", "clo")))
    for path in folder.glob("*/results.json"):
        edit(path, model="llama3_8b", data="oasst", lang_name="Yorùbá, Èdè ọ̀rọ̀ ẹ̀ṣẹ̀")
    return make_report(folder.name, outputs).parent


def test_every_table_is_a_file_and_the_document_holds_them_all(made: Path) -> None:
    files = {path.stem: path.read_text(encoding="utf-8") for path in made.glob("*.tex")}
    every = {"table", "claims", "paper", "paper_gains", "comparisons", "benchmarks", "judged"}
    assert set(files) == {"report", *every}, "no SFT at equal terms: no such table"
    assert all(rf"\fitted{{{name}}}" in files["report"] for name in every)
    assert {name: told for name, text in files.items() if (told := faults(text))} == {}
    assert r"a\_b \& 50 \%" in files["report"] and r"\d{o}" in files["benchmarks"]
    assert "win rate, against SFT (judge some-judge-70b" in files["paper"] and "Llama-3-8B" in files["paper"]


def test_a_table_without_rows_is_no_file_and_an_old_one_goes(made: Path) -> None:
    (made / "equal.tex").write_text("old")
    make_report(made.parent.name, made.parent.parent)
    assert not (made / "equal.tex").exists()


@pytest.mark.skipif(ENGINE is None, reason="no TeX on this machine: pdflatex, tectonic, lualatex or xelatex")
def test_it_compiles(made: Path, tmp_path: Path) -> None:
    assert ENGINE is not None
    for path in made.glob("*.tex"):
        shutil.copy(path, tmp_path)
    draft = ["-draftmode"] if os.path.basename(ENGINE) == "pdflatex" else []
    words = [] if "tectonic" in ENGINE else [*draft, "-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run([ENGINE, *words, "report.tex"], cwd=tmp_path, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout.decode("latin-1")[-2000:]
    log = tmp_path / "report.log"
    assert not log.is_file() or "Overfull \\hbox" not in log.read_text(encoding="latin-1"), "a table leaves the page"


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("50 % & a_b #1 $x {y}", r"50 \% \& a\_b \#1 \$x \{y\}"),
        ("a\\b~c^d <e> |f| \"g\"", r"a\textbackslash{}b\textasciitilde{}c\textasciitilde{}"[:0]
         + r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d \textless{}e\textgreater{} \textbar{}f\textbar{} "
         + r"\textquotedbl{}g\textquotedbl{}"),
        ("42.0 ± 1.5†, −3 – 4 × λ", r"42.0 $\pm$ 1.5$^\dagger$, $-$3 -- 4 $\times$ $\lambda$"),
        ("ẹ ọ ṣ Ẹ", r"\d{e} \d{o} \d{s} \d{E}"),
        ("ọ̀ ẹ́ ń", r"\`{\d{o}} \'{\d{e}} \'{n}"),
        ("í ĭ ị", r"\'{\i } \u{\i } \d{i}"),
        ("é ü ç ő ł", "\\'{e} \\\"{u} \\c{c} \\H{o} ł"),
        ("한국어 Б", "한국어 Б"),
    ],
)  # fmt: skip
def test_letters_and_signs(text: str, latex: str) -> None:
    """Composed or taken apart, a letter is the same; other scripts stay."""
    assert tex_escape(text) == latex
    assert tex_escape(unicodedata.normalize("NFD", text)) == latex


def test_columns_of_sentences_break_and_rules_part_groups() -> None:
    table = TexTable("t", ("a", "b", "c"), [["x", "1", "y"]], right=(1,), wide={2: 4.5})
    assert table.spec == "lrp{4.5cm}"
    rows = [["a", "1"], ["a", "2"], ["b", "3"]]
    assert parted(rows) == [rows[:2], rows[2:]] and parted(rows[1:]) == [rows[1:]]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (r"\begin{tabular}{ll} a & b & c \\ \end{tabular}", "3 cells under 2 columns"),
        (r"\begin{tabular}{lp{2cm}r} a & b & c \\ \toprule \end{tabular}", ""),
        (r"\begin{tabular}{lll} a & \multicolumn{2}{c}{b} \\ \end{tabular}", ""),
        (r"\begin{tabular}{ll} a & b \\ c & d \end{tabular}", "after the last row"),
        (r"\begin{tabular}{lq} a & b \\ \end{tabular}", "unknown column q"),
        (r"a {b", "1 braces are open"),
        (r"a_b", "unescaped"),
        (r"a\_b \{ $x_1$ 5 \% \& \textless{}", ""),
        (r"$x", "an odd dollar"),
        (r"\begin{center} a", "center has no end"),
    ],
)
def test_the_checker_finds_faults(text: str, fault: str) -> None:
    found = faults(text)
    assert (found == []) if not fault else any(fault in one for one in found)
