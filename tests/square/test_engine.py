"""What makes steps fast changes no result: shared lower layers, checkpointing, compiling, and counts at true sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import tiny_model, tiny_with_images
from tiny_runs import random_items
from torch import Tensor

import clo.square.scores
from clo.config import LoraConfig, TuningConfig
from clo.config.choices import Trains
from clo.data.batch import pack, packed_tokens, pad
from clo.data.items import Item
from clo.model.layers import LowerLayers
from clo.model.tuning import apply_tuning
from clo.square.attention import packed
from clo.square.reference import snapshot, swapped
from clo.square.scores import score, score_items, score_with_reference
from clo.training.layers import training_layers
from clo.training.throughput import forward_flops, peak_flops, step_flops, step_rates

WHOLE = [(0, 0), (0, 1), (1, 1), (1, 0)]


def tuned(family: str = "llama", layers: int = 4, **tuning: Any) -> Any:
    options: dict[str, Any] = {"name": "t", "trains": Trains.attention} | tuning
    return apply_tuning(tiny_model(family, layers=layers), TuningConfig(**options))


def moved(model: Any) -> dict[str, Tensor]:
    """The start weights of a model whose trained ones have moved."""
    start = snapshot(model)
    torch.manual_seed(3)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p += 0.1 * torch.randn_like(p)
    return start


def trained_gradient(model: Any, S: Tensor) -> list[Tensor]:
    noise = torch.randn(S.shape, generator=torch.Generator().manual_seed(1))
    return list(torch.autograd.grad((S * noise).sum(), [p for p in model.parameters() if p.requires_grad]))


@pytest.mark.parametrize("family", ["llama", "qwen2", "mistral"])
def test_policy_and_reference_share_the_lower_layers(family: str) -> None:
    items = random_items(3)
    model = apply_tuning(tiny_model(family, layers=4), TuningConfig(name="t", trains=Trains.attention, layers=[2, 3]))
    start = moved(model)
    assert LowerLayers(model).count == 2
    batch = pack(items, WHOLE)
    ran: list[int] = []
    for k, layer in enumerate(model.model.layers):
        layer.register_forward_hook(lambda *_, k=k: ran.append(k))
    policy, reference = score_with_reference(model, batch, swapped(model, start))
    assert ran == [0, 1, 2, 3, 2, 3]
    with torch.no_grad(), swapped(model, start):
        assert torch.equal(reference.S_BLK, score(model, batch).S_BLK)
    again = score(model, batch).S_BLK
    assert torch.equal(policy.S_BLK, again)
    for a, b in zip(trained_gradient(model, policy.S_BLK), trained_gradient(model, again), strict=True):
        assert torch.equal(a, b)


def test_lower_layers_have_no_graph() -> None:
    model = apply_tuning(tiny_model(layers=3), TuningConfig(name="t", trains=Trains.attention, layers=[2, 2]))
    seen: list[bool] = []
    for layer in model.model.layers:
        layer.register_forward_hook(lambda _m, _a, out: seen.append(out.requires_grad))
    score(model, pack(random_items(2), WHOLE))
    assert seen == [False, False, True]


@pytest.mark.parametrize("trains", [Trains.full, Trains.mlp])
def test_nothing_is_shared_where_the_bottom_trains(trains: Trains) -> None:
    assert LowerLayers(tuned(trains=trains)).count == 0


@pytest.mark.parametrize(
    ("checkpointing", "compiled", "lora"),
    [
        (True, False, False),
        (True, False, True),
        pytest.param(False, True, False, marks=pytest.mark.slow),
        (True, True, True),
        pytest.param(False, True, True, marks=pytest.mark.slow),
        pytest.param(True, True, False, marks=pytest.mark.slow),
    ],
)
def test_checkpointed_and_compiled_layers_give_the_same(lora: bool, checkpointing: bool, compiled: bool) -> None:
    model = tuned(layers=2, lora=LoraConfig(r=2) if lora else None)
    moved(model)
    batch = pack(random_items(3), WHOLE)
    plain = score(model, batch).S_BLK
    expected = trained_gradient(model, plain)
    names = list(model.state_dict())
    with packed(model), training_layers(model, checkpointing, compiled):
        S = score(model, batch).S_BLK
        found = trained_gradient(model, S)
        assert list(model.state_dict()) == names
    torch.testing.assert_close(S, plain, rtol=1e-5, atol=1e-5)
    difference = sum(float((a - b).norm()) ** 2 for a, b in zip(found, expected, strict=True)) ** 0.5
    assert difference < 5e-5 * sum(float(b.norm()) ** 2 for b in expected) ** 0.5
    assert not any(module.training for module in model.modules())


def test_checkpointing_makes_layers_again() -> None:
    model = tuned(layers=2)
    calls: list[int] = []
    model.model.layers[0].self_attn.q_proj.register_forward_hook(lambda *_: calls.append(1))
    with packed(model), training_layers(model, True, False):
        trained_gradient(model, score(model, pack(random_items(2), WHOLE)).S_BLK)
    assert len(calls) == 2


@pytest.mark.parametrize("family", ["opt", "xglm", "biogpt"])
def test_checkpointing_switches_no_dropout_on(family: str) -> None:
    """Layers of these ask their own flag whether to drop, the one that checkpointing goes by."""
    model = tiny_model(family)
    before = [vars(layer).get("dropout") for layer in model.modules()]
    batch = pad(random_items(2), WHOLE)
    plain = score(model, batch).S_BLK
    with training_layers(model, True, False):
        torch.testing.assert_close(score(model, batch).S_BLK, plain)
    assert [vars(layer).get("dropout") for layer in model.modules()] == before and 0.1 in before


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_scores_are_bit_equal_in_any_company(precision: str) -> None:
    """So a cached reference differs from the policy's scores by exactly 0 before the first step."""
    model, items = tiny_model(), random_items(24)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        whole = score_items(model, items, WHOLE, 1000).S_BLK
        for size in (2, 5, 24):
            parts = [score(model, pack(items[k : k + size], WHOLE)).S_BLK for k in range(0, len(items), size)]
            assert torch.equal(torch.cat(parts).detach(), whole)


