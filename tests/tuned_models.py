"""Names of what trains in a model, and a model with a fused attention matrix, for tests of the tuning."""

from __future__ import annotations

import re
from typing import Any

import torch


def gpt2() -> Any:
    """A model with one fused matrix for query, key and value, stored as a Conv1D."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=60, n_positions=32, n_embd=16, n_layer=3, n_head=2, bos_token_id=0, eos_token_id=0)
    return GPT2LMHeadModel(config).eval()


def trained(model: Any) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def kinds(model: Any) -> set[str]:
    return {re.sub(r"\.\d+\.", ".*.", name) for name in trained(model)}
