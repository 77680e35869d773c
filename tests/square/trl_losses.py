"""TRL's own losses on given scores: its trainers' code, run without their constructors on a model that is a table."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor


class Table:
    """Stands for a language model: the first token of a sequence names the row of log-probs that it gives."""

    training = True

    def __init__(self, logps_NT: Tensor) -> None:
        self.logps_NT = logps_NT

    def __call__(self, input_ids: Tensor, **_: Any) -> Any:
        rows_NT = self.logps_NT[input_ids[:, 0]]
        zero = torch.zeros_like(rows_NT)
        return SimpleNamespace(log_probs=rows_NT, entropy=zero, mean_logits=zero, is_top1=zero.bool())


def _bare(kind: Any, **attributes: Any) -> Any:
    trainer = kind.__new__(kind)
    accelerator = SimpleNamespace(device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x)
    common = {
        "model": SimpleNamespace(training=True), "accelerator": accelerator, "aux_loss_enabled": False,
        "precompute_ref_logps": True, "_total_train_tokens": 0, "_tp_size": 1,
        "_metrics": {"train": defaultdict(list)},
    }  # fmt: skip
    for name, value in {**common, **attributes}.items():
        object.__setattr__(trainer, name, value)
    return trainer


def _rows(sums_N: Tensor, tokens_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Per-token log-probs [N, T] with these sums; ids and completion mask [N, T + 1] after one prompt token."""
    longest = int(tokens_N.max())
    inside_NT = torch.arange(longest) < tokens_N[:, None]
    logps_NT = torch.where(inside_NT, (sums_N / tokens_N)[:, None], torch.zeros((), dtype=sums_N.dtype))
    ids = torch.arange(len(sums_N))[:, None].expand(-1, longest + 1).contiguous()
    mask = torch.cat([torch.zeros(len(sums_N), 1, dtype=torch.long), inside_NT.long()], 1)
    return logps_NT, ids, mask


def dpo(loss_type: str, pairs: Any, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """The mean of DPOTrainer's loss over pairs; IPO and sigmoid_norm divide by tokens, as it counts them."""
    from trl import DPOTrainer

    trainer = _bare(
        DPOTrainer, loss_types=[loss_type], loss_weights=[1.0], beta=beta, label_smoothing=label_smoothing,
        ld_alpha=None, f_divergence_type="reverse_kl", use_weighting=False,
    )  # fmt: skip
    sums_N = torch.cat([pairs.chosen.flatten(), pairs.rejected.flatten()])
    tokens_N = torch.cat([pairs.chosen_tokens.flatten(), pairs.rejected_tokens.flatten()])
    logps_NT, ids, mask = _rows(sums_N, tokens_N)
    inputs = {
        "input_ids": ids, "attention_mask": torch.ones_like(ids), "completion_mask": mask,
        "ref_chosen_logps": pairs.chosen_reference.flatten(), "ref_rejected_logps": pairs.rejected_reference.flatten(),
    }  # fmt: skip
    loss: Tensor = trainer._compute_loss(Table(logps_NT), inputs, False)
    return loss


def kto(score: Tensor, reference: Tensor, other: Tensor, other_reference: Tensor, good: bool) -> Tensor:
    """KTOTrainer's loss of one example, beta 0.4, its batch KL being the change of one other answer (0-dim tensors)."""
    from trl import KTOTrainer

    trainer = _bare(
        KTOTrainer, loss_type="kto", beta=0.4, calculate_KL=True, desirable_weight=1.0, undesirable_weight=1.0
    )
    logps_NT, ids, mask = _rows(torch.stack([score, other]), torch.ones(2, dtype=torch.long))
    inputs = {
        "input_ids": ids[:1], "attention_mask": torch.ones_like(ids[:1]), "completion_mask": mask[:1],
        "KL_input_ids": ids[1:], "KL_attention_mask": torch.ones_like(ids[1:]), "KL_completion_mask": mask[1:],
        "label": torch.tensor([good]), "ref_logps": reference[None], "ref_KL_logps": other_reference[None],
    }  # fmt: skip
    loss: Tensor = trainer._compute_loss(Table(logps_NT), inputs, False)
    return loss


def cpo(loss_type: str, chosen: Tensor, rejected: Tensor, beta: float, **more: float) -> Tensor:
    """CPOTrainer's loss per pair."""
    from trl.experimental.cpo import CPOTrainer

    settings = {"loss_type": loss_type, "beta": beta, "alpha": 0.0, "label_smoothing": 0.0, **more}
    losses: Tensor = _bare(CPOTrainer, **settings).cpo_loss(chosen, rejected)[0]
    return losses


def orpo(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """ORPOTrainer's odds ratio term per pair, as it enters its loss; computed in float32 whatever it is given."""
    from trl.experimental.orpo import ORPOTrainer

    losses: Tensor = _bare(ORPOTrainer, beta=beta).odds_ratio_loss(chosen, rejected)[0]
    return -losses
