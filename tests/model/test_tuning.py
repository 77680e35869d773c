"""What trains: which matrices, which layers, dtypes, and the ledger's numbers; adapters are in test_adapters.py."""

from __future__ import annotations

import re

import pytest
import torch
from conftest import tiny_model, tiny_with_images
from tiny_runs import LORA
from tuned_models import gpt2, kinds, trained

from clo.config import LoraConfig, TuningConfig
from clo.config.choices import Trains
from clo.errors import UserError
from clo.model.load import prepare_processor
from clo.model.tuning import apply_tuning, layer_range, ledger

FAMILIES = ["llama", "qwen2", "mistral"]
SIZE, KV, MLP, VOCAB, LAYERS = 32, 16, 64, 400, 2
"""Of ``tiny_model``: hidden size, width of keys and values, MLP width, vocabulary, layers."""
ATTENTION_WEIGHTS = SIZE * (SIZE + KV + KV + SIZE)


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_is_the_four_projections(family: str) -> None:
    model = apply_tuning(tiny_model(family), TuningConfig())
    expected = {f"model.layers.*.self_attn.{k}_proj.weight" for k in "qkvo"}
    if family == "qwen2":
        expected |= {f"model.layers.*.self_attn.{k}_proj.bias" for k in "qkv"}
    assert kinds(model) == expected
    assert len(trained(model)) == LAYERS * len(expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_mlp_is_its_three_matrices(family: str) -> None:
    model = apply_tuning(tiny_model(family), TuningConfig("mlp", Trains.mlp))
    assert kinds(model) == {f"model.layers.*.mlp.{k}_proj.weight" for k in ("gate", "up", "down")}


@pytest.mark.parametrize("family", FAMILIES)
def test_full_is_everything(family: str) -> None:
    model = apply_tuning(tiny_model(family), TuningConfig("full", Trains.full))
    assert all(p.requires_grad for p in model.parameters())


def test_norms_within_attention_do_not_train() -> None:
    """Qwen3 has norms of queries and keys inside its attention."""
    model = apply_tuning(tiny_model("qwen3"), TuningConfig())
    assert any("q_norm" in name for name, _ in model.named_parameters())
    assert kinds(model) == {f"model.layers.*.self_attn.{k}_proj.weight" for k in "qkvo"}


def test_fused_attention_of_gpt2() -> None:
    assert kinds(apply_tuning(gpt2(), TuningConfig())) == {
        "transformer.h.*.attn.c_attn.weight", "transformer.h.*.attn.c_attn.bias",
        "transformer.h.*.attn.c_proj.weight", "transformer.h.*.attn.c_proj.bias",
    }  # fmt: skip
    assert kinds(apply_tuning(gpt2(), TuningConfig("mlp", Trains.mlp))) == {
        "transformer.h.*.mlp.c_fc.weight", "transformer.h.*.mlp.c_fc.bias",
        "transformer.h.*.mlp.c_proj.weight", "transformer.h.*.mlp.c_proj.bias",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("layers", "expected"),
    [([0, 0], {0}), ([1, 2], {1, 2}), ([0, -1], {0, 1, 2, 3}), ([-2, -1], {2, 3}), ([1, -2], {1, 2}), ([-4, 0], {0})],
)
@pytest.mark.parametrize("trains", list(Trains))
def test_layer_ranges(layers: list[int], expected: set[int], trains: Trains) -> None:
    model = apply_tuning(tiny_model(layers=4), TuningConfig("x", trains, layers=layers))
    found = {int(match[1]) for name in trained(model) if (match := re.search(r"layers\.(\d+)\.", name))}
    assert found == expected
    assert all("layers." in name for name in trained(model))  # a range leaves embeddings and head out


@pytest.mark.parametrize(
    ("depth", "thirds"),
    [
        (6, [(0, 1), (2, 3), (4, 5)]),
        (4, [(0, 1), (1, 2), (2, 3)]),
        (32, [(0, 10), (10, 20), (21, 31)]),
        (1, [(0, 0)] * 3),
    ],
)
def test_thirds_of_the_depth_are_equally_deep(depth: int, thirds: list[tuple[int, int]]) -> None:
    assert [layer_range(word, depth) for word in ("lower", "middle", "upper")] == thirds
    model = apply_tuning(tiny_model(layers=4), TuningConfig(layers="upper"))
    assert {re.search(r"layers\.(\d+)\.", name)[1] for name in trained(model)} == {"2", "3"}  # type: ignore[index]


def test_both_is_attention_and_mlp() -> None:
    """Matrices alone: no embeddings, head or norms; adapters on the same ones."""
    both, attention, mlp = (
        trained(apply_tuning(tiny_model("qwen3"), TuningConfig("x", trains)))
        for trains in (Trains.both, Trains.attention, Trains.mlp)
    )
    assert both == attention | mlp and not attention & mlp
    lora = apply_tuning(tiny_model(), TuningConfig("x", Trains.both, LoraConfig(r=2)))
    assert {name.split(".")[-4] for name in trained(lora)} == {
        *(f"{kind}_proj" for kind in ("q", "k", "v", "o", "gate", "up", "down"))
    }


@pytest.mark.parametrize("layers", [[0, 2], [-3, 0], [1, 0], [-1, -2], [5, 9]])
def test_ranges_out_of_bounds_are_refused(layers: list[int]) -> None:
    with pytest.raises(UserError, match=r"tuning\.layers=.*layers 0 to 1"):
        apply_tuning(tiny_model(), TuningConfig(layers=layers))


def test_a_model_without_such_matrices_is_refused() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    with pytest.raises(UserError, match=r"tuning\.trains=attention matches no weights.*which has 0, 1"):
        apply_tuning(model, TuningConfig())
    with pytest.raises(UserError, match=r"tuning\.layers=\[0, 0\]"):
        apply_tuning(model, TuningConfig("full", Trains.full, layers=[0, 0]))


@pytest.mark.parametrize("tuning", [TuningConfig(), TuningConfig("full", Trains.full), LORA], ids=lambda t: t.name)
def test_what_trains_is_float32_over_a_bfloat16_base(tuning: TuningConfig) -> None:
    model = apply_tuning(tiny_model().bfloat16(), tuning)
    for parameter in model.parameters():
        assert parameter.dtype == (torch.float32 if parameter.requires_grad else torch.bfloat16)


def test_values_are_unchanged() -> None:
    before = {name: p.detach().clone() for name, p in tiny_model().named_parameters()}
    model = apply_tuning(tiny_model(), TuningConfig())
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_tied_weights_train_once() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        tie_word_embeddings=True, pad_token_id=0, bos_token_id=None, eos_token_id=0,
    )  # fmt: skip
    model = apply_tuning(LlamaForCausalLM(config).bfloat16(), TuningConfig("full", Trains.full))
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert ledger(model).trains() == ledger(model).total == sum(p.numel() for p in model.parameters())


