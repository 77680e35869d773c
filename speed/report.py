"""What a result says about itself, where it is kept, and how it is shown."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from speed.equality import Equality, equality_table
from speed.memory import Peak
from speed.protocol import Time, ratio
from speed.shapes import lengths_of
from speed.sides import Setup

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("clo", "transformers", "trl", "accelerate", "pytorch-lightning")
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
SETTINGS = ("OMP_NUM_THREADS", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "LD_PRELOAD", "PYTORCH_CUDA_ALLOC_CONF")


def header(setup: Setup) -> dict[str, Any]:
    """Everything that a number depends on; the version of torch names its build (+cpu, +cu130)."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "versions": {"torch": str(torch.__version__), **{name: version_of(name) for name in PACKAGES}},
        "processor": _processor(setup.device),
        "threads": torch.get_num_threads(),
        "flush_denormal": _flushes_denormals(),
        "settings": {name: os.environ[name] for name in SETTINGS if name in os.environ},
        "setup": asdict(setup),
        "trains": "attention projections",
        "lengths": lengths_of(setup.items()),
        "lengths_from": setup.source(),
    }


def version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _processor(device: str) -> dict[str, Any]:
    if device.startswith("cuda"):
        major, minor = torch.cuda.get_device_capability(device)
        return {"gpu": torch.cuda.get_device_name(device), "capability": f"{major}.{minor}", "cuda": torch.version.cuda}
    fields: dict[str, str] = {}
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.is_file() else []:
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    present = fields.get("flags", "").split()
    return {"cpu": fields.get("model name", platform.processor()), "flags": {f: f in present for f in FLAGS}}


def _flushes_denormals() -> bool:
    return float(torch.tensor([1e-39]).mul(0.5)) == 0.0


def records(
    setup: Setup, equality: Iterable[Equality], times: Iterable[Time], memory: Mapping[str, Peak]
) -> list[dict[str, Any]]:
    """A whole result as one JSON object per line, the header first."""
    return [
        {"kind": "header", **header(setup)},
        *({"kind": "equality", **asdict(one)} for one in equality),
        *({"kind": "time", **asdict(one)} for one in times),
        *({"kind": "memory", "side": side, **asdict(peak)} for side, peak in memory.items()),
    ]


def save(lines: Sequence[Mapping[str, Any]], folder: Path = RESULTS) -> Path:
    """Write a result to a new file named after its setup and time."""
    setup, when = lines[0]["setup"], lines[0]["time"].replace(":", "").replace("-", "")
    path = folder / f"{setup['shape']}-{setup['precision']}-{setup['device'].split(':')[0]}-{when}.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def read(path: Path) -> tuple[dict[str, Any], list[Equality], list[Time], dict[str, Peak]]:
    """Header, equality, times and memory of a saved result."""
    groups: dict[str, list[dict[str, Any]]] = {"header": [], "equality": [], "time": [], "memory": []}
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        groups[record.pop("kind")].append(record)
    memory = {record.pop("side"): Peak(**record) for record in groups["memory"]}
    equality, times = [Equality(**r) for r in groups["equality"]], [Time(**r) for r in groups["time"]]
    return groups["header"][0], equality, times, memory


def table(times: Sequence[Time], bases: Sequence[str], memory: Mapping[str, Peak] | None = None) -> str:
    """Markdown: one row per side, a column of ratios per base; a noisy ratio is refused, not shown."""
    memory = memory or {}
    heads = ["side", "s/step, median", "response tok/s", *(f"x vs {base}" for base in bases)]
    heads += ["peak in step, MiB"] if memory else []
    rows = [heads, ["---"] * len(heads)]
    for side in dict.fromkeys(t.side for t in times):
        mine = [t for t in times if t.side == side]
        speed = sum(t.tokens for t in mine) / sum(t.seconds for t in mine)
        row = [side, f"{statistics.median(t.seconds for t in mine):.3f}", f"{speed:,.0f}"]
        row += ["1" if side == base else ratio(times, side, base).verdict() for base in bases]
        if memory:
            row.append(f"{memory[side].step / 2**20:,.0f}" if side in memory else "")
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def document(path: Path, command: str) -> str:
    """Markdown section of one saved result: what was measured, on what, the tables, and the command for it."""
    head, equality, times, memory = read(path)
    setup, versions = head["setup"], head["versions"]
    names = list(dict.fromkeys(t.side for t in times))
    lengths = ", ".join(f"{name} {sizes['mean']:.0f}" for name, sizes in head["lengths"].items())
    rounds = 1 + max(t.round for t in times)
    return "\n".join(
        [
            f"### {setup['shape']}, {setup['precision']}{', length-sorted batches' if setup['sort'] else ''}",
            "",
            f"`{command}`",
            "",
            f"{setup['batch']} items per step, {rounds} rounds over {setup['count']} items; mean tokens {lengths}; "
            f"{_machine(head)}; torch {versions['torch']}, transformers {versions['transformers']}, "
            f"trl {versions['trl']}; "
            f"{head['time'][:10]}.",
            "",
            table(times, names[:2], memory),
            "",
            "Largest errors against float64 (loss and gradient, relative) and against the first row (five steps):",
            "",
            equality_table(equality),
            "",
        ]
    )


def _machine(head: Mapping[str, Any]) -> str:
    processor = head["processor"]
    if "gpu" in processor:
        return str(processor["gpu"])
    flags = ", ".join(name for name, present in processor["flags"].items() if present)
    return f"{processor['cpu']} ({flags}), {head['threads']} thread"
