"""The report: numbers of the table, tolerance of broken folders, and a page that loads nothing."""

from __future__ import annotations

import contextlib
import csv
import importlib.machinery
import io
import json
import math
import os
import re
import subprocess
import sys
import types
from html.parser import HTMLParser
from pathlib import Path

import pytest
from called import called
from conftest import ROOT
from report_fixture import write_run, write_study

from clo.errors import UserError
from clo.report.collect import Study, collect, read_lines
from clo.report.labels import label_parts
from clo.report.make import make_report, upload
from clo.report.measures import COLUMNS, Mean, mean_of
from clo.report.summary import Table, TableRow, build
from clo.report.tables import assumed, fitting, to_csv, to_latex, to_markdown


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole report of the fixture study; the folder of the report."""
    outputs = tmp_path_factory.mktemp("report") / "outputs"
    write_study(outputs / "demo")
    return make_report("demo", outputs).parent


@pytest.fixture(scope="module")
def study(made: Path) -> Study:
    """The study of ``made``."""
    return collect("demo", made.parent.parent)


@pytest.fixture(scope="module")
def table(study: Study) -> Table:
    """Its table."""
    return build(study)


def row_of(table: Table, lang: str, size: int | None, label: str) -> TableRow:
    """The one row of a group."""
    [row] = [r for r in table.rows if (r.lang, r.size, r.label) == (lang, size, label)]
    return row


def edit(path: Path, **changes: object) -> None:
    """Change keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")


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
    row = row_of(build(collect("hand", tmp_path)), "sw", 400, "clo")
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
        want += [(lang, n, m, seeds) for n in (100, 200, 400) for m in ("sft", "sft_dpo", "clo")]
    assert got == want


def test_best_is_the_highest_mean_of_its_language_and_size(table: Table) -> None:
    """One best row per group and measure; start rows never compete, and win rates are not ranked."""
    for lang in ("ko", "sw"):
        group = [i for i, row in enumerate(table.rows) if (row.lang, row.size) == (lang, 400)]
        means = {i: table.rows[i].cells["target_chrf"].mean for i in group}
        assert [i for i in group if (i, "target_chrf") in table.best] == [max(means, key=lambda i: means[i])]
    assert not any(table.rows[i].size is None or key == "target_win_rate" for i, key in table.best)


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
    assert row_of(table, "sw", 400, "clo").cells["target_win_rate"].mean == pytest.approx(10 / 16)
    assert "target_win_rate" not in row_of(table, "sw", 400, "sft").cells
    assert table.compare == "sft"


def test_compare_that_is_no_method_is_refused(study: Study) -> None:
    """The sentence names the methods there are."""
    with pytest.raises(UserError, match=r"compare=dpo .*sft, sft_dpo, clo"):
        build(study, "dpo")


def test_columns_without_a_story_of_their_own_are_hidden(table: Table) -> None:
    """With gold content and groups, overall exact match and English chrF only stand in table.csv."""
    keys = [column.key for column in table.columns]
    assert keys[:4] == ["target_exact_seen", "target_exact_unseen", "target_chrf", "target_gain_chrf"]
    assert keys[4:8] == ["target_language_ok", "target_win_rate", "english_content", "english_change_content"]
    assert keys[8:] == ["english_exact", "english_language_ok"]


def test_csv_round_trip(table: Table, made: Path) -> None:
    """Every number of the table comes back from the file at full precision."""
    lines = list(csv.DictReader(io.StringIO((made / "table.csv").read_text(encoding="utf-8"))))
    assert (made / "table.csv").read_text(encoding="utf-8") == to_csv(table)
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
    assert r"sft\_dpo" in text and r"(\%)" in text and r"\mathbf{" in text
    assert not re.search(r"(?<!\\)[_#]|(?<!\\)%(?! needs)", text)
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
    kept = [column.key for column in fitting(table, 66)]
    assert kept == ["target_gain_chrf", "english_change_content"]
    assert fitting(table, 400) == table.columns


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

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


