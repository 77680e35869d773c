"""Judged win rates, and the pages of runs and comparisons."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_extras import add_benchmarks, add_everything, add_verdicts, add_watched
from report_fixture import write_run, write_study

from clo.report.benchmarks import collect_benchmarks
from clo.report.collect import collect
from clo.report.formats import file_name, signed
from clo.report.judged import collect_verdicts
from clo.report.make import make_report


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study with everything; its folder."""
    outputs = tmp_path_factory.mktemp("pages") / "outputs"
    add_everything(write_study(outputs / "demo", {"sw": 2, "ko": 1}, (100, 200), ("sft", "clo")))
    return make_report("demo", outputs).parent


def test_verdicts_are_read_as_they_stand(tmp_path: Path) -> None:
    """Every number of the file, the rival's name in words, a broken file told, the table and the file."""
    clo, sft = (write_run(tmp_path / "s", "sw", method, 100, 0) for method in ("clo", "sft"))
    add_verdicts(clo, sft, win_rate=0.625)
    (sft / "judge-other.json").write_text('{"judge": 1}')
    found, broken = collect_verdicts(collect("s", tmp_path))
    target, english = found
    assert (target.win_rate, target.low, target.high, target.length_controlled) == (0.625, 0.52, 0.68, 0.574)
    assert (target.n, target.ties, target.unparsed, target.position_bias, target.disagreement) == (
        150, 20, 3, 0.531, 0.218,
    )  # fmt: skip
    assert (target.against, target.against_label, target.model) == (
        sft.name,
        "SFT, all weights, seed 0",
        "some-judge-70b",
    )
    assert (english.side, english.win_rate, english.low) == ("en", None, None)
    assert len(broken) == 1 and broken[0].startswith(f"{sft.name}/judge-other.json cannot be read")
    page = make_report("s", tmp_path).read_text()
    assert '62.5 <span class="half">[52.0, 68.0]</span>' in page and "97.0 / 81.0" in page and "3f2a9c1b" in page
    assert "judge-other.json cannot be read" in page
    [line, _] = csv.DictReader(io.StringIO((tmp_path / "s" / "report" / "judged.csv").read_text()))
    assert (line["win_rate"], line["length_controlled"], line["run"]) == ("0.625", "0.574", clo.name)


def test_a_study_without_them_has_no_such_sections_and_files(tmp_path: Path) -> None:
    """And what an earlier report had of them goes."""
    path = write_run(tmp_path / "s", "sw", "clo", 100, 0)
    plain = (path / "results.json").read_text()
    add_benchmarks(path)
    judge = add_verdicts(path, tmp_path / "gpt.json")
    add_watched(path, "sw")
    report = make_report("s", tmp_path).parent
    there = {"benchmarks.csv", "judged.csv", "benchmarks_sw.png", "benchmarks_sw.svg"}
    assert there <= {file.name for file in report.iterdir()}
    assert all(f'id="{key}"' in (report / "report.html").read_text() for key in ("benchmarks", "judged"))
    (path / "results.json").write_text(plain)
    judge.unlink()
    (path / "watched.jsonl").unlink()
    (report / "runs" / "gone.html").write_text("")
    page = make_report("s", tmp_path).read_text()
    assert not there & {file.name for file in report.iterdir()}
    [own] = (report / "runs").iterdir()
    for key in ("benchmarks", "judged", "watched"):
        assert f'id="{key}"' not in page + own.read_text()
    assert not list(report.glob("compare/*")), "nothing to compare with"


class Page(HTMLParser):
    """Tags with attributes, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the tag."""
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.text += data


