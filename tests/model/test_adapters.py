"""Adapters: where they are, how they start, what of them is in training mode, and where they go on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from conftest import tiny_model
from tiny_runs import LORA
from tuned_models import gpt2, kinds, trained

from clo.config import LoraConfig, TuningConfig
from clo.config.choices import Trains
from clo.errors import UserError
from clo.model.tuning import apply_tuning
from clo.square.scores import without_dropout

FAMILIES = ["llama", "qwen2", "mistral"]


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_on_the_attention_projections(family: str) -> None:
    model = apply_tuning(tiny_model(family), LORA)
    root = "base_model.model.model.layers.*.self_attn"
    assert kinds(model) == {f"{root}.{k}_proj.lora_{side}.default.weight" for k in "qkvo" for side in "AB"}
    assert not any(module.training for module in model.modules())


def test_adapters_of_mlp_layer_ranges_and_fused_attention() -> None:
    lora = LoraConfig(r=2, alpha=4.0)
    model = apply_tuning(tiny_model(layers=4), TuningConfig("x", Trains.mlp, lora, [1, -2]))
    found = {re.search(r"layers\.(\d+)\.mlp\.(\w+)_proj\.lora_", name).groups() for name in trained(model)}  # type: ignore[union-attr]
    assert found == {(layer, kind) for layer in "12" for kind in ("gate", "up", "down")}
    fused = apply_tuning(gpt2(), TuningConfig("x", Trains.attention, lora))
    assert {name.split(".lora_")[0].split(".", 5)[-1] for name in trained(fused)} == {"attn.c_attn", "attn.c_proj"}


def test_adapters_of_many_layers_stay_within_the_matched_modules() -> None:
    """PEFT shortens long lists of module names to suffixes; layers out of range must not come in by that."""
    model = apply_tuning(tiny_model(layers=14), TuningConfig("x", Trains.attention, LoraConfig(r=2), [2, 11]))
    found = {int(re.search(r"layers\.(\d+)\.", name)[1]) for name in trained(model)}  # type: ignore[index]
    assert found == set(range(2, 12))
    assert not any("mlp" in name for name in trained(model))


def test_adapters_start_as_a_function_of_the_seed_and_change_nothing() -> None:
    ids = torch.tensor([[5, 6, 7, 8]])
    plain = tiny_model()(ids).logits
    states = []
    for seed in (3, 3, 4):
        model = apply_tuning(tiny_model(), LORA, seed)
        assert torch.equal(model(ids).logits, plain)
        states.append(torch.cat([p.detach().flatten() for n, p in model.named_parameters() if "lora_A" in n]))
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


def test_only_adapter_dropout_is_in_training_mode() -> None:
    model = apply_tuning(tiny_model(), TuningConfig("x", Trains.attention, LoraConfig(r=2, dropout=0.1)))
    modes = {name: module.training for name, module in model.named_modules()}
    assert {name for name, training in modes.items() if training} == {name for name in modes if ".lora_dropout" in name}


@pytest.mark.parametrize("dora", [False, True])
def test_dropout_draws(dora: bool) -> None:
    """In training, with either kind of adapter; DoRA's ask their layer, not the dropout, whether it trains."""
    model = apply_tuning(tiny_model(), TuningConfig("x", Trains.attention, LoraConfig(r=4, dropout=0.5, dora=dora)))
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.3)
    ids = torch.tensor([[5, 6, 7, 8]])
    torch.manual_seed(0)
    with torch.no_grad():
        assert float((model(ids).logits - model(ids).logits).abs().max()) > 1e-3
        with without_dropout(model):
            assert torch.equal(model(ids).logits, model(ids).logits)
        assert float((model(ids).logits - model(ids).logits).abs().max()) > 1e-3, "on again"


def test_dora_starts_as_the_model_and_trains_sizes_too() -> None:
    model = tiny_model()
    ids = torch.tensor([[3, 5, 8]])
    before = model(input_ids=ids).logits
    tuned = apply_tuning(model, TuningConfig("t", Trains.attention, LoraConfig(r=4, dora=True)))
    torch.testing.assert_close(tuned(input_ids=ids).logits, before, rtol=1e-5, atol=1e-5)
    assert any("magnitude" in name for name in trained(tuned))


def test_an_adapter_is_continued_from_where_it_ended(tiny_folder: Path, tmp_path: Path) -> None:
    """Folded into its base it is the start model, so the reference is the base with the adapter, not the bare base."""
    from clo.config import ModelConfig
    from clo.model.load import load_model

    config = ModelConfig(path=str(tiny_folder), max_length=200)
    adapted = apply_tuning(load_model(config), LORA)
    for p in adapted.parameters():
        if p.requires_grad:
            torch.nn.init.normal_(p, std=0.2)
    adapted.save_pretrained(tmp_path)
    again = load_model(ModelConfig(path=str(tmp_path), max_length=200))
    ids = torch.tensor([[3, 5, 8]])
    torch.testing.assert_close(again(input_ids=ids).logits, adapted(input_ids=ids).logits, rtol=1e-4, atol=1e-4)
    assert not hasattr(again, "peft_config") or not hasattr(again, "disable_adapter")
    assert float((again(input_ids=ids).logits - load_model(config)(input_ids=ids).logits).abs().max()) > 1e-2


def test_quantizing_needs_a_gpu_and_adapters(tiny_folder: Path) -> None:
    from composed import run_of

    from clo.config import ModelConfig
    from clo.model.load import load_model

    with pytest.raises(UserError, match="needs adapters"):
        run_of("model.quantize=4bit")
    assert run_of("model.quantize=4bit", "tuning=attention_lora").model.quantize == "4bit"
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="needs a GPU"):
            load_model(ModelConfig(path=str(tiny_folder), max_length=200, quantize="4bit"))