def test_page_loads_nothing_from_elsewhere(made: Path) -> None:
    """No script, no style sheet, no image but inline ones, no address with a host anywhere."""
    text = (made / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    tags = [tag for tag, _ in page.found]
    assert not {"script", "link", "iframe", "object", "embed"} & set(tags)
    images = [attrs["src"] or "" for tag, attrs in page.found if tag == "img"]
    assert len(images) == 4 and all(src.startswith("data:image/png;base64,") for src in images)
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//|url\(|@import", text)
    links = [attrs["href"] or "" for tag, attrs in page.found if tag == "a"]
    for link in links:
        place = link.lstrip("#")
        assert any(a.get("id") == place for _, a in page.found) or (made / link).exists(), link


def test_page_says_what_there_is(made: Path, table: Table) -> None:
    """Facts, failed run with its reason, a badge per verdict, languages named for fonts and readers."""
    page = Page((made / "report.html").read_text(encoding="utf-8"))
    assert "45 finished runs, 1 failed, 1 running" in page.text
    assert "ran out of memory at 256 tokens" in page.text
    mean = row_of(table, "sw", 400, "clo").cells["target_chrf"].mean
    assert f"{mean:.1f}" in page.text
    assert {"ko", "sw", "en"} <= {attrs.get("lang") for tag, attrs in page.found if tag == "span"}
    cards = [attrs for tag, attrs in page.found if tag == "article"]
    assert len(cards) == 2 * (8 + 3)


def test_page_escapes_answers(tmp_path: Path) -> None:
    """What a model writes is text, never markup; so are failure reasons and study labels."""
    outputs = tmp_path / "outputs"
    folder = write_run(outputs / "evil", "sw", "clo", 100, 0, {"method.note": "<b>&x"})
    write_run(outputs / "evil", "sw", "clo", 100, 1, {"method.note": "plain"}, 1)
    evil = '<script>alert("1")</script><img src="http://x.example/p.png">'
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    for sample in samples:
        sample |= {"answer": evil, "prompt": evil, "reference": evil, "group": evil}
    (folder / "samples.jsonl").write_text("\n".join(map(json.dumps, samples)))
    (outputs / "evil" / "broken").mkdir()
    (outputs / "evil" / "broken" / "status.json").write_text(json.dumps({"state": "failed", "error": evil}))
    page = Page(make_report("evil", outputs).read_text(encoding="utf-8"))
    tags = [tag for tag, _ in page.found]
    assert "script" not in tags
    assert all((a["src"] or "").startswith("data:") for tag, a in page.found if tag == "img")
    assert page.text.count('alert("1")') > 10 and "clo note=<b>&x" in page.text


def test_figures_are_pictures(made: Path) -> None:
    """Each figure is large, is not one colour, and comes as SVG too."""
    from matplotlib.image import imread

    for name in ("data_efficiency", "scatter", "square", "training"):
        pixels = imread(made / f"{name}.png")
        assert pixels.shape[0] > 400 and pixels.shape[1] > 600
        assert pixels.std() > 0.02 and len({tuple(p) for p in pixels[::7, ::7, :3].reshape(-1, 3)}) > 20
        assert "<svg" in (made / f"{name}.svg").read_text(encoding="utf-8")
    assert not list(made.glob(".*.tmp"))


def test_report_is_the_same_twice(made: Path) -> None:
    """Made again from the same runs, every file has the same bytes."""
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    make_report("demo", made.parent.parent)
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before


def test_one_run_without_samples_metrics_or_square(tmp_path: Path) -> None:
    """A lone run gives a page; figures without data are left out, and those of an earlier report go."""
    folder = write_run(tmp_path / "one", "sw", "clo", 400, 0)
    report = make_report("one", tmp_path).parent
    assert (report / "square.png").exists() and (report / "training.svg").exists()
    for name in ("samples.jsonl", "start_samples.jsonl", "metrics.jsonl", "config.yaml"):
        (folder / name).unlink()
    edit(folder / "results.json", square=None, assumed=None, versions=None, train=None)
    text = make_report("one", tmp_path).read_text(encoding="utf-8")
    assert sorted(path.name for path in report.glob("*.png")) == ["data_efficiency.png", "scatter.png"]
    assert "One seed gives no interval" in text and "Answers side by side" not in text
    assert "<b>9" not in text  # a single row is not the best of anything


def test_single_runs_shown_are_of_the_largest_size_that_most_methods_have(tmp_path: Path) -> None:
    """One method has run ahead to 800 items: the others are still shown beside it at 400, first seed."""
    write_study(tmp_path / "part", {"sw": 2}, (100, 400), unfinished=False)
    write_run(tmp_path / "part", "sw", "clo", 800, 0)
    shown = [(run.label, run.size, run.seed) for run in collect("part", tmp_path).exemplars("sw")]
    assert shown == [("sft", 400, 0), ("sft_dpo", 400, 0), ("clo", 400, 0)]


def test_without_gold_content_english_is_told_by_chrf(tmp_path: Path) -> None:
    """Rows of real text have no gold content and no groups: the table falls back to what there is."""
    folder = write_run(tmp_path / "files", "sw", "clo", 400, 0)
    results = json.loads((folder / "results.json").read_text())
    for when in ("scores", "start"):
        for side in ("target", "en"):
            results[when][side] = {"all": results[when][side]["all"] | {"content": None}}
    edit(folder / "results.json", **results)
    table = build(collect("files", tmp_path))
    keys = [column.key for column in table.columns]
    assert keys[:4] == ["target_exact", "target_chrf", "target_gain_chrf", "target_language_ok"]
    assert keys[4:] == ["english_chrf", "english_change_chrf", "english_exact", "english_language_ok"]
    make_report("files", tmp_path)


def test_ablation_rows_are_told_apart_by_what_varies(tmp_path: Path) -> None:
    """Only the keys that vary, numbers in order, and one key where two say the same."""
    settings = [{"method.lam": lam, "method.beta": 0.1} for lam in (0.9, 0.3, 0.05)]
    write_study(tmp_path / "lam", {"sw": 2}, (400,), ("clo",), settings, unfinished=False)
    assert collect("lam", tmp_path).labels == ["clo lam=0.05", "clo lam=0.3", "clo lam=0.9"]
    write_study(tmp_path / "lam", {"sw": 2}, (400,), ("sft",), unfinished=False)
    assert collect("lam", tmp_path).labels[:2] == ["sft", "clo lam=0.05"]
    tunings = [{"tuning.name": name, "tuning.trains": name} for name in ("full", "mlp")]
    write_study(tmp_path / "tuning", {"sw": 1}, (400,), ("sft", "clo"), tunings, unfinished=False)
    labels = ["sft tuning=full", "sft tuning=mlp", "clo tuning=full", "clo tuning=mlp"]
    study = collect("tuning", tmp_path)
    assert study.labels == labels
    rates = [row.cells.get("target_win_rate") for row in build(study).rows if row.label.startswith("clo")]
    assert all(rates), "each clo run is compared with the sft run of its own tuning"


def test_labels_ignore_what_belongs_to_method_language_or_hardware() -> None:
    """A path per language, a value per method and the number of threads split no group."""
    runs = [
        (("sft", "sw"), {"method.lam": "1", "data.train": "sw", "model.recipe.lam": "1"}),
        (("clo", "sw"), {"method.lam": "0.5", "data.train": "sw", "trainer.threads": "2"}),
        (("clo", "ko"), {"method.lam": "0.5", "data.train": "ko", "trainer.threads": "4"}),
    ]
    assert label_parts(runs) == [(), (), ()]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("results.json", "{", "results.json is not valid JSON"),
        ("results.json", "{}", "results.json lacks lang"),
        ("status.json", "[]", "status.json holds no JSON object"),
        ("config.yaml", "a: [", "config.yaml is not valid YAML"),
    ],
)
def test_broken_folder_is_listed_not_fatal(tmp_path: Path, name: str, content: str, reason: str) -> None:
    """The other run is reported all the same."""
    write_run(tmp_path / "part", "sw", "clo", 400, 0)
    broken = write_run(tmp_path / "part", "sw", "clo", 400, 1)
    (broken / name).write_text(content)
    study = collect("part", tmp_path)
    assert len(study.runs) == 1
    [unfinished] = study.unfinished
    assert unfinished.folder == broken and unfinished.state == "broken" and reason in unfinished.reason


