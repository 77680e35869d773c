"""Attention over packed rows: every path of it against one float64 pass per cell, and models that it does not fit."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import tiny_model
from tiny_runs import naive_scores, random_items
from torch import Tensor

import clo.square.attention
import clo.square.segments
from clo.config import LoraConfig, TuningConfig
from clo.data.batch import Segment, pack
from clo.data.items import Item
from clo.model.tuning import apply_tuning
from clo.square.attention import _Places, _Seen, packed, packed_attention
from clo.square.attention_plan import AttentionPlan, How
from clo.square.scores import packs, score, score_items

WHOLE = [(0, 0), (0, 1), (1, 0), (1, 1)]


def gradient(model: Any, S: Tensor) -> Tensor:
    noise = torch.randn(S.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(S)
    parameters = [p for name, p in sorted(model.named_parameters()) if "attn" in name and p.requires_grad]
    return torch.cat([g.flatten().double() for g in torch.autograd.grad((S * noise).sum(), parameters)])


def with_window(model: Any, window: int) -> Any:
    """A Mistral whose queries see few tokens."""
    config = copy.deepcopy(model.config)
    config.sliding_window = window
    return type(model)(config).eval()


@pytest.mark.parametrize("short", [0, 256], ids=["segments", "padded"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "mistral", "window 5", "biases", "lora"])
def test_every_path_equals_float64(family: str, short: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clo.square.attention, "SHORT", short)
    model = tiny_model({"window 5": "mistral", "biases": "qwen2", "lora": "llama"}.get(family, family))
    if family == "window 5":
        model = with_window(model, 5)
    if family == "biases":
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(p)
    if family == "lora":
        model = apply_tuning(model, TuningConfig(lora=LoraConfig(r=2)))
        for p in model.parameters():
            if p.requires_grad:
                torch.nn.init.normal_(p, std=0.1)
    items = random_items(4, 3)
    cells = [(i, j) for i in range(3) for j in range(3)]
    exact_model = copy.deepcopy(model)
    S, exact_S = score(model, pack(items, cells)).S_BLK, naive_scores(exact_model, items)
    torch.testing.assert_close(S.detach().double(), exact_S.detach(), rtol=1e-5, atol=1e-4)
    found, exact = gradient(model, S), gradient(exact_model, exact_S)
    assert float((found - exact).norm() / exact.norm()) < 5e-5


def test_a_window_changes_the_scores() -> None:
    """Otherwise the test above would not see a window that is ignored."""
    items = random_items(2)
    model = tiny_model("mistral")
    narrow = with_window(model, 5)
    narrow.load_state_dict(model.state_dict())
    difference = score(narrow, pack(items, WHOLE)).S_BLK - score(model, pack(items, WHOLE)).S_BLK
    assert float(difference.abs().max()) > 0.1


def test_dense_attention_by_hand() -> None:
    """Two segments of one row: the second sees the prompt and itself, not the first response."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 7, 4, dtype=torch.float64) for _ in range(3))
    plan = AttentionPlan([Segment(0, 4, (0, 0)), Segment(4, 7, (0, 2))])  # prompt 0-1, responses 2-3 and 4-6
    seen = torch.zeros(7, 7, dtype=torch.bool)
    for place, others in enumerate([[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 4], [0, 1, 4, 5], [0, 1, 4, 5, 6]]):
        seen[place, others] = True
    logits = (q @ k.transpose(2, 3) / 2).masked_fill(~seen, float("-inf"))
    expected = (logits.softmax(3) @ v).transpose(1, 2)
    out, _ = packed_attention(torch.nn.Module(), q, k, v, None, plan=plan)
    torch.testing.assert_close(out, expected)
    assert plan.calls == 1


