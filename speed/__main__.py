"""Run a comparison: ``python -m speed --shape S128 --side speed.trl_side:stock --side ...``."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import fields

from speed.sides import Setup

SIDES = ["speed.trl_side:stock", "speed.trl_side:strongest", "speed.trl_side:strongest_sorted"]
"""Sides that run when none is named; the first two are the bases of the ratios."""

ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**36), "OMP_NUM_THREADS": "1"}
"""For every side: memory of large tensors is kept, else page faults are what is measured."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Check equality, time, measure memory, save and print."""
    options = _parser().parse_args(arguments)
    if not ALLOCATOR.keys() <= os.environ.keys():  # glibc reads them at the start of a process
        given = sys.argv[1:] if arguments is None else list(arguments)
        os.execve(sys.executable, [sys.executable, "-m", "speed", *given], {**ALLOCATOR, **os.environ})
    warnings.filterwarnings("ignore")
    setup = Setup(**{field.name: getattr(options, field.name) for field in fields(Setup)})
    _run(setup, options.side or SIDES, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m speed", description=__doc__)
    for field in fields(Setup):
        default = field.default
        if isinstance(default, bool):
            parser.add_argument(f"--{field.name}", action="store_true")
        else:
            parser.add_argument(f"--{field.name}", type=type(default), default=default, help=f"default {default}")
    parser.add_argument("--side", action="append", help="module:function that builds a side from a Setup; repeatable")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warmups", type=int, default=1)
    parser.add_argument("--check", type=int, default=2, help="items per batch that are held against float64 (slow)")
    parser.add_argument("--no-memory", action="store_true", help="skip the fresh processes that measure memory")
    return parser


def _run(setup: Setup, places: Sequence[str], options: argparse.Namespace) -> None:
    import torch

    from speed.memory import factory, peak_memory
    from speed.naive import Oracle
    from speed.protocol import TOLERANCES, assert_equal, rounds
    from speed.report import records, save, table
    from speed.shapes import SHAPES

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.set_flush_denormal(True)
    batches = setup.batches()
    print(f"{setup}\n{setup.source()}", flush=True)
    sides = {place: factory(place)(setup) for place in places}
    checked = [batch[: options.check] for batch in batches[:2]]
    for side in sides.values():
        side.prepare(checked)
    oracle = Oracle(setup.model(), setup.beta, setup.lam)
    wide = " wide" if setup.precision == "bf16" and SHAPES[setup.shape].hidden >= 4096 else ""
    equality = assert_equal(list(sides.values()), oracle, checked, TOLERANCES[setup.precision + wide])
    del oracle
    for side in sides.values():
        side.prepare(batches)
    times = rounds(list(sides.values()), batches, options.rounds, options.warmups)
    names = {place: side.name for place, side in sides.items()}
    del sides
    memory = {} if options.no_memory else {names[place]: peak_memory(place, setup) for place in places}
    print(table(times, list(names.values())[:2], memory))
    print(f"saved {save(records(setup, equality, times, memory))}")


if __name__ == "__main__":
    main()
