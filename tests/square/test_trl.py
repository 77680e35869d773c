"""The preference term against TRL's DPO loss, with the gradient."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import byte_level_tokenizer, rows, tiny_model
from torch import Tensor

from clo.config.choices import Cells, Prompts
from clo.data.batch import pack
from clo.data.items import build_items
from clo.data.prompt import Renderer
from clo.square.objective import Objective, objective_terms
from clo.square.scores import score


def trl_loss(folder: Path, policy: Any, start: Any, pairs: list[dict[str, str]], beta: float) -> tuple[Tensor, Any]:
    """The sigmoid loss of TRL's own DPOTrainer on one batch of all pairs, and that batch."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    config = DPOConfig(
        output_dir=str(folder),
        beta=beta,
        loss_type=["sigmoid"],
        per_device_train_batch_size=len(pairs),
        max_length=None,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        disable_tqdm=True,
    )
    trainer = DPOTrainer(
        model=policy,
        ref_model=start,
        args=config,
        train_dataset=Dataset.from_list(pairs),
        processing_class=byte_level_tokenizer(),
    )
    batch = trainer.data_collator([trainer.train_dataset[k] for k in range(len(pairs))])
    return trainer.compute_loss(policy, batch), batch


def test_preference_equals_trl(tmp_path: Path) -> None:
    """Our mean over 2N comparisons is the loss of TRL's DPOTrainer on 2N pairs, with the gradient.

    The policy is the start model with its attention weights shifted, so margins are not 0; both sides see the same ids.
    """
    pytest.importorskip("trl", reason="its losses are the oracle; pip install trl")
    tokenizer = byte_level_tokenizer()
    items, _ = build_items(rows(), ["en", "sw"], Renderer(tokenizer, "Q: {prompt}\nA:"), 256)
    random.Random(0).shuffle(items)
    start, policy = tiny_model().double(), tiny_model().double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "self_attn" in name:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    objective = Objective(2, Cells.none, Prompts.both, 0.0, 0.3)
    batch = pack(items, objective.cells())
    with torch.no_grad():
        R = score(start, batch).S_BLK
    terms = objective_terms(objective, score(policy, batch).S_BLK, R)
    ours = objective.loss(terms, objective.denominators(items))
    ours.backward()
    gradients = {name: p.grad.clone() for name, p in policy.named_parameters()}
    policy.zero_grad()

    by_id = {row.id: row for row in rows()}
    pairs = [
        {
            "prompt": f"Q: {row.prompts[own]}\nA:",
            "chosen": row.responses[own] + tokenizer.eos_token,
            "rejected": row.responses[other] + tokenizer.eos_token,
        }
        for row in (by_id[item.id] for item in items)
        for own, other in (("en", "sw"), ("sw", "en"))
    ]
    theirs, seen = trl_loss(tmp_path, policy, start, pairs, objective.beta)
    chosen = [item.prompts[i] + item.responses[i] for item in items for i in (0, 1)]
    rejected = [item.prompts[i] + item.responses[1 - i] for item in items for i in (0, 1)]
    masks = seen["attention_mask"].bool()
    assert [tuple(ids[mask].tolist()) for ids, mask in zip(seen["input_ids"], masks, strict=True)] == chosen + rejected
    theirs.backward()
    assert abs(float(terms.metrics["margin_en"][0])) > 0.1
    assert float(ours) == pytest.approx(float(theirs), rel=2e-6)  # TRL sums in float32
    gap = torch.cat([(p.grad - gradients[name]).flatten() for name, p in policy.named_parameters()])
    size = torch.cat([gradient.flatten() for gradient in gradients.values()])
    assert float(gap.norm() / size.norm()) < 1e-5
