"""Links between the pages lead somewhere, site or no site; the site builds without a warning, from here alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
if not (ROOT / "mkdocs.yml").is_file():
    pytest.skip("not a checkout of the repository", allow_module_level=True)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(path: Path) -> str:
    return FENCED.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """The names that GitHub and the site give to a page's headings."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading).strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return found


def broken(path: Path) -> list[str]:
    """Links of a page, to files or headings that are not there."""
    wrong = []
    for link in LINK.findall(prose(path)):
        if ":" in link.partition("#")[0]:
            continue  # another host: nothing is fetched here
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One `thing`, two\n[a](#one-thing-two) [b](#three) [c](no.md) [d](https://x.y)\n", encoding="utf-8"
    )
    assert broken(page) == ["#three", "no.md"]


def test_every_page_is_in_the_navigation() -> None:
    text = re.sub(r"!!python/object/apply:\S+ \{.*\}", "x", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    entries = [entry if isinstance(entry, str) else next(iter(entry.values())) for entry in yaml.safe_load(text)["nav"]]
    own = {"index.md", "contributing.md", "changelog.md"}
    assert set(entries) - own == {path.name for path in (ROOT / "docs").glob("*.md")} and len(entries) == len(
        set(entries)
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if any(find_spec(name) is None for name in ("mkdocs", "material", "mkdocstrings")):
        pytest.skip("builds the site: pip install 'clo[docs]'")
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(place)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return place


def test_the_site_has_every_page_and_every_room(site: Path) -> None:
    pages = {path.parent.name for path in site.glob("*/index.html")}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= pages and (site / "index.html").is_file()
    rooms = {path.parent.name for path in (ROOT / "clo").glob("*/__init__.py")}
    assert {path.parent.name for path in site.glob("api/*/index.html")} == rooms | {"clo"}
    assert "Peak learning rate of a method" in (site / "api" / "config" / "index.html").read_text(encoding="utf-8")
    assert not list(site.rglob("pages.py"))


def test_the_site_loads_nothing_from_other_hosts(site: Path) -> None:
    """Links may lead away; scripts, styles, fonts and pictures are the site's own."""
    loads = re.compile(
        r"<(?:script|img|iframe|source)[^>]*\ssrc=\"(?:https?:)?//[^\"]*|<link[^>]*href=\"(?:https?:)?//[^\"]*"
    )
    for path in site.rglob("*.html"):
        found = [hit for hit in loads.findall(path.read_text(encoding="utf-8")) if 'rel="canonical"' not in hit]
        assert found == [], path
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.findall(r"url\([\"']?(?:https?:)?//[^)]*\)", styles)
