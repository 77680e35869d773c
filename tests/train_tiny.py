"""Trains a tiny model in a process of its own: with several ranks, or killed outright at a step.

Run as ``python tests/train_tiny.py FOLDER [method] [devices[:strategy]] [batch_size] [kill_stage kill_step]``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


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
    run_folder = RunFolder(Path(folder), main=is_main())
    run_folder.acquire("")
    fit_stages(run, tiny_runs.tuned(), tiny_runs.DATA, run_folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
