"""What a stage's comparisons and its anchor refer to, made with the weights it starts from and kept on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from clo.data.batch import every_cell
from clo.square.anchor import Likely, LikelyCache
from clo.square.reference import BLOCK, ReferenceCache
from clo.square.share import Share
from clo.storage.progress import stage, waits_in
from clo.storage.run_folder import RunFolder
from clo.training.module import CLOModule
from clo.training.stage_plan import StageData


def stage_references(kept: Path, data: StageData, folder: RunFolder, module: CLOModule) -> dict[str, Tensor]:
    """Reference scores of training and held-out items, filled over all ranks."""
    whole = every_cell(data.train)
    # The square of two languages is what all methods share; a larger one has cells that a method never reads.
    cells = whole if len(whole) <= 4 else module.plan.objective.cells()
    share = _share(module)
    found: dict[str, Tensor] = {}
    for items in (data.train, data.val):
        cache = ReferenceCache(kept, module.base.key, cells)
        args = (module.model, items, module.budget.max_tokens)
        with stage(folder, "reference scores") as tick:
            waits = waits_in(folder, "reference scores")
            found |= cache.scores(*args, share, progress=tick, waits=waits)
        if share.ranks > 1:
            torch.distributed.barrier()
            found |= cache.scores(*args, replace(share, rank=0, ranks=1))  # read, or made where it cannot be seen
    # Nothing of a replayed row is compared.
    return found | {item.key(): torch.zeros(whole[-1][0] + 1, whole[-1][1] + 1) for item in data.replayed}


def stage_likely(kept: Path, data: StageData, count: int, module: CLOModule) -> dict[str, Likely]:
    """The start's most likely tokens on the source's training answers, made over all ranks."""
    share = _share(module)
    cache = LikelyCache(kept, module.base.key, count, BLOCK)
    found = cache.tokens(module.model, data.train, module.budget.max_tokens, share)
    if share.ranks > 1:
        torch.distributed.barrier()
        found = cache.tokens(module.model, data.train, module.budget.max_tokens, replace(share, rank=0, ranks=1))
    return found


def _share(module: CLOModule) -> Share:
    engine = module.engine
    return Share(engine.rank, engine.ranks, most=engine.most if engine.lockstep else None)