def test_running_out_of_memory_halves_the_budget(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, items = tiny_model(), random_items(9)
    expected = score_items(model, items, WHOLE, 10_000)
    usual = clo.square.scores.score

    def small_memory(model: Any, batch: Any) -> Any:
        if batch.size > 3:
            raise torch.OutOfMemoryError
        return usual(model, batch)

    monkeypatch.setattr(clo.square.scores, "score", small_memory)
    torch.testing.assert_close(score_items(model, items, WHOLE, 1000).S_BLK, expected.S_BLK)
    assert "halved" in capsys.readouterr().out
    monkeypatch.setattr(clo.square.scores, "score", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError()))
    with pytest.raises(torch.OutOfMemoryError):
        score_items(model, items, WHOLE, 1000)


# Counts at the true sizes of Llama-3-8B, on the meta device -----------------------------------------------------------

LENGTHS = [(96, 119, 161, 200), (60, 74, 84, 101), (139, 175, 264, 328), (89, 111, 150, 185)]
"""Tokens of x_en, x_t, y_en, y_t: means and quantiles of real instruction data."""


def real_size_items() -> list[Item]:
    return [Item(str(k), ((1,) * a, (1,) * b), ((1,) * c, (1,) * d)) for k, (a, b, c, d) in enumerate(LENGTHS)]


def llama3_8b(layers: list[int] | None = None) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        "llama",
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128256,
        max_position_embeddings=8192,
        dtype=torch.bfloat16,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    for k, layer in enumerate(model.model.layers):
        layer.self_attn.requires_grad_(layers is None or layers[0] <= k <= layers[1])
    return model


@pytest.mark.parametrize("layers", [None, [16, 31]])
def test_flops_of_a_step_are_the_floor(layers: list[int] | None) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model, items = llama3_8b(layers), real_size_items()
    with FlopCounterMode(display=False) as counter:
        score(model, pack(items, WHOLE).to("meta")).S_BLK.sum().backward()
    # The counter takes attention for a full square, where the kernel leaves out what the causal mask hides: 1 % here.
    products = sum(count for op, count in counter.get_flop_counts()["Global"].items() if "attn" not in str(op))
    assert 0.97 < products / step_flops(model, items, WHOLE) <= 1.02


def test_the_floor_is_the_formula_by_hand() -> None:
    """N (4 P_body + 2 P_attention) + 4 R V H, and causal pairs."""
    items = real_size_items()
    tokens = sum(packed_tokens(item, WHOLE) for item in items)
    body, attention = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336), 32 * (2 * 4096**2 + 2 * 4096 * 1024)
    responses = 2 * sum(c + d for _, _, c, d in LENGTHS)
    floor = tokens * (4 * body + 2 * attention) + 4 * responses * 128256 * 4096
    assert floor < step_flops(llama3_8b(), items, WHOLE) < 1.02 * floor


def test_saved_activations_per_token_and_layer() -> None:
    model, items = llama3_8b(), real_size_items()
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    saved: dict[int, int] = {}
    kept = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            saved[storage._cdata] = storage.nbytes()
            kept.append(tensor)  # its storage's address must not be given to another
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        score(model, pack(items, WHOLE).to("meta"))
    tokens = sum(packed_tokens(item, WHOLE) for item in items)
    assert 100e3 < sum(saved.values()) / tokens / 32 < 150e3


@pytest.mark.parametrize("family", ["mixtral", "gemma3", "phi3"])
def test_work_of_models_that_say_their_size_elsewhere(family: str) -> None:
    """A head_dim that is null, a configuration of text inside another, experts of which a token passes some."""
    model = tiny_with_images() if family == "gemma3" else tiny_model(family)
    if family == "mixtral":
        model.config.head_dim = None
    model.requires_grad_(True)
    items, dense = random_items(3), tiny_model().requires_grad_(True)
    share = step_flops(model, items, WHOLE) / step_flops(dense, items, WHOLE)
    assert 0.5 < share < 4
    assert 0.5 < forward_flops(model, items, WHOLE) / forward_flops(dense, items, WHOLE) < 4


def test_rates() -> None:
    model, items = tuned(), random_items(3)
    rates = step_rates(model, items, WHOLE, 1000, 0.5, peak_flops(torch.device("cpu"), "32-true"))
    responses = 2 * sum(len(response) for item in items for response in item.responses)
    assert rates["response_tokens_per_second"] == responses / 0.5 and rates["wasted_tokens"] == 0
    peak = peak_flops(torch.device("cpu"), "32-true")
    assert peak is not None and rates["mfu"] == pytest.approx(step_flops(model, items, WHOLE) / 0.5 / peak)
