"""The stage that several methods begin with, trained once: NLL alone, on the same rows in the same order and so on.

SFT is the whole of one method and the first stage of others. The run that has trained it keeps its weights; a record
in the cache says where they lie, and the file's header what they were trained by. Who wants the same meanwhile waits.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clo.config.choices import Keep
from clo.config.parse import RunConfig, plain
from clo.data.items import Item
from clo.storage.files import read_object, write_json
from clo.storage.jsonl import read_lines
from clo.storage.progress import shared
from clo.storage.ranks import Ranks
from clo.storage.run_folder import RunFolder
from clo.training.checkpoint import stage_of
from clo.training.loggers import MetricsFile, stage_loggers
from clo.training.stage_plan import StagePlan


@dataclass(frozen=True)
class FirstStage:
    """One stage by all that decides its weights and its log."""

    digest: str
    record: Path
    """Of the cache: where a run has left the weights, and what they cost it."""
    name: str

    @contextmanager
    def taken(
        self, run: RunConfig, folder: RunFolder, done: Path, ranks: Ranks, spent: Callable[[], dict[str, float]]
    ) -> Iterator[dict[str, float]]:
        """Bring another run's weights to the file ``done``, or else have them trained in the block, for others too.

        Args:
            run: whose stage it is.
            folder: of the run.
            done: where to.
            ranks: of the run; the first one waits and copies for all.
            spent: what the training in the block cost, asked at its end.

        Yields:
            What another run's stage cost there; nothing: train it here.

        Raises:
            UserError: the cache cannot be written.
        """
        with shared(folder, self.record.with_suffix(".lock"), f"stage {self.name}"):
            cost = ranks.mains(lambda: self._take(run, folder, done))
            yield cost
            if not cost and folder.main:
                write_json(self.record, {"weights": str(done.resolve()), "cost": spent()})

    def _take(self, run: RunConfig, folder: RunFolder, done: Path) -> dict[str, float]:
        try:
            record = read_object(self.record)
            weights, cost = Path(record["weights"]), dict(record["cost"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        if stage_of(weights) != self.digest:  # the folder is gone, or was made again from something else
            return {}
        maker = weights.parents[1]
        if not self._lines(maker / "metrics.jsonl"):  # somebody has deleted it: a run without a log is none
            return {}
        self._copy_log(run, folder, maker)
        done.parent.mkdir(parents=True, exist_ok=True)
        _link(weights, done)
        print(f"stage {self.name}: trained by {maker.name}, {cost.get('seconds', 0):.0f} s", flush=True)
        return cost

    def _lines(self, log: Path) -> list[dict[str, Any]]:
        return [line for line in read_lines(log) if line.get("stage") == self.name]

    def _copy_log(self, run: RunConfig, folder: RunFolder, maker: Path) -> None:
        """The lines of this stage, to wherever the run logs."""
        watched = [MetricsFile(folder.path / "watched.jsonl", self.name)]
        for name, loggers in (("metrics", stage_loggers(run, folder, self.name)), ("watched", watched)):
            lines = self._lines(maker / f"{name}.jsonl")
            for logger in loggers:
                if isinstance(logger, MetricsFile):
                    logger.rewind(0)
                for line in lines:
                    values = {key: value for key, value in line.items() if key not in ("stage", "step")}
                    logger.log_metrics(values, line["step"])


def first_stage(
    run: RunConfig, plan: StagePlan, train: Sequence[Item], val: Sequence[Item], key: str
) -> FirstStage | None:
    """What other runs may train as well; None: the stage compares, or its weights are chosen by a rule.

    Args:
        run: the configuration that the stage is trained by.
        plan: of the stage.
        train: its items, in order.
        val: items of the held-out square, which its log holds.
        key: content hash of the weights it starts from.
    """
    objective = plan.objective
    if objective.comparisons() or objective.anchor or objective.replay or run.trainer.keep is not Keep.last:
        return None
    science = {name: value for name, value in run.science().items() if name != "method"}
    told = {
        **asdict(plan),
        "objective": [objective.nll_cells(), objective.nll_reduction.name, objective.lone, objective.codes],
    }
    hardware, keys = plain(run.trainer), [[item.key() for item in items] for items in (train, val)]
    text = json.dumps([key, science, told, objective.lam, hardware, keys], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return FirstStage(digest, Path(run.cache_dir) / "stages" / f"{digest}.json", plan.name)


def _link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where the file system has no such thing; whole or not at all."""
    temporary = target.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    os.replace(temporary, target)
