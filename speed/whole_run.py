"""A whole run at a model's true size: ``python -m speed.whole_run --side ours`` (a GPU and random weights).

Times the reference pass and a number of training steps, and scales both to all items: minutes, MFU and peak memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any

import torch

from clo.config.choices import Cells, Prompts
from clo.square.objective import Objective
from clo.training.throughput import peak_flops, step_flops
from speed.memory import _highest, factory
from speed.protocol import timed
from speed.report import _processor
from speed.sides import Setup

PLACES = {"ours": "speed.our_side:cached", "trl": "speed.trl_side:strongest"}


def main() -> None:
    """Measure one side; run it once per side, each in its own process."""
    parser = argparse.ArgumentParser(prog="python -m speed.whole_run", description=__doc__)
    parser.add_argument("--side", choices=sorted(PLACES), required=True)
    parser.add_argument("--shape", default="L8B")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--items", type=int, default=6400, help="items of the whole run (default 6400)")
    parser.add_argument("--batch", type=int, default=8, help="items per step (default 8)")
    parser.add_argument("--steps", type=int, default=200, help="steps that are timed (default 200)")
    parser.add_argument("--sort", action="store_true", help="length-sorted batches")
    asked = parser.parse_args()
    count = asked.batch * asked.steps
    setup = Setup(asked.shape, "table", count, asked.batch, "bf16", asked.device, sort=asked.sort, bf16_frozen=True)
    print(json.dumps(measure(setup, PLACES[asked.side], asked.items), indent=1))


def measure(setup: Setup, place: str, items: int) -> dict[str, Any]:
    """Seconds, MFU and memory of one side, scaled to ``items`` items of one epoch."""
    batches, side = setup.batches(), factory(place)(setup)
    side.prepare(batches[:1])
    for _ in range(3):
        side.step(0)
    side.reset()
    reference = timed(lambda: side.prepare(batches), side.device)
    seconds = [timed(lambda k=k: side.step(k), side.device) for k in range(len(batches))]
    cells = Objective(2, Cells.target, Prompts.both, setup.lam, setup.beta).cells()
    work = [step_flops(side.model, batch, cells) for batch in side.batches]
    peak = peak_flops(side.device, "bf16-mixed")
    scale = items / setup.count
    return {
        "side": side.name,
        "processor": _processor(setup.device),
        "torch": torch.__version__,
        "minutes": scale * (reference + sum(seconds)) / 60,
        "of which reference": scale * reference / 60,
        "median step, s": statistics.median(seconds),
        "mfu of the steps": None if peak is None else sum(work) / sum(seconds) / peak,
        "peak memory, GB": _highest(setup.device) / 1e9,
        "extrapolated from": f"{len(batches)} steps of {setup.batch} items to {items} items",
    }


if __name__ == "__main__":
    main()
