"""Random square items and small configurations, for tests that score and train tiny models."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_model
from torch import Tensor

import clo.training.terms
from clo.config import (
    EvaluationConfig,
    LoraConfig,
    MethodConfig,
    OptimizerConfig,
    SftStage,
    TrainerConfig,
    TuningConfig,
)
from clo.config.choices import Anchor, Cells, Prompts, Trains
from clo.config.parse import RunConfig
from clo.data.items import Item
from clo.model.tuning import apply_tuning
from clo.square.objective import Objective
from clo.square.reference import snapshot
from clo.square.scores import Scores
from clo.storage.run_folder import RunFolder
from clo.training.stage_plan import StageData
from clo.training.stages import fit_stages

torch.set_num_threads(1)  # equal bits need an equal number of threads

CLO = Objective(2, Cells.target, Prompts.both, 0.7, 0.2)
CLO_EN_NLL = Objective(2, Cells.diagonal, Prompts.both, 0.6, 0.3)
METHODS = {
    "clo": CLO,
    "clo_en_nll": CLO_EN_NLL,
    "sft": Objective(2, Cells.diagonal, Prompts.none, 1.0, 0.1),
    "sft_en": Objective(2, Cells.source, Prompts.none, 1.0, 0.1),
    "sft_target": Objective(2, Cells.target, Prompts.none, 1.0, 0.1),
    "dpo": Objective(2, Cells.none, Prompts.both, 0.0, 0.5),
}
"""The objectives of the method files; ``dpo`` is the second stage of sft_dpo."""
ATTENTION = TuningConfig()
LORA = TuningConfig("attention_lora", Trains.attention, LoraConfig(r=4, alpha=8.0))


def random_items(count: int, languages: int = 2, seed: int = 0) -> list[Item]:
    """Items of uneven lengths over the vocabulary of ``tiny_model``; 0 ends a response."""
    rng = random.Random(seed)

    def ids(low: int, high: int) -> tuple[int, ...]:
        return tuple(rng.randrange(1, 400) for _ in range(rng.randint(low, high)))

    return [
        Item(
            f"i{k}",
            tuple(ids(2, 9) for _ in range(languages)),
            tuple((*ids(1, 8), 0) for _ in range(languages)),
        )
        for k in range(count)
    ]


DATA = StageData(random_items(14), random_items(3, seed=1))


def method(name: str = "clo", **changes: Any) -> MethodConfig:
    """A method that trains a tiny model visibly in a few steps."""
    base: dict[str, dict[str, Any]] = {
        "clo": dict(nll=Cells.target, preference=Prompts.both, lam=0.7),
        "anchored": dict(
            nll=Cells.target, preference=Prompts.both, lam=0.7, anchor=Anchor.kl, anchor_weight=5.0, anchor_top=8
        ),
        "sft_dpo": dict(nll=Cells.none, preference=Prompts.both, lam=0.0, sft_first=SftStage(1e-2, 2.0)),
        "sft": dict(nll=Cells.diagonal, preference=Prompts.none, lam=1.0),
    }
    return MethodConfig(**{"name": name, "beta": 0.2, "lr": 1e-2, "epochs": 2.0, **base[name], **changes})


def run_config(
    folder: Path, name: str = "clo", tuning: TuningConfig = ATTENTION, method_changes: Any = None, **trainer: Any
) -> RunConfig:
    """A run of 8 steps per stage (14 items in batches of 4, two epochs, the last batch of an epoch has 2)."""
    return RunConfig(
        method=method(name, **(method_changes or {})),
        tuning=tuning,
        evaluation=EvaluationConfig(validations=2),
        optimizer=OptimizerConfig(weight_decay=0.1),
        trainer=TrainerConfig(**{"checkpoints": 4, "grad_norms_every": 2, **trainer}),
        data_size=len(DATA.train),
        batch_size=4,
        seed=3,
        output_dir=str(folder),
        cache_dir=str(folder / "cache"),
    )


def tuned(tuning: TuningConfig = ATTENTION, seed: int = 3, model_seed: int = 0, layers: int = 2) -> Any:
    """A tiny Llama, ready to train; ``seed`` is the adapters'."""
    return apply_tuning(tiny_model(seed=model_seed, layers=layers), tuning, seed)


def fit(folder: Path, run: RunConfig, model: Any = None, data: StageData = DATA) -> Any:
    """Train a fresh tiny model (or the given one) and return it."""
    model = tuned(run.tuning, run.seed) if model is None else model
    run_folder = RunFolder(folder)
    run_folder.acquire("")
    try:
        fit_stages(run, model, data, run_folder)
    finally:
        run_folder.release()
    return model


def metrics(folder: Path, part: str = "train") -> list[dict[str, Any]]:
    """Lines of metrics.jsonl with training or validation values."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if any(key.startswith(f"{part}/") for key in line)]


def replace_score(monkeypatch: pytest.MonkeyPatch, change: Callable[[int, Any, Any], Scores]) -> list[int]:
    """Replace training's scoring by ``change(number of the call, model, batch)``."""
    calls: list[int] = []

    def changed(model: Any, batch: Any, _: Any = None) -> Scores:
        calls.append(batch.size)
        return change(len(calls), model, batch)

    monkeypatch.setattr(clo.training.terms, "score", changed)
    return calls


def weights(model: Any) -> dict[str, Tensor]:
    """What trains, copied."""
    return snapshot(model)


def difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> tuple[float, float]:
    """Max and mean absolute difference over all weights."""
    assert a.keys() == b.keys()
    gap = torch.cat([(a[name].double() - b[name].double()).abs().flatten() for name in a])
    return float(gap.max()), float(gap.mean())


def naive_scores(model: Any, items: list[Item]) -> Tensor:
    """S[b, i, j] by one unpadded float64 pass per cell over full logits; the model is converted to double."""
    model = model.double()
    rows = []
    for item in items:
        for prompt in item.prompts:
            for response in item.responses:
                ids = torch.tensor([prompt + response])
                log_probs = model(input_ids=ids, use_cache=False).logits[0].log_softmax(-1)
                total = log_probs.new_zeros(())
                for position in range(len(prompt), len(prompt) + len(response)):
                    total = total + log_probs[position - 1, ids[0, position]]
                rows.append(total)
    languages = len(items[0].prompts)
    return torch.stack(rows).reshape(len(items), languages, languages)
