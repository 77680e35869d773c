"""A measurement on one GPU: ``make gpu``, or ``python -m speed.gpu``.

Checks the versions and the card, runs the tests that need a GPU, holds both sides against float64 at a true-width
model of four layers and times them there in interleaved rounds, then times ours (through the training loop of real
runs) and TRL at the whole model with random weights, each in a process of its own. Writes one JSON file, a table and a
profiler's trace. ``--device cpu --shape tiny`` walks the same path without a GPU.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speed.all import PAGE
from speed.report import PACKAGES, RESULTS, version_of

BEGIN, END = "<!-- gpu results -->\n", "<!-- end of gpu results -->"
CASES: tuple[dict[str, Any], ...] = (
    {"side": "ours", "compile": True, "max_tokens": 16384, "trace": "trace"},
    {"side": "ours", "compile": True},
    {"side": "trl strongest"},
    {"side": "trl strongest", "sort": True},
    {"side": "ours", "compile": True, "max_tokens": 16384, "sort": True},
    {"side": "trl strongest", "compile": True},
    {"side": "trl strongest", "compile": True, "sort": True},
    {"side": "trl stock"},
    {"side": "ours", "compile": True, "max_tokens": 16384, "checkpointing": True},
    {"side": "trl strongest", "compile": True, "checkpointing": True},
    {"side": "ours"},
)
"""What is measured at the whole model; equal items per step on every side."""
QUERY = "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit,temperature.gpu,memory.total"


def main() -> None:
    """Measure, save and print; with ``--write`` the page of results too."""
    asked = _parser().parse_args()
    began = time.perf_counter()
    report: dict[str, Any] = {"card": card(asked.device), "cases": []}
    print(json.dumps(report["card"], indent=1), flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"gpu-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    if not asked.no_tests:
        report["tests"] = _tests()
    if not asked.no_rounds:
        report["rounds"] = _rounds(asked)
    for number, case in enumerate(CASES if asked.cases is None else [CASES[k] for k in asked.cases]):
        left = 60 * asked.minutes - (time.perf_counter() - began)
        if left < 20:
            print(f"{asked.minutes} minutes are over; {len(CASES) - number} cases were left out", flush=True)
            break
        report["cases"].append(_case(case, asked, left, path))
        path.write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(table(report))
    print(f"saved {path}")
    if asked.write:
        head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}\n{table(report)}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m speed.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shape", default="L8B", help="of the whole model (default L8B)")
    parser.add_argument("--small", default="L8B4", help="held against float64 (default L8B4: four layers of L8B)")
    parser.add_argument("--items", type=int, default=32, help="items per optimizer step (default 32)")
    parser.add_argument("--steps", type=int, default=6, help="steps per case; the first is a warm-up (default 6)")
    parser.add_argument("--cases", type=int, nargs="*", help="numbers of the cases, from 0; default all")
    parser.add_argument("--minutes", type=float, default=30, help="begin no case after this long (default 30)")
    parser.add_argument("--no-tests", action="store_true", help="leave the tests out")
    parser.add_argument("--no-rounds", action="store_true", help="leave the four layers out")
    parser.add_argument("--write", action="store_true", help="put the table into docs/speed.md")
    return parser


def card(device: str) -> dict[str, Any]:
    """Versions, and the card as it is found: its settings are left alone."""
    import torch

    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: version_of(name) for name in PACKAGES},
    }
    if device != "cuda":
        return {"name": f"{platform.processor() or platform.machine()} (no GPU)", **found}
    if not torch.cuda.is_available():
        sys.exit("no GPU is visible; `--device cpu --shape tiny --small tiny` walks the same path without one")
    asked = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"]
    values = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip().splitlines()
    return {**dict(zip(QUERY.split(","), values[0].split(", ") if values else [], strict=False)), **found}


def _tests() -> str:
    """The last line of the tests that need a GPU."""
    root = Path(__file__).resolve().parents[1]
    files = sorted(str(path) for path in (root / "tests").rglob("test_gpu*.py"))
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-n", "4", "--durations=0", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False, cwd=root)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "E  ")) or " in " in line]
    print("\n".join(lines[-20:]), flush=True)
    return lines[-1] if lines else done.stderr[-500:]


def _rounds(asked: argparse.Namespace) -> str:
    """Equality with float64 and interleaved rounds at four layers, as the tables that they print."""
    sides = ["speed.trl_side:stock", "speed.trl_side:strongest", "speed.our_side:cached", "speed.our_side:charged"]
    words = f"--shape {asked.small} --device {asked.device} --precision bf16 --bf16_frozen --lang sw"
    words += " --count 16 --batch 8 --check 1 --rounds 5 --no-memory"
    command = [sys.executable, "-m", "speed", *words.split(), *[word for side in sides for word in ("--side", side)]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    text = done.stdout if done.returncode == 0 else done.stdout + done.stderr[-2000:]
    print(text, flush=True)
    return text


def _case(case: Mapping[str, Any], asked: argparse.Namespace, limit: float, path: Path) -> dict[str, Any]:
    """One side in a process of its own; a failure is part of the report."""
    whole = {**case, "shape": asked.shape, "device": asked.device, "items": asked.items, "steps": asked.steps}
    if case.get("trace"):
        whole["trace"] = str(path.with_suffix(".trace.json"))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "speed.gpu_sides", json.dumps(whole)],
            capture_output=True,
            text=True,
            check=False,
            timeout=limit,
            env={**os.environ, "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"},
        )
    except subprocess.TimeoutExpired:
        return {"case": whole, "failed": f"not done within {limit:.0f} s"}
    if done.returncode != 0:
        print(f"{whole}: {done.stderr[-600:]}", flush=True)
        return {"case": whole, "failed": done.stderr[-600:]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if case.get("trace") and Path(whole["trace"]).is_file():
        with open(whole["trace"], "rb") as plain, gzip.open(f"{whole['trace']}.gz", "wb") as packed:
            shutil.copyfileobj(plain, packed)
        Path(whole["trace"]).unlink()
    shown = {k: v for k, v in found.items() if k not in ("kernels", "case", "losses")}
    print(json.dumps(shown), flush=True)
    return found


def table(report: Mapping[str, Any]) -> str:
    """Markdown: the card, the rounds, and one row per case; ratios are of items per second."""
    head = ", ".join(f"{name} {value}" for name, value in report["card"].items())
    done = [case for case in report["cases"] if "failed" not in case]
    columns = ["side", "items/s", "of TRL strongest", "MFU", "step, GB", "first step, s", "6,400 items, min"]
    rows = [columns, ["---"] * len(columns)]
    for case in done:
        rivals = [c["items/s"] for c in done if c["case"]["side"] == "trl strongest" and _alike(c, case)]
        ratio = f"{case['items/s'] / max(rivals):.2f}x" if rivals else "-"
        cells = [f"{case['items/s']:.1f}", ratio, f"{100 * case['mfu']:.0f} %", f"{case['peak of a step, GB']:.1f}"]
        cells += [f"{case['first step, s']:.1f}", f"{case['6,400 items with references, minutes']:.1f}"]
        passes = f" ({case['items per pass']} items per pass)" if "items per pass" in case else ""
        rows.append([case["name"] + passes, *cells])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    failed = [f"{case['case']}: {case['failed'].splitlines()[-1]}" for case in report["cases"] if "failed" in case]
    parts = [head, f"Tests: {report['tests']}" if "tests" in report else "", report.get("rounds", "")]
    parts += ["\n".join(lines), *failed]
    return "\n\n".join(part for part in parts if part) + "\n"


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one["case"]["sort"] == other["case"]["sort"])


if __name__ == "__main__":
    main()