def test_links_resolve_and_nothing_is_loaded(made: Path) -> None:
    """On every page: no script, no address with a host, no link into nothing; all pages are reached."""
    pages = sorted(made.rglob("*.html"))
    reached = set()
    for path in pages:
        text = path.read_text(encoding="utf-8")
        page = Page(text)
        assert "<script" not in text and "default-src 'none'" in text and 'name="viewport"' in text
        assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.found}
        assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//|url\(|@import", text)
        ids = {attrs.get("id") for _, attrs in page.found}
        for link in (attrs["href"] or "" for tag, attrs in page.found if tag == "a"):
            target = (path.parent / link).resolve()
            assert (link.startswith("#") and link[1:] in ids) or target.is_file(), (path.name, link)
            reached.add(target)
    assert {path.resolve() for path in pages} <= reached
    assert len(list(made.glob("runs/*.html"))) == 12
    names = sorted(path.name for path in made.glob("compare/*.html"))
    assert names == [
        f"CLO-attention-vs-SFT-all-weights-{lang}-{size}.html" for lang in ("ko", "sw") for size in (100, 200)
    ]


def test_a_run_page_says_what_there_is(made: Path) -> None:
    """Scores before and after, square, benchmarks, watched answers by step, every answer with its badges."""
    [path] = made.glob("runs/clo-ko-200-s0-*.html")
    page = Page(path.read_text(encoding="utf-8"))
    results = json.loads((made.parent / path.stem / "results.json").read_text())
    for when in ("start", "scores"):
        assert f"{results[when]['target']['all']['chrf']:.1f}" in page.text
    for number in results["square"]["after"][1]:
        assert f"{number:.2f}".replace("-", "\u2212") in page.text
    assert "12.5" in page.text and "all lines right (%)" in page.text
    assert "belebele, letters" in page.text and "mgsm, number, 3 shots" in page.text and "3 examples" in page.text
    assert "some-judge-70b" in page.text and "method.lam" in page.text and "model.recipe" not in page.text
    assert page.text.count("step 25") == 2
    assert len([1 for tag, _ in page.found if tag == "article"]) == 32 + 2
    [path] = made.glob("runs/sft-ko-100-s0-*.html")
    text = path.read_text(encoding="utf-8")
    study = collect("demo", made.parent.parent)
    [run] = [run for run in study.runs if run.folder.name == path.stem]
    slipped = sum(sample["right_lines"] < 1 for sample in run.samples())
    assert text.count(">50 % of lines right<") == text.count(">English words<") == slipped > 0


def test_at_most_two_hundred_answers(tmp_path: Path) -> None:
    """Of 300 and 50 prompts 150 and 50 are shown; of 300 and 300 half of the page each, spread over the file."""
    path = write_run(tmp_path / "s", "sw", "clo", 100, 0)
    for english, counts in ((50, (150, 50)), (300, (100, 100))):
        lines = [
            {"id": f"p{k}", "side": side, "prompt": f"{side}-prompt-{k}.", "answer": "x", "verdict": side}
            for side, n in (("target", 300), ("en", english))
            for k in range(n)
        ]
        (path / "samples.jsonl").write_text("\n".join(map(json.dumps, lines)))
        report = make_report("s", tmp_path).parent
        text = next((report / "runs").iterdir()).read_text()
        shown = {side: sum(f">{side}-prompt-{k}.<" in text for k in range(300)) for side in ("target", "en")}
        assert (shown["target"], shown["en"]) == counts
        assert f"Of {300 + english} prompts 200 are shown" in text and "target-prompt-0." in text


def test_a_comparison_page_shows_where_they_differ(tmp_path: Path) -> None:
    """The largest mean gap over seeds first, both directions, equal prompts not at all; seeds and numbers named."""
    for method in ("sft", "clo"):
        for seed in (0, 1):
            path = write_run(tmp_path / "s", "sw", method, 100, seed)
            gaps = {"a": 0.0, "b": 30.0, "c": 50.0 + 10 * seed, "d": -20.0}
            lines = [
                {"id": key, "side": "target", "prompt": f"prompt-{key}", "reference": "r", "verdict": "en",
                 "answer": f"{method}-{seed}-{key}", "chrf": 40 + (gap if method == "clo" else 0)}
                for key, gap in gaps.items()
            ]  # fmt: skip
            (path / "samples.jsonl").write_text("\n".join(map(json.dumps, lines)))
    report = make_report("s", tmp_path).parent
    text = (report / "compare" / "CLO-attention-vs-SFT-all-weights-sw-100.html").read_text()
    places = [text.index(f"prompt-{key}<") for key in ("c", "b", "d")]
    assert places == sorted(places) and "prompt-a<" not in text
    assert "chrF +55.0" in text and "chrF \u221220.0" in text and "of 4 shared prompts" in text
    assert (
        text.index("CLO, attention is ahead")
        < places[0]
        < places[1]
        < text.index("SFT, all weights is ahead")
        < places[2]
    )
    for name in ("clo-0-c", "sft-1-c", "clo-1-d"):
        assert f">{name}<" in text
    assert (
        "Seeds that both have: 0, 1." in text
        and "CLO, attention, seed 1" in text
        and signed((30 + 55 - 20) / 4) in text
    )
    assert 'id="en"' not in text and text.count('<span class="badge bad">en</span>') == 3 * 4


