"""Every number of a report's tables leads to the runs behind it; on a terminal of 80 characters nothing is cut off."""

from __future__ import annotations

import contextlib
import io
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from report_extras import add_everything
from report_fixture import edit, write_run, write_study

from clo.report import paper_figures
from clo.report.behind import Behind
from clo.report.claim_tests import benches_of
from clo.report.collect import collect
from clo.report.make import make_report
from clo.report.measures import BY_KEY
from clo.report.paper import the_paper
from clo.report.paper_gains import gain_rows
from clo.report.summary import build
from clo.report.tables import head_of, widths


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The page of a study with every table, of a model of the paper; and what was printed at 80 characters."""
    outputs = tmp_path_factory.mktemp("behind")
    folder = add_everything(write_study(outputs / "all", {"sw": 2}, (3200, 6400), ("sft", "clo"), unfinished=False))
    for path in folder.glob("*/results.json"):
        edit(path, model="llama3_8b", data="oasst")
    said, before = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    try:
        with contextlib.redirect_stdout(said):
            page = make_report("all", outputs).read_text(encoding="utf-8")
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
    return page, said.getvalue()


class Cells(HTMLParser):
    """Cells of numbers by section: (section, text, address); items of lists by their name, with their links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[tuple[str, str, str]] = []
        self.lists: dict[str, list[str]] = {}
        self.section = self.item = ""
        self.cell: list[str] | None = None
        self.link = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {key: value or "" for key, value in attrs}
        if tag == "section":
            self.section = told["id"]
        elif tag == "td":
            self.cell, self.link = ([] if told.get("class") != "left" else None), ""
        elif tag == "li":
            self.item = told.get("id", "")
        elif tag == "a":
            self.link = told["href"]
            if self.item:
                self.lists.setdefault(self.item, []).append(told["href"])

    def handle_data(self, data: str) -> None:
        if self.cell is not None:
            self.cell.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "td" and self.cell is not None:
            self.cells.append((self.section, "".join(self.cell).strip(), self.link))
            self.cell = None
        elif tag == "li":
            self.item = ""


def test_every_number_leads_to_its_runs(made: tuple[str, str]) -> None:
    page = Cells(made[0])
    numbers = [cell for cell in page.cells if re.search(r"\d", cell[1])]
    sections = {"cells", "gains", "table", "compared", "benchmarks", "judged", "runs"}
    assert {section for section, *_ in numbers} == sections and len(numbers) > 200
    assert [cell for cell in numbers if not cell[2]] == []
    leads = {link for *_, link in numbers}
    assert all(re.match(r"runs/|compare/|#behind-\d+$", link) for link in leads)
    lists = {link.removeprefix("#") for link in leads if link.startswith("#")}
    assert lists <= set(page.lists) and all(len(links) > 1 for links in page.lists.values())


def test_a_mean_leads_to_the_seeds_that_it_is_of(made: tuple[str, str]) -> None:
    page = Cells(made[0])
    row = re.search(r'<th scope="row">CLO, attention</th><td><a class="to" href="#([\w-]+)">2</a></td>', made[0])
    assert row is not None
    links = page.lists[row[1]]
    assert [re.sub(r"-s\d-.*", "", link) for link in links] == ["runs/clo-sw-3200"] * 2
    gains = [link for section, _, link in page.cells if section == "gains"]
    assert all(len(page.lists[link.removeprefix("#")]) == 4 for link in gains), "two arms of two seeds"


def test_equal_runs_share_a_list_and_one_run_has_none(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path / "s", "sw", "clo", 100, seed)
    study = collect("s", tmp_path)
    behind = Behind(study, {run.folder.name: f"runs/{run.seed}" for run in study.runs[:2]})
    assert behind.runs(study.runs[:1]) == "runs/0" and behind.runs(study.runs[2:]) == "" and behind.lists == []
    assert behind.runs(study.runs) == behind.runs(study.runs[1::-1]) == behind.arms("sw", [(100, "CLO")]) == "#behind-1"
    assert behind.arms("sw", [(None, "start")]) == "#behind-1" and behind.arms("ko", [(100, "CLO")]) == ""
    ((anchor, groups),) = behind.lists
    assert anchor == "behind-1" and [(label, size, len(own)) for label, _, size, own in groups] == [("CLO", 100, 2)]


