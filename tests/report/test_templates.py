"""Templates: all of them are used, nothing that a run says is markup in them, and Python holds no HTML."""

from __future__ import annotations

import ast
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest
from conftest import ROOT
from guide_fixture import add_mixture
from report_extras import add_benchmarks, add_verdicts, add_watched
from report_fixture import write_run

from clo.report.make import make_report
from clo.report.render import environment, render

REPORT = ROOT / "clo" / "report"
EVIL = """<script>alert("1")</script>'{{ 7 * 7 }}{% endif %}&amp;$frac{$한국어 العربية"""
NAME = """<b>'"{{ 7 * 7 }}&amp;한국어"""
"""As a part of a folder's name."""
TAGS = "a|article|b|body|br|code|dd|div|dl|dt|figcaption|figure|h[1-6]|head|header|html|i|img|li|link|meta|nav|ol|p|pre"
TAGS += "|script|section|small|span|strong|style|sub|sup|svg|table|tbody|td|th|thead|title|tr|ul|!doctype|!--"
ATTRIBUTES = {
    *(
        "alt",
        "charset",
        "class",
        "colspan",
        "content",
        "data-head",
        "dir",
        "href",
        "http-equiv",
        "id",
        "lang",
        "name",
        "scope",
        "src",
    ),
    *("tabindex", "width"),
}


class Page(HTMLParser):
    """Tags, names of attributes, and what stands in elements and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, list[str]] = {}
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile(outputs: Path) -> str:
    """A study whose every text is EVIL or NAME; returns its name."""
    study = f"study {NAME}"
    runs = [write_run(outputs / study, "sw", method, 100, 0, {"method.note": EVIL}) for method in ("sft", "clo")]
    for number, path in enumerate(runs):
        add_benchmarks(path)
        add_watched(path, "sw")
        for name in ("samples.jsonl", "start_samples.jsonl", "watched.jsonl"):
            lines = [json.loads(line) for line in (path / name).read_text(encoding="utf-8").splitlines()]
            words = dict.fromkeys(("prompt", "answer", "reference", "group", "stage", "verdict", "step"), EVIL)
            (path / name).write_text("\n".join(json.dumps(line | words) for line in lines), encoding="utf-8")
        results = json.loads((path / "results.json").read_text(encoding="utf-8"))
        results |= {"lang": f"sw{EVIL}", "lang_name": EVIL, "model": EVIL, "data": EVIL, "versions": {"clo": EVIL}}
        results |= {"method": ("sft", f"clo{EVIL}")[number], "assumed": {f"beta{EVIL}": EVIL}}
        results["square"]["languages"] = ["en", EVIL]
        asked = results["benchmarks"]
        asked["left_out"] = {EVIL: {"en": EVIL}}
        asked["lm_eval"] |= {"harness": EVIL, "shots": {EVIL: 3}, "shots_from": {EVIL: EVIL}, "caveats": [EVIL]}
        asked["lm_eval"]["results"] = {EVIL: {f"acc{EVIL},none": 0.5}}
        for part in (asked["scores"], asked["start"]):
            for sides in part.values():
                for summaries in sides.values():
                    for summary in summaries.values():
                        summary |= {"prompt": EVIL, "template": EVIL, "shots": 2, "shots_from": EVIL}
            part[EVIL.replace("/", "")] = part.pop("belebele")
        (path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    for path in runs:
        add_mixture(path, EVIL)
    file = add_verdicts(runs[1], runs[0])
    told = json.loads(file.read_text(encoding="utf-8"))
    told["judge"] |= {"model": EVIL, "prompts": EVIL, "temperature": EVIL}
    file.write_text(json.dumps(told | {"against": f"{NAME}-0"}), encoding="utf-8")
    for number, path in enumerate(runs):
        path.rename(path.with_name(f"{NAME}-{number}"))
    (outputs / study / f"broken{NAME}").mkdir()
    status = {"state": "failed", "error": EVIL}
    (outputs / study / f"broken{NAME}" / "status.json").write_text(json.dumps(status), encoding="utf-8")
    (outputs / study / f"{NAME}-0" / f"judge-{NAME}.json").write_text("{", encoding="utf-8")
    return study


@pytest.mark.filterwarnings("ignore:Glyph", "ignore:constrained_layout")
def test_every_template_escapes_what_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, answers, reasons and settings full of markup: only the templates' own tags come out, all words stay."""
    read: set[str] = set()

    def get_source(self: jinja2.FileSystemLoader, of: jinja2.Environment, template: str) -> object:
        read.add(template)
        return source(self, of, template)

    source = jinja2.FileSystemLoader.get_source
    monkeypatch.setattr(jinja2.FileSystemLoader, "get_source", get_source)
    environment.cache_clear()
    report = make_report(hostile(tmp_path), tmp_path).parent
    others = {"guide.html"}  # of another kind of study
    assert read | others == {path.name for path in (REPORT / "templates").iterdir()}, "a template that no page uses"
    pages = sorted(report.rglob("*.html"))
    assert len(pages) == 5
    for path in pages:
        text = path.read_text(encoding="utf-8")
        page = Page(text)
        assert "script" not in page.tags and set(page.attributes) <= ATTRIBUTES, path
        assert all(re.fullmatch(TAGS, tag) for tag in page.tags), path
        assert all(src.startswith("data:image/png;base64,") for src in page.attributes.get("src", []))
        assert all(re.fullmatch(r"[\w#./%=-]+", link) for link in page.attributes["href"]), path
        assert page.text.count(EVIL) > 20, "what is said stands there, letter by letter"
        assert "49" not in re.sub(r"\d[\d.,]*\d", "", page.text.replace(EVIL, "")), "what is said is no template"
        for words in ("&amp;amp;", "{{ 7 * 7 }}", "한국어", "العربية"):
            assert words in text
    assert EVIL.replace("|", "\\|") in (report / "table.md").read_text(encoding="utf-8")
    latex = (report / "table.tex").read_text(encoding="utf-8")
    assert r"\{\{ 7 * 7 \}\}\{\% endif \%\}\&amp;\$frac\{\$한국어" in latex and not re.search(r"(?<!\\)[&]amp", latex)


def test_what_a_template_lacks_is_an_error() -> None:
    """A name that was forgotten is no empty cell."""
    with pytest.raises(jinja2.UndefinedError, match="'run' is undefined"):
        render("run.html")


def test_only_files_without_html_are_not_escaped() -> None:
    """The Markdown and the LaTeX table alone turn escaping off, and nothing is declared safe."""
    for path in (REPORT / "templates").iterdir():
        text = path.read_text(encoding="utf-8")
        assert ("autoescape" in text) == (path.suffix in (".md", ".tex")), path
        assert not re.search(r"\|\s*safe\b|Markup", text), path


@pytest.mark.parametrize("path", sorted(REPORT.rglob("*.py")), ids=lambda path: path.name)
def test_python_holds_no_html(path: Path) -> None:
    """Pages are made by templates: no tag in a string, no escaping by hand."""
    text = path.read_text(encoding="utf-8")
    strings = [n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    assert not [string for string in strings if re.search(rf"</?(?:{TAGS})\b", string)]
    assert "Markup" not in text and not re.search(r"\bimport html\b|from html\b|\bescape\(", text)
