"""Trains a tiny model in a process of its own: with several ranks, killed outright at a step, or short of memory.

Run as ``python tests/train_tiny.py FOLDER [method] [devices[:strategy]] [batch_size] [kill_stage kill_step]``. With
``room TOKENS`` in place of the last two every rank but the first runs out of memory above so many tokens of a pass.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any


def main(folder: str, name: str = "clo", devices: str = "1", batch: str = "4", *kill: str) -> None:
    import tiny_runs

    from clo.storage.ranks import is_main
    from clo.storage.run_folder import RunFolder
    from clo.training.loggers import MetricsFile
    from clo.training.stages import fit_stages

    count, _, strategy = devices.partition(":")
    strategy = strategy or ("ddp" if count != "1" else "auto")
    run = tiny_runs.run_config(Path(folder), name, devices=int(count), strategy=strategy)
    run.batch_size = int(batch)
    log = MetricsFile.log_metrics

    def log_or_die(self: MetricsFile, metrics: dict[str, float], step: int | None = None) -> None:
        if kill and (self.stage, step) == (kill[0], int(kill[1])) and "train/loss" in metrics:
            os._exit(9)
        log(self, metrics, step)

    MetricsFile.log_metrics = log_or_die  # type: ignore[method-assign]
    model = tiny_runs.tuned()
    if kill and kill[0] == "room":
        give_room(model, int(kill[1]), endless=is_main())
    run_folder = RunFolder(Path(folder), main=is_main())
    run_folder.acquire("")
    fit_stages(run, model, tiny_runs.DATA, run_folder)


def give_room(model: Any, tokens: int, endless: bool = False) -> None:
    """A device whose memory ends in the last layer, where a pass has more tokens."""
    import torch

    import clo.training.budget

    def fill(_: Any, args: tuple[Any, ...]) -> None:
        if args[0].shape[1] > tokens:
            raise torch.OutOfMemoryError("no memory")

    clo.training.budget.limited = lambda device: True
    if not endless:
        model.model.layers[-1].mlp.register_forward_pre_hook(fill)


if __name__ == "__main__":
    main(*sys.argv[1:])
