"""Pages of the site that are no files of docs/: README, CONTRIBUTING, CHANGELOG, and the docstrings of every room.

Links are written for readers of the repository; here those that lead out of docs/ are turned to where the site has the
same. A file that is no page is copied to the site's ``files/``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""File of the repository -> page of the site."""
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")


def rooms() -> dict[str, list[str]]:
    """Room -> its modules, the room itself first."""
    found: dict[str, list[str]] = {"clo": ["clo.errors"]}
    for path in sorted((ROOT / "clo").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = ".".join(parts).removesuffix(".__init__")
        if len(parts) > 2 and not parts[-1].startswith("__m"):
            found.setdefault(parts[1], []).append(module)
    return found


def on_config(config: Any) -> Any:
    """The docstrings at the end of the navigation."""
    config.nav = [*config.nav, {"Docstrings": [{room: f"api/{room}.md"} for room in rooms()]}]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages, and the files that pages of docs/ name beside them."""
    for name, page in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_of_root(text, files, config)))
    for room, modules in rooms().items():
        text = "\n\n".join([f"# {room}", *(f"::: {module}" for module in modules)])
        files.append(File.generated(config, f"api/{room}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links of a page of docs/ that lead out of it."""
    if page.file.generated_by:
        return markdown
    return LINK.sub(lambda link: _turned(link, "../", files, config), markdown)


def _of_root(text: str, files: Files, config: Any) -> str:
    """A page of the repository's root: without badges, which are other hosts' pictures, and with the site's links."""
    text = re.sub(r"^\[!\[.*\n", "", text, flags=re.MULTILINE)
    return LINK.sub(lambda link: _turned(link, "", files, config), text)


def _turned(link: re.Match[str], up: str, files: Files, config: Any) -> str:
    """A link as the site has it: ``docs/x.md`` is ``x.md`` there, and so on."""
    target, anchor = link[1], link[2] or ""
    if ":" in target or not target.startswith(up) or (up and target.startswith("../../")):
        return link[0]
    name = target.removeprefix(up)
    if name in PAGES:
        return f"]({PAGES[name]}{anchor})"
    if name.startswith("docs/"):
        return f"]({name.removeprefix('docs/')}{anchor})"
    if not (ROOT / name).is_file():
        return link[0]  # mkdocs says that it is broken
    copy = f"files/{name}.txt"
    if files.get_file_from_path(copy) is None:
        files.append(File.generated(config, copy, content=(ROOT / name).read_text(encoding="utf-8")))
    return f"]({copy})"
