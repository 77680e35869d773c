"""Averages of start and trained weights, and sums of differences: exact, in the weights that trained alone, undone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import tiny_model
from tiny_runs import ATTENTION, LORA
from torch import Tensor

from clo.config import LoraConfig, TuningConfig
from clo.config.choices import Trains
from clo.errors import UserError
from clo.model.mix import add_difference, averaged, start_weights
from clo.model.tuning import apply_tuning

IDS = torch.tensor([[5, 9, 200, 31, 7]])
DORA = TuningConfig("x", Trains.both, LoraConfig(r=2, alpha=3.0, dora=True), [1, 1])


def trained(tuning: TuningConfig) -> Any:
    """A tiny model whose trained weights have moved, each by another amount."""
    model = apply_tuning(tiny_model(), tuning)
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(IDS).logits
    return found


def whole(model: Any) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def merged(tuning: TuningConfig) -> dict[str, Tensor]:
    """The trained weights with adapters folded in."""
    model = trained(tuning)
    return whole(model.merge_and_unload() if tuning.lora else model)


@pytest.mark.parametrize("tuning", [ATTENTION, LORA, DORA, TuningConfig("full", Trains.full)], ids=lambda t: t.name)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_average_is_that_of_the_weights(tuning: TuningConfig, share: float) -> None:
    """Adapters of every kind act as the mean of the start's matrix and of the one with them folded in."""
    model, start, end = trained(tuning), tiny_model(), merged(tuning)
    by_hand = tiny_model()
    for name, parameter in by_hand.named_parameters():
        parameter.data = (1 - share) * start.get_parameter(name).data + share * end[name]
    before, own = whole(model), logits(model)
    with averaged(model, start_weights(start, tuning), share):
        torch.testing.assert_close(logits(model), logits(by_hand), rtol=1e-4, atol=1e-4)
        if 0 < share < 1:
            assert not torch.allclose(logits(model), own, atol=1e-2)
    assert all(torch.equal(before[name], now) for name, now in whole(model).items())
    assert torch.equal(logits(model), own), "nothing of the average is left behind"


@pytest.mark.parametrize("tuning", [ATTENTION, LORA, DORA], ids=lambda t: t.name)
def test_under_mixed_precision_too(tuning: TuningConfig) -> None:
    """What a layer gives is bfloat16 there; all of the trained weights is the trained model, and some lie between."""
    model, start = trained(tuning), start_weights(tiny_model(), tuning)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        own, found = logits(model), {}
        for share in (0.5, 1.0):
            with averaged(model, start, share):
                found[share] = logits(model)
    torch.testing.assert_close(found[1.0], own, rtol=0.05, atol=0.05)
    assert float((found[0.5] - own).abs().mean()) > 5 * float((found[1.0] - own).abs().mean())


def test_what_did_not_train_is_not_averaged() -> None:
    """A frozen weight stays as it is, even where the start given is another model."""
    model, other = trained(TuningConfig(layers=[1, 1])), tiny_model(seed=5)
    before = whole(model)
    with averaged(model, start_weights(other, TuningConfig(layers=[1, 1])), 0.5):
        changed = {name for name, now in whole(model).items() if not torch.equal(now, before[name])}
    assert changed == {f"model.layers.1.self_attn.{kind}_proj.weight" for kind in "qkvo"}


def test_a_failure_within_leaves_the_trained_model() -> None:
    model = trained(LORA)
    before = logits(model)
    with pytest.raises(ZeroDivisionError), averaged(model, {}, 0.5):
        1 / 0  # noqa: B018
    assert torch.equal(logits(model), before)


def test_the_start_in_half_precision_is_summed_exactly() -> None:
    model, start = trained(ATTENTION), tiny_model().bfloat16()
    name = "model.layers.0.self_attn.q_proj.weight"
    wanted = start.get_parameter(name).data.float().lerp(model.get_parameter(name).data, 0.3)
    with averaged(model, start_weights(start, ATTENTION), 0.3):
        assert torch.equal(model.get_parameter(name).data, wanted)


def test_a_chat_vector_by_hand() -> None:
    base, chat, adapted = tiny_model(seed=0), tiny_model(seed=1), tiny_model(seed=2)
    step = {name: p.data - base.get_parameter(name).data for name, p in chat.named_parameters()}
    wanted = {name: p.data + step[name] for name, p in adapted.named_parameters()}
    add_difference(adapted, chat, base)
    assert all(torch.equal(p.data, wanted[name]) for name, p in adapted.named_parameters())
    half = tiny_model(seed=2).bfloat16()
    add_difference(half, chat.bfloat16(), base.bfloat16())
    assert half.dtype == torch.bfloat16


@pytest.mark.parametrize("which", ["start model", "base"])
def test_models_of_other_shapes_make_no_chat_vector(which: str) -> None:
    other, same = tiny_model(vocab=410), tiny_model(seed=1)
    said = rf"three models of one shape: .*embed_tokens.*\(400, 32\).*\(410, 32\) in the {which};"
    with pytest.raises(UserError, match=said):
        add_difference(tiny_model(), *((other, same) if which == "start model" else (same, other)))