def test_score_that_is_no_number_is_left_out(tmp_path: Path) -> None:
    """NaN in results.json leaves a gap instead of a wrong mean."""
    for seed in (0, 1):
        folder = write_run(tmp_path / "nan", "sw", "clo", 400, seed)
    results = json.loads((folder / "results.json").read_text())
    results["scores"]["target"]["all"]["chrf"] = math.nan
    edit(folder / "results.json", **results)
    cell = row_of(build(collect("nan", tmp_path)), "sw", 400, "clo").cells["target_chrf"]
    assert cell.n == 1 and math.isfinite(cell.mean)


def test_missing_study_names_those_there_are(tmp_path: Path) -> None:
    """The sentence tells what there is and which keys to set."""
    write_study(tmp_path / "demo", {"sw": 1}, (100,), ("clo",))
    with pytest.raises(UserError, match=r"study=dmo.*studies there: demo"):
        collect("dmo", tmp_path)
    with pytest.raises(UserError, match="no studies yet"):
        collect("demo", tmp_path / "elsewhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no run folders"):
        collect("empty", tmp_path)


def test_study_of_failures_tells_them(tmp_path: Path) -> None:
    """No finished run: the reasons are in the sentence."""
    folder = write_run(tmp_path / "failures", "sw", "clo", 100, 0)
    edit(folder / "status.json", state="failed", error="the disk is full")
    with pytest.raises(UserError, match=r"no finished run.*failed: the disk is full"):
        collect("failures", tmp_path)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Good: exit 0 and the page's place last; bad: exit 1 and one sentence."""
    write_study(tmp_path / "demo", {"sw": 1}, (100,))
    assert called("report", "study=demo", f"output_dir={tmp_path}") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"Report: {tmp_path}/demo/report/report.html"
    for argument, words in (("stdy=demo", "unknown argument 'stdy'"), ("compare=sft", "study=<name> is missing")):
        assert called("report", argument) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and words in error