def test_nothing_is_cut_off_at_80_characters(made: tuple[str, str]) -> None:
    """The main table keeps both numbers with their intervals; claims and the paper's numbers are lists."""
    lines = made[1].splitlines()
    assert max(map(len, lines[:-1])) <= 80 and "…" not in made[1]
    rows = [line for line in lines if re.match(r" sw +6400 +(SFT|CLO)", line)]
    assert len(rows) == 2 and all(line.count("±") == 2 for line in rows)
    heads = lines[lines.index(next(line for line in lines if line.startswith("Study all"))) + 1 : lines.index(
        next(line for line in lines if "───" in line))]  # fmt: skip
    assert len([line for line in heads if line.strip()]) <= 2
    assert "Llama-3-8B, sw, 6,400 items: CLO, attention" in lines
    assert "    +14.9 (+0.9" not in made[1], "SFT+DPO was not run"


def test_what_is_left_over_goes_to_the_tallest_heading(tmp_path: Path) -> None:
    write_study(tmp_path / "s", {"sw": 2}, (100,), ("clo",), unfinished=False)
    table = build(collect("s", tmp_path))
    columns = [BY_KEY["target_gain_chrf"], BY_KEY["english_kl_unseen"]]
    narrow, wide = (widths(table, columns, width) for width in (62, 200))
    assert narrow[1] > narrow[0], "the longer heading has what is left"
    assert wide == [max(8, len(head_of(column))) for column in columns]


def found_of(folder: Path) -> Any:
    study = collect(folder.name, folder.parent)
    return SimpleNamespace(study=study, gains=gain_rows(benches_of(study), the_paper()))


def test_figures_of_the_papers_form_want_the_papers_cells(tmp_path: Path) -> None:
    """One size and one arm: no curve, no ablation; gains by tier where SFT stands beside CLO."""
    write_study(tmp_path / "one", {"sw": 2}, (100,), ("clo",), unfinished=False)
    found = found_of(tmp_path / "one")
    drawn = (paper_figures.curves, paper_figures.gains, paper_figures.nll_ablation, paper_figures.tuning_ablation)
    assert [draw(found) for draw in drawn] == [None] * 4


def test_figures_of_the_papers_form(tmp_path: Path) -> None:
    settings = ({"lang.tier": "low"}, {"method.nll": "diagonal", "lang.tier": "low"})
    write_study(tmp_path / "s", {"sw": 2, "ko": 2}, (100, 200), ("clo",), settings, unfinished=False)
    write_study(tmp_path / "s", {"sw": 2, "ko": 2}, (100, 200), ("sft",), settings[:1], unfinished=False)
    found = found_of(tmp_path / "s")
    curves, told = paper_figures.curves(found) or pytest.fail("no curves")
    assert [axes.get_title() for axes in curves.axes] == ["ko", "sw"] and told["few"]
    lines = [line for line in curves.axes[0].lines if line.get_marker() in ("o", "^")]
    assert [len(line.get_xdata()) for line in lines] == [2, 2] and len(told["labels"]) == 2
    gains, _ = paper_figures.gains(found) or pytest.fail("no gains")
    ours, papers = gains.axes
    assert [text.get_text() for text in papers.get_xticklabels()] == ["ko\n(low)", "sw\n(low)", "ko and sw\n(low)"]
    assert len(ours.patches) == 6 and len(papers.lines) > 12
    gaps = sorted(bar.get_height() for bar in ours.patches)
    rows = [row for row in found.gains if row.question.words.startswith("CLO less SFT, ")]
    assert gaps == pytest.approx(sorted({id(row.ours): row.ours.gap for row in rows}.values()))
    nll, _ = paper_figures.nll_ablation(found) or pytest.fail("no ablation")
    assert [len(axes.patches) for axes in nll.axes] == [4, 4]
    assert paper_figures.tuning_ablation(found) is None, "all train attention"