def test_answers_are_text_never_markup(tmp_path: Path) -> None:
    """In every place where a page shows what a model, a data set, a judge or a folder says."""
    evil = '<script>alert("1")</script><img src="http://x.example/p.png">'
    runs = [write_run(tmp_path / "s", "sw", method, 100, 0, {"method.note": evil}) for method in ("sft", "clo")]
    for path in runs:
        add_benchmarks(path)
        add_watched(path, "sw")
        for name in ("samples.jsonl", "watched.jsonl"):
            lines = [json.loads(line) for line in (path / name).read_text().splitlines()]
            words = dict.fromkeys(("prompt", "answer", "reference", "group", "stage", "verdict", "step"), evil)
            (path / name).write_text("\n".join(json.dumps(line | words) for line in lines))
        text = (path / "results.json").read_text().replace("P: {context}", json.dumps(evil)[1:-1])
        text = text.replace("its rows are not at hand", json.dumps(evil)[1:-1]).replace("acc,none", "<script>,x")
        (path / "results.json").write_text(text.replace("lm-eval 0.4.13", "<script>"))
    file = add_verdicts(runs[1], runs[0])
    file.write_text(file.read_text().replace("some-judge-70b", "<script>").replace("3f2a9c1b", "<script>"))
    pages = list(make_report("s", tmp_path).parent.rglob("*.html"))
    assert len(pages) == 4
    for path in pages:
        page = Page(path.read_text(encoding="utf-8"))
        assert "<script" not in path.read_text(encoding="utf-8"), path
        assert all((a["src"] or "").startswith("data:") for tag, a in page.found if tag == "img")
        assert page.text.count('alert("1")') > 5


def test_labels_become_names_of_files(tmp_path: Path) -> None:
    """Signs that a path may not have are replaced, and two labels never share a page."""
    assert file_name("CLO (λ .5)/../x") == "CLO-λ-.5-..-x" and file_name("/..") == "page"
    write_run(tmp_path / "s", "sw", "sft", 100, 0)
    for number, note in enumerate(("a/b", "a?b")):
        write_run(tmp_path / "s", "sw", "clo", 100, 0, {"method.note": note}, number)
    report = make_report("s", tmp_path).parent
    names = sorted(path.name for path in report.glob("compare/*"))
    assert names == [f"CLO-note=a-b-attention-vs-SFT-all-weights-sw-100{n}.html" for n in ("-2", "")]
    text = (report / "report.html").read_text()
    assert all(f'href="compare/{name.replace("=", "%3D")}"' in text for name in names)


def test_files_of_benchmarks_hold_every_number(made: Path) -> None:
    """One line per row of the tables and per test, at full precision."""
    study = collect("demo", made.parent.parent)
    found = collect_benchmarks(study, "sft")
    lines = list(csv.DictReader((made / "benchmarks.csv").read_text().splitlines()))
    assert [float(line["mean"]) for line in lines] == [score.mean for score in found.scores]
    assert {line["benchmark"] for line in lines} == {"belebele", "mgsm", "xquad"} and lines[0]["prompt"]
    tests = list(csv.DictReader((made / "benchmark_tests.csv").read_text().splitlines()))
    assert len(tests) == sum(map(len, found.tests.values())) == 4 * 7  # cells, benchmarks by side
    text = (made / "report.html").read_text()
    assert "lm-eval 0.4.13" in text and "0.300" in text and "mgsm, English: its rows are not at hand" in text
