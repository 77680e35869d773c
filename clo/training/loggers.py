"""Where metrics go: metrics.jsonl in every run folder, and what the logger group names."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from clo.config.parse import RunConfig
from clo.storage.files import write_text
from clo.storage.jsonl import append_lines, read_lines, write_lines
from clo.storage.run_folder import RunFolder


class MetricsFile(Logger):
    """Appends one JSON object per logged step; a resumed stage first drops the lines after its checkpoint.

    Args:
        path: metrics.jsonl.
        stage: name written into every line.
    """

    def __init__(self, path: Path, stage: str) -> None:
        super().__init__()
        self.path, self.stage = path, stage

    @property
    def name(self) -> str:
        """Name for Lightning."""
        return "metrics"

    @property
    def version(self) -> str:
        """Version for Lightning."""
        return self.stage

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The run folder's config.yaml holds them."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one line."""
        record = {"stage": self.stage, "step": step, **metrics}
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        append_lines(self.path, [finite], sync=False)  # a resumed run rewinds it anyway

    def rewind(self, step: int) -> None:
        """Drop this stage's lines after ``step`` (those at it too when it is 0), and any torn line."""
        kept = [
            r
            for r in read_lines(self.path)
            if r.get("stage") != self.stage or 0 < r["step"] <= step or r["step"] < step
        ]
        write_lines(self.path, kept)


def write_csv(folder: RunFolder) -> None:
    """metrics.csv beside metrics.jsonl: one row per line, one column per name."""
    records = read_lines(folder.path / "metrics.jsonl")
    columns = list(dict.fromkeys(key for record in records for key in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(records)
    write_text(folder.path / "metrics.csv", text.getvalue())


def stage_loggers(run: RunConfig, folder: RunFolder, stage: str) -> list[Logger]:
    """The loggers of one stage; metrics.jsonl comes first."""
    loggers: list[Logger] = [MetricsFile(folder.path / "metrics.jsonl", stage)] if folder.main else []
    if run.logger.name == "wandb" and folder.main:
        from clo.training.tracking import stage_logger

        loggers.append(stage_logger(run, folder, stage))
    return loggers


def quiet_libraries() -> None:
    """Keep advertisements, per-file bars and notes on hardware out of the terminal; warnings stay."""
    import logging

    import transformers

    transformers.utils.logging.disable_progress_bar()
    for name in ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