def test_ledger_of_attention() -> None:
    model = apply_tuning(tiny_model(), TuningConfig())
    book = ledger(model)
    per_layer = ATTENTION_WEIGHTS + 3 * SIZE * MLP + 2 * SIZE
    assert book.total == LAYERS * per_layer + 2 * VOCAB * SIZE + SIZE
    assert book.trainable == {
        "q_proj": LAYERS * SIZE * SIZE, "k_proj": LAYERS * SIZE * KV,
        "v_proj": LAYERS * SIZE * KV, "o_proj": LAYERS * SIZE * SIZE,
    }  # fmt: skip
    assert book.trains() == LAYERS * ATTENTION_WEIGHTS
    assert book.weight_bytes == 4 * book.total
    assert (book.gradient_bytes, book.optimizer_bytes) == (4 * book.trains(), 8 * book.trains())
    assert book.checkpoint_bytes == 12 * book.trains()
    share = 100 * book.trains() / book.total
    assert book.lines()[0].startswith(f"trains {book.trains():,} of {book.total:,} parameters ({share:.1f} %): q_proj")


def test_ledger_of_adapters_over_bfloat16() -> None:
    """r (in + out) per matrix: q and o 4 (32 + 32), k and v 4 (32 + 16), in two layers."""
    model = apply_tuning(tiny_model().bfloat16(), LORA)
    book = ledger(model)
    assert book.trainable == {"q_proj": 512, "k_proj": 384, "v_proj": 384, "o_proj": 512}
    assert book.weight_bytes == 2 * (book.total - 1792) + 4 * 1792


def test_the_processor_flushes_denormals() -> None:
    """A saturated comparison's factor underflows; without this the backward pass runs several times slower."""
    torch.set_flush_denormal(False)
    tiny = torch.tensor([1e-39])
    assert float(tiny * 0.5) > 0
    prepare_processor(1, "32-true", torch.device("cpu"))
    assert float(tiny * 0.5) == 0


# Models that are more than attention and MLP -------------------------------------------------------------------------


@pytest.mark.parametrize("trains", list(Trains))
def test_a_tower_for_images_never_trains(trains: Trains) -> None:
    """Texts do not reach it: it would be counted as attention, and weight decay alone would change it."""
    model = apply_tuning(tiny_with_images(), TuningConfig("x", trains))
    names = trained(model)
    assert names and not [name for name in names if "vision" in name or "projector" in name]
    book = ledger(model)
    if trains is Trains.attention:
        assert book.trains() == 2 * ATTENTION_WEIGHTS
    towers = [n for n in dict(model.named_modules()) if n in ("model.vision_tower", "model.multi_modal_projector")]
    counts = {n.split(".")[-1]: sum(p.numel() for p in model.get_submodule(n).parameters()) for n in towers}
    assert len(counts) == 2
    assert book.beside == tuple(
        f"{part}: {count:,} parameters stay as they are, texts do not reach them" for part, count in counts.items()
    )
    assert book.trains() + sum(counts.values()) == book.total or trains is not Trains.full


@pytest.mark.parametrize("family", ["qwen3_moe", "mixtral", "granitemoe", "olmoe", "gpt_oss"])
def test_experts_are_mlp(family: str) -> None:
    """Their matrices stand in one tensor of three dimensions; without them the router alone would train."""
    model = apply_tuning(tiny_model(family), TuningConfig("mlp", Trains.mlp))
    stacks = {name: p for name, p in model.named_parameters() if p.dim() == 3}
    assert len(stacks) == 2 * LAYERS and set(stacks) <= trained(model)
    assert ledger(model).trains() >= sum(p.numel() for p in stacks.values())
    with pytest.raises(UserError, match=r"tuning\.lora has no adapters for the experts"):
        apply_tuning(tiny_model(family), TuningConfig("mlp_lora", Trains.mlp, LoraConfig(r=4)))
    apply_tuning(tiny_model(family), LORA)


def test_layers_without_attention_are_named() -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        "lfm2", vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, layer_types=["conv", "conv", "full_attention"], eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    model = apply_tuning(AutoModelForCausalLM.from_config(config).eval(), TuningConfig())
    assert ledger(model).lines()[-1] == (
        "attention is in 1 of 3 layers; the others mix tokens by conv, which no tuning but full trains"
    )
    assert not ledger(apply_tuning(tiny_model(), TuningConfig())).beside
