"""The report as a whole: a page that loads nothing, its figures, the command, the upload."""

from __future__ import annotations

import contextlib
import importlib.machinery
import json
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
from report_fixture import edit, write_run, write_study

from clo.errors import UserError
from clo.report.collect import collect
from clo.report.make import make_report, upload
from clo.report.summary import build


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


def test_page_loads_nothing_from_elsewhere(demo_report: Path) -> None:
    """No script, no style sheet, no image but inline ones, no address with a host anywhere."""
    text = (demo_report / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    tags = [tag for tag, _ in page.found]
    assert not {"script", "link", "iframe", "object", "embed"} & set(tags)
    images = [attrs["src"] or "" for tag, attrs in page.found if tag == "img"]
    assert len(images) == 6 and all(src.startswith("data:image/png;base64,") for src in images)
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//|url\(|@import", text)
    links = [attrs["href"] or "" for tag, attrs in page.found if tag == "a"]
    for link in links:
        place = link.lstrip("#")
        assert any(a.get("id") == place for _, a in page.found) or (demo_report / link).exists(), link


def test_page_says_what_there_is(demo_report: Path) -> None:
    """Facts, failed run with its reason, a badge per verdict, languages named for fonts and readers."""
    page = Page((demo_report / "report.html").read_text(encoding="utf-8"))
    assert "45 finished runs, 1 failed, 1 running" in page.text
    assert "ran out of memory at 256 tokens" in page.text
    table = build(collect("demo", demo_report.parent.parent))
    [clo] = [row for row in table.rows if (row.lang, row.size, row.label) == ("sw", 400, "CLO, attention")]
    assert f"{clo.cells['target_chrf'].mean:.1f}" in page.text
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
    assert page.text.count('alert("1")') > 10 and "CLO (note=<b>&x)" in page.text


def test_figures_are_pictures(demo_report: Path) -> None:
    """Each figure is large, is not one colour, and comes as SVG too."""
    from matplotlib.image import imread

    for name in ("data_efficiency", "scatter", "square", "training"):
        pixels = imread(demo_report / f"{name}.png")
        assert pixels.shape[0] > 400 and pixels.shape[1] > 600
        assert pixels.std() > 0.02 and len({tuple(p) for p in pixels[::7, ::7, :3].reshape(-1, 3)}) > 20
        assert "<svg" in (demo_report / f"{name}.svg").read_text(encoding="utf-8")
    assert not list(demo_report.glob(".*.tmp"))


def test_report_is_the_same_twice(demo_report: Path) -> None:
    """Made again from the same runs, every file has the same bytes."""
    before = {path: path.read_bytes() for path in demo_report.rglob("*") if path.is_file()}
    make_report("demo", demo_report.parent.parent)
    assert {path: path.read_bytes() for path in demo_report.rglob("*") if path.is_file()} == before


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
