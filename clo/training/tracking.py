"""Weights & Biases: one run per cell, from its first stage to its results, and finished on failure too.

Nothing here is imported unless ``logger=wandb``. What is sent: the configuration without places and hardware, metrics,
the square, sample answers and the run folder's small files; never an environment variable.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from clo.config.parse import RunConfig
from clo.errors import UserError, cause
from clo.storage.artifacts import log_files
from clo.storage.files import read_object, write_json
from clo.storage.jsonl import read_lines
from clo.storage.run_folder import RunFolder

SAMPLES = 200
"""Rows of the table of answers."""
ID = "wandb.json"
"""In a run's folder: the id of its W&B run, under which a run that was killed goes on."""
FILES = ("config.yaml", "results.json", "metrics.csv", "samples.jsonl", "watched.jsonl")


def stage_logger(run: RunConfig, folder: RunFolder, stage: str) -> Any:
    """Lightning's logger on the cell's run, which is opened by the first stage and resumed by its id after a kill.

    A method of two stages prefixes the names of its metrics: both count their steps from 1.

    Raises:
        UserError: nobody is logged in, or the server cannot be reached.
    """
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    wandb.setup(settings=wandb.Settings(silent=True))  # it writes 40 lines; where the run is stands in one (`finish`)
    logger = WandbLogger(
        project=run.logger.project,
        entity=run.logger.entity,
        name=run.slug(),
        id=os.environ.get("WANDB_RUN_ID") or _run_id(run, folder),  # a sweep's agent names its runs itself
        resume="allow",
        group=run.study_name,
        save_dir=str(folder.path),
        prefix=stage if run.method.sft_first is not None else "",
        config={"clo": run.science()},
    )
    try:
        _ = logger.experiment  # opens the run
    except wandb.errors.Error as error:
        raise UserError(
            f"logger=wandb cannot open a run ({cause(error)}); run `wandb login`, set WANDB_MODE=offline to send it "
            "later, or use logger=csv"
        ) from error
    return logger


def close(folder: RunFolder, failed: bool) -> None:
    """Send the results and close the cell's W&B run; an open one would swallow what comes next."""
    from importlib.util import find_spec

    if find_spec("wandb") is None:  # refused already, in one sentence
        return
    try:
        if not failed:
            log_outcome(folder)
    finally:
        finish(failed)


def _run_id(run: RunConfig, folder: RunFolder) -> str:
    """The folder's own: one of the same name in another study, or made again after it was deleted, is another run."""
    place = folder.path / ID
    try:
        return str(read_object(place)["id"])
    except (OSError, ValueError, KeyError):
        made = f"{run.slug()}-{secrets.token_hex(4)}"
        write_json(place, {"id": made})
        return made


def log_outcome(folder: RunFolder) -> None:
    """Scores as the run's summary, the square as a heat map, answers as a table, the small files as an artifact."""
    import wandb

    if wandb.run is None:  # every stage was finished before this process began
        return
    results = folder.results()
    for name, value in _numbers(results["scores"]):
        wandb.run.summary[name] = value
    columns = ("id", "side", "group", "prompt", "reference", "answer", "verdict", "chrf")
    files = [folder.path / "samples.jsonl", *sorted(folder.path.glob("*/samples.jsonl"))]  # of several targets
    samples = [sample for own in zip_longest(*map(read_lines, files)) for sample in own if sample][:SAMPLES]
    rows = [[sample[column] for column in columns] for sample in samples]
    answers = wandb.Table(columns=list(columns), data=rows)
    wandb.run.log({"square": wandb.Image(_square(results["square"])), "answers": answers})
    log_files(results["run"], "results", [folder.path / name for name in FILES])


def _numbers(scores: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """``target/chrf`` and so on; of several targets ``sw/target/chrf``."""
    for code, own in scores.get("targets", {"": scores}).items():
        for side in ("target", "en"):
            for name, value in own[side]["all"].items():
                if isinstance(value, int | float):
                    yield f"{code}/{side}/{name}".removeprefix("/"), value


def finish(failed: bool) -> None:
    """Close the run, if one is open, and say where it is."""
    import wandb

    if wandb.run is not None:
        folder = Path(wandb.run.dir).parent
        place = wandb.run.url if not wandb.run.offline else f"kept in {folder}; `wandb sync {folder}` sends it"
        print(f"W&B: {place}")
    wandb.finish(exit_code=int(failed))


def _square(square: dict[str, Any]) -> Any:
    """Per-token log-probs of every response under every prompt, before and after."""
    import numpy
    from matplotlib.figure import Figure

    languages = square["languages"]
    before, after = (numpy.array(square[when], dtype=float) for when in ("before", "after"))  # NaN: no item has it
    figure = Figure(figsize=(6, 3), layout="constrained")
    low, high = (pick([before, after]) for pick in (numpy.nanmin, numpy.nanmax))
    for axes, grid, title in zip(figure.subplots(1, 2), (before, after), ("before", "after"), strict=True):
        axes.imshow(grid, vmin=low, vmax=high, cmap="viridis")
        axes.set_xticks(range(len(languages)), languages)
        axes.set_yticks(range(len(languages)), languages)
        axes.set(title=title, xlabel="response in", ylabel="prompt in")
        for i, row in enumerate(grid):
            for j, value in enumerate(row):
                colour = "black" if value > (low + high) / 2 else "white"
                axes.text(j, i, "" if math.isnan(value) else f"{value:.2f}", ha="center", va="center", color=colour)
    from io import BytesIO

    from PIL import Image

    picture = BytesIO()
    figure.savefig(picture, dpi=120)
    return Image.open(picture)
