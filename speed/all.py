"""Every comparison of docs/speed.md: ``make speed``. Each is a process of its own with one printed command."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from speed.report import RESULTS, document

SIDES = (
    "speed.trl_side:stock",
    "speed.trl_side:strongest",
    "speed.our_side:cached",
    "speed.our_side:charged",
)
CASES = (
    "--shape S32 --precision fp32 --count 6 --batch 3 --check 1",
    "--shape S32 --precision bf16 --bf16_frozen --count 6 --batch 3 --check 1",
    "--shape S128 --precision fp32 --count 2 --batch 1 --check 1",
    "--shape S128 --precision bf16 --bf16_frozen --count 2 --batch 1 --check 1",
    "--shape R8B --precision fp32 --count 6 --batch 3 --check 1",
    "--shape R8B --precision fp32 --count 6 --batch 3 --check 1 --sort",
    "--shape R8B --precision bf16 --bf16_frozen --count 6 --batch 3 --check 1",
)
"""Options of ``python -m speed``; lengths are those of real Swahili instruction rows unless --lang says other."""


PAGE = Path(__file__).resolve().parents[1] / "docs" / "speed.md"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->"


def main() -> None:
    """Run all cases, then put their tables into the page."""
    sections = []
    for case in CASES:
        options = f"--lang sw {case} {' '.join(f'--side {side}' for side in SIDES)}"
        print(f"\n$ python -m speed {options}", flush=True)
        before = set(RESULTS.glob("*.jsonl"))
        subprocess.run([sys.executable, "-m", "speed", *shlex.split(options)], check=True)
        (path,) = set(RESULTS.glob("*.jsonl")) - before
        sections.append(document(path, f"python -m speed {options}"))
    head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(head + BEGIN + "\n" + "\n".join(sections) + END + rest.split(END)[1], encoding="utf-8")
    print(f"\nwritten to {PAGE}")


if __name__ == "__main__":
    main()