def test_help_is_fast_and_the_report_needs_no_torch(tmp_path: Path) -> None:
    """``--help`` imports neither torch nor matplotlib; a whole report never imports torch."""
    write_study(tmp_path / "demo", {"sw": 1}, (100,), ("sft", "clo"))
    code = (
        "import sys; from called import called; assert called('report', '--help') == 0; "
        "assert not {'torch', 'matplotlib', 'numpy', 'rich'} & set(sys.modules); "
        f"assert called('report', 'study=demo', {f'output_dir={tmp_path}'!r}) == 0; assert 'torch' not in sys.modules"
    )
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=paths)
    assert done.returncode == 0, done.stderr


def test_a_line_separator_in_an_answer_breaks_no_line(tmp_path: Path) -> None:
    """JSON writes U+2028 and U+0085 as they are; only a newline ends a line of the file."""
    path = tmp_path / "samples.jsonl"
    objects = [{"answer": "a\u2028b\u0085c\u000bd"}, {"answer": "e"}]
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in objects) + '{"cut', encoding="utf-8")
    assert read_lines(path) == objects


def test_upload_sends_tables_pages_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run of the study's group, one artifact, files at their place in the report; SVGs stay at home."""
    sent: dict[str, object] = {}

    class Artifact:
        def __init__(self, name: str, type: str) -> None:
            sent["artifact"] = (name, type)
            self.names: list[str] = []

        def add_file(self, path: str, name: str) -> None:
            assert Path(path) == tmp_path / name
            self.names.append(name)

    def init(**told: object) -> contextlib.nullcontext[None]:
        sent.update(told)
        return contextlib.nullcontext()

    run = types.SimpleNamespace(log_artifact=lambda artifact: sent.update(names=artifact.names))
    fake = types.ModuleType("wandb")
    fake.__dict__.update(__spec__=importlib.machinery.ModuleSpec("wandb", None), Artifact=Artifact, init=init, run=run)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    (tmp_path / "runs").mkdir()
    for name in ("report.html", "runs/a.html", "table.csv", "table.tex", "square.png", "square.svg", ".x.png.1.tmp"):
        (tmp_path / name).write_text("")
    upload("project", "demo", tmp_path)
    assert (sent["project"], sent["group"], sent["job_type"]) == ("project", "demo", "report")
    assert sent["artifact"] == ("report-demo", "report")
    assert sent["names"] == ["report.html", "runs/a.html", "square.png", "table.csv", "table.tex"]
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install wandb"):
        upload("project", "demo", tmp_path)