@pytest.mark.parametrize("mask", ["causal", "additive"])
@pytest.mark.parametrize("keys", [40, clo.square.segments.LONG + 8])
def test_bfloat16_on_a_cpu_is_as_exact_as_stock(mask: str, keys: int) -> None:
    """Output and gradients against float64: below and above the length where stock's fused kernel takes over."""
    torch.manual_seed(0)
    queries = keys if mask == "causal" else keys - 8
    shapes = ((2, 3, queries, 16), (2, 3, keys, 16), (2, 3, keys, 16), (2, 3, queries, 16))
    q, k, v, out = (torch.randn(shape, dtype=torch.float64).bfloat16() for shape in shapes)
    q, k = 3 * q, k + 4  # sharp weights, and logits far from zero
    bias = None if mask == "causal" else torch.zeros(queries, keys).masked_fill_(torch.rand(queries, keys) < 0.3, -1e9)

    def errors(attend: Any) -> list[float]:
        def found(dtype: torch.dtype, attend: Any) -> list[torch.Tensor]:
            inputs = [x.to(dtype).detach().requires_grad_() for x in (q, k, v)]
            result = attend(*inputs, None if bias is None else bias.to(dtype))
            return [result, *torch.autograd.grad(result, inputs, out.to(dtype))]

        pairs = zip(found(torch.bfloat16, attend), found(torch.float64, stock), strict=True)
        return [float((x.double() - y).norm().detach() / y.norm().detach()) for x, y in pairs]

    def stock(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, bias, is_causal=bias is None)

    ours = errors(lambda q, k, v, bias: clo.square.segments._attend(q, k, v, bias, How(None, 0.0, None)))
    assert all(a <= 2 * b for a, b in zip(ours, errors(stock), strict=True)), (ours, errors(stock))


def test_a_one_token_response_needs_no_segment_of_its_own() -> None:
    item = Item("a", ((5, 9), (6,)), ((0,), (0,)))
    batch = pack([item], WHOLE)
    assert [(s.start, s.stop) for s in batch.segments] == [(0, 2), (2, 3)]
    model = tiny_model()
    torch.testing.assert_close(
        score(model, batch).S_BLK.double(), naive_scores(copy.deepcopy(model), [item]), rtol=1e-5, atol=1e-5
    )


def test_the_models_own_attention_is_back_afterwards() -> None:
    model = tiny_model()
    before = model.config._attn_implementation
    with pytest.raises(RuntimeError), packed(model):
        assert model.config._attn_implementation == clo.square.attention.NAME
        raise RuntimeError
    assert model.config._attn_implementation == before


@pytest.mark.parametrize("family", ["bloom", "gemma2", "cohere"])
def test_models_that_do_not_fit_take_the_padded_way(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    """ALiBi instead of positions, soft-capped logits, scaled logits: found out by themselves, with one line said."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    options: dict[str, Any] = {"vocab_size": 400, "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2}
    if family == "bloom":
        options |= {"n_head": 4, "n_layer": 2}
    else:
        options |= {"intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.3}
    config = AutoConfig.for_model(family, **options, bos_token_id=None, eos_token_id=0, pad_token_id=0)
    model, items = AutoModelForCausalLM.from_config(config).eval(), random_items(4)
    assert not packs(model, items[0])
    assert "padded way" in capsys.readouterr().out
    exact = naive_scores(copy.deepcopy(model), items)
    torch.testing.assert_close(score_items(model, items, WHOLE, 500).S_BLK.double(), exact, rtol=1e-4, atol=1e-3)


def test_a_window_that_only_a_mask_tells_is_refused() -> None:
    q = k = v = torch.zeros(1, 1, 3, 2)
    layer = torch.nn.Module()
    layer.layer_idx = 0  # type: ignore[assignment]
    plan = AttentionPlan([Segment(0, 3, (0, 0))])
    for types, refused in ((None, True), (["sliding_attention"], True), (["full_attention"], False)):
        layer.config = SimpleNamespace(sliding_window=2, layer_types=types)  # type: ignore[assignment]
        with pytest.raises(NotImplementedError) if refused else nullcontext():
            packed_attention(layer, q, k, v, None, plan=plan)
    layer.config = SimpleNamespace(layer_types=["full_attention", "linear_attention"])  # type: ignore[assignment]
    with pytest.raises(NotImplementedError):
        packed_attention(layer, q, k, v, None, plan=plan)


def test_keys_of_all_segments_and_their_gradients() -> None:
    """What the fused call gets, held against indexing and its own gradient; three responses share each prompt."""
    items = random_items(3, 3)
    batch = pack(items, [(i, j) for i in range(3) for j in range(3)])
    plan = AttentionPlan(batch.segments)
    places = _Places.of(plan, torch.device("cpu"))
    x = torch.randn(batch.ids_1N.shape[1], 4, dtype=torch.float64, requires_grad=True)
    rows = torch.cat([torch.cat([torch.arange(*s.prefix), torch.arange(s.start, s.stop)]) for s in plan.segments])
    noise = torch.randn(len(rows), 4, dtype=torch.float64)
    expected, found = x[rows], _Seen.apply(x, places)
    assert torch.equal(found, expected) and len(places.shared_UM) == 3
    gradients = [torch.autograd.grad((out * noise).sum(), x)[0] for out in (found, expected)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-12, atol=1e-12)
