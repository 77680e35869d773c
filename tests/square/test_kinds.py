"""Kinds of models: how each is scored, decided by its code, and the same numbers whichever way it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import tiny_model, tiny_with_images
from tiny_runs import random_items
from torch import Tensor

from clo.config import TuningConfig
from clo.config.choices import Trains
from clo.data.batch import pack, pad
from clo.data.items import Item
from clo.errors import UserError
from clo.model.tuning import apply_tuning
from clo.square.kinds import head_is_last, unpackable
from clo.square.reference import snapshot, swapped
from clo.square.scores import packs, score, score_items, score_with_reference

CELLS = [(0, 0), (0, 1), (1, 0), (1, 1)]
ITEMS = random_items(3)
PACKED = (
    *(
        "llama",
        "mistral",
        "qwen2",
        "qwen3",
        "gemma",
        "gemma3_text",
        "phi",
        "phi3",
        "gpt2",
        "gpt_neox",
        "opt",
        "granite",
    ),
    *("olmo", "olmo2", "starcoder2", "smollm3", "glm", "glm4", "gpt_bigcode", "exaone4", "ernie4_5", "persimmon"),
    *("mixtral", "qwen2_moe", "qwen3_moe", "olmoe"),
)
PADDED = (
    *("gemma2", "cohere", "cohere2", "bloom", "falcon", "stablelm", "mpt", "mamba", "nemotron", "recurrent_gemma"),
    *("biogpt", "llama4_text", "gpt_oss"),
)


def alone(model: Any, items: Sequence[Item] = ITEMS) -> Tensor:
    """Every cell by a forward pass of its own, without padding or packing."""
    found = []
    for item in items:
        for prompt in item.prompts:
            for response in item.responses:
                ids = torch.tensor([prompt + response])
                with torch.no_grad():
                    logp = model(input_ids=ids, use_cache=False).logits[0].float().log_softmax(-1)
                places = torch.arange(len(prompt) - 1, ids.shape[1] - 1)
                found.append(logp[places, ids[0, len(prompt) :]].sum())
    return torch.stack(found).view(len(items), 2, 2)


@pytest.mark.parametrize("family", [*PACKED, *PADDED])
def test_every_family_is_scored_right_and_in_the_way_that_its_code_allows(family: str) -> None:
    model = tiny_model(family).float()
    assert packs(model, ITEMS[0]) is (family in PACKED), unpackable(model)
    torch.testing.assert_close(score_items(model, ITEMS, CELLS, 200).S_BLK, alone(model), rtol=0, atol=2e-4)


def test_a_model_that_reads_padding_is_refused() -> None:
    """RWKV has no mask: whatever stands before a short sequence changes its scores."""
    from transformers import RwkvConfig, RwkvForCausalLM

    torch.manual_seed(0)
    sizes = {"vocab_size": 400, "hidden_size": 32, "attention_hidden_size": 32, "intermediate_size": 64}
    model = RwkvForCausalLM(RwkvConfig(**sizes, num_hidden_layers=2, context_length=256)).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    for _ in range(2):
        with pytest.raises(UserError, match="RwkvForCausalLM reads padding as text"):
            score_items(model, ITEMS, CELLS, 200)


@pytest.mark.parametrize("longer", [1, 25])
def test_values_of_another_width_than_keys(longer: int) -> None:
    """Multi-head latent attention (DeepSeek V2 and V3), in rows that are padded into one call and in longer ones."""
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    torch.manual_seed(0)
    latent = {"q_lora_rank": 12, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 6}
    sizes = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "first_k_dense_replace": 2}
    config = DeepseekV3Config(**sizes, **heads, **latent, initializer_range=0.3)
    model = DeepseekV3ForCausalLM(config).eval()
    items = [replace(item, prompts=tuple(ids * longer for ids in item.prompts)) for item in ITEMS]
    assert packs(model, items[0])
    found = score_items(model, items, CELLS, 2000).S_BLK
    torch.testing.assert_close(found, alone(model, items), rtol=0, atol=2e-4)


def test_the_text_of_a_model_with_a_tower_for_images() -> None:
    model = tiny_with_images().float()
    torch.testing.assert_close(score_items(model, ITEMS, CELLS, 200).S_BLK, alone(model), rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("gemma2", {"final_logit_softcapping": 30.0}),
        ("granite", {"logits_scaling": 8.0}),
        ("cohere", {"logit_scale": 0.0625}),
    ],
)
@pytest.mark.parametrize("size", [1e-4, 1.0])
def test_what_changes_the_logits_is_seen_whatever_their_size(
    family: str, settings: dict[str, float], size: float
) -> None:
    """A cap at 30 changes nothing while logits are small: numbers at the start would say that it may be packed."""
    from transformers import AutoModelForCausalLM

    config = tiny_model(family).config
    for name, value in settings.items():
        setattr(config, name, value)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(size)
    assert not head_is_last(model, pad(ITEMS[:1], CELLS)) and not packs(model, ITEMS[0])
    torch.testing.assert_close(score_items(model, ITEMS, CELLS, 200).S_BLK, alone(model), rtol=0, atol=2e-4)


def per_layer(family: str) -> Any:
    """A model whose layers are handed other things by their number: rotary bases, windows, scaled embeddings."""
    from transformers import AutoConfig, AutoModelForCausalLM

    more: dict[str, Any] = {}
    if family == "gemma3_text":
        more = {
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
            "sliding_window": 6,
            "head_dim": 8,
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 10.0},
                "full_attention": {"rope_type": "default", "rope_theta": 1e6},
            },
        }
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family, vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.3, bos_token_id=None, eos_token_id=0,
        pad_token_id=0, **more,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config).float().eval()


@pytest.mark.parametrize("family", ["gemma3_text", "gemma", "granite", "llama"])
@pytest.mark.parametrize("layers", [[1, -1], [2, 2]])
def test_the_reference_of_a_range_of_layers_is_what_the_whole_model_gives(family: str, layers: list[int]) -> None:
    model = apply_tuning(per_layer(family), TuningConfig("some", Trains.attention, None, layers))
    start = snapshot(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    batch = pack(ITEMS, CELLS)
    with torch.no_grad(), swapped(model, start):
        whole = score(model, batch).S_BLK
    policy, reference = score_with_reference(model, batch, swapped(model, start))
    assert torch.equal(reference.S_BLK, whole)
    assert torch.equal(policy.S_BLK.detach(), score(model, batch).S_BLK.detach())
    assert float((policy.S_BLK - whole).detach().abs().max()) > 1e-2
