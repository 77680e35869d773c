"""A strict look at LaTeX: braces, environments, columns of every row, and signs that want escaping."""

from __future__ import annotations

import re

COLUMN = re.compile(r"[lcr]|p\{[^{}]*\}")
ENTITY = re.compile(r"\\begin\{(\w+)\}|\\end\{(\w+)\}")
ROW_END = re.compile(r"\\\\")
NO_ROWS = re.compile(r"\\(?:toprule|midrule|bottomrule|addlinespace|cmidrule\(lr\)\{\d+-\d+\})")
MULTI = re.compile(r"\\multicolumn\{(\d+)\}\{[lcr]\}")


def faults(text: str) -> list[str]:
    """What is wrong with a file; empty where nothing is."""
    body = "\n".join(re.sub(r"(?<!\\)%.*", "", line) for line in text.splitlines())
    found = [*_braces(body), *_environments(body), *_maths(body)]
    for spec, content in re.findall(r"\\begin\{tabular\}\{((?:[^{}]|\{[^{}]*\})*)\}(.*?)\\end\{tabular\}", body, re.S):
        found += _rows(spec, content)
    plain = re.sub(r"\\[a-zA-Z]+\*?|\\.", "", re.sub(r"\$[^$]*\$", "", body))
    if "\\begin{document}" not in text and (bare := re.findall(r"[#_^<>|\"~]", plain)):
        found.append(f"unescaped {sorted(set(bare) - {'~'})}" if set(bare) - {"~"} else "")
    return [one for one in found if one]


def _braces(body: str) -> list[str]:
    depth = 0
    for char in re.findall(r"\\.|[{}]", body):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if depth < 0:
            return ["a brace closes that none opened"]
    return [f"{depth} braces are open"] if depth else []


def _environments(body: str) -> list[str]:
    opened: list[str] = []
    for begin, end in ENTITY.findall(body):
        if begin:
            opened.append(begin)
        elif not opened or opened.pop() != end:
            return [f"{end} ends that was not begun"]
    return [f"{name} has no end" for name in opened]


def _maths(body: str) -> list[str]:
    return ["an odd dollar"] if len(re.findall(r"(?<!\\)\$", body)) % 2 else []


def _rows(spec: str, content: str) -> list[str]:
    rest = COLUMN.sub("", spec)
    found = [f"unknown column {rest}"] if rest else []
    columns = len(COLUMN.findall(spec))
    *rows, last = ROW_END.split(content)
    for row in rows:
        cells = NO_ROWS.sub("", row).strip()
        spans = sum(int(n) - 1 for n in MULTI.findall(cells))
        if (count := len(re.findall(r"(?<!\\)&", cells)) + 1 + spans) != columns:
            found.append(f"{count} cells under {columns} columns: {cells[:60]}")
    return found + ([f"after the last row: {last.strip()[:40]}"] if NO_ROWS.sub("", last).strip() else [])
