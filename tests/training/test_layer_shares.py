"""tuning.layers=auto: shares of the squared gradient norm against a plain loop, the range, and an untouched model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import tiny_model
from tiny_runs import METHODS, random_items
from torch.nn.functional import cross_entropy, logsigmoid

from clo.config import LoraConfig, TrainerConfig, TuningConfig
from clo.config.choices import AUTO, Trains
from clo.data.items import Item
from clo.errors import UserError
from clo.training.layer_shares import choose_layers, shortest_range

ITEMS = random_items(9)
CHOSEN = TuningConfig(layers=AUTO, auto_items=6, auto_share=0.6)


def log_prob(model: Any, item: Item, i: int, j: int) -> Any:
    prompt, response = item.prompts[i], item.responses[j]
    logits = model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1]
    return -cross_entropy(logits, torch.tensor(response), reduction="sum")


def by_a_loop(model: Any, items: list[Item], kinds: str) -> list[float]:
    """CLO's loss at the start, one sequence at a time; squared norms by layer."""
    clo, model = METHODS["clo"], model.double()
    tokens = sum(len(item.responses[1]) for item in items)
    nll = -sum(log_prob(model, item, 1, 1) for item in items) / tokens
    margins = [log_prob(model, item, i, i) - log_prob(model, item, i, 1 - i) for item in items for i in range(2)]
    pref = -torch.stack([logsigmoid(clo.beta * (m - m.detach())) for m in margins]).mean()
    (clo.lam * nll + (1 - clo.lam) * pref).backward()
    squares = [0.0] * model.config.num_hidden_layers
    for name, parameter in model.named_parameters():
        if any(kind in name for kind in kinds.split()) and parameter.dim() == 2 and "layers." in name:
            squares[int(name.split(".")[2])] += float(parameter.grad.square().sum())
    return squares


@pytest.mark.parametrize(
    ("trains", "kinds"), [(Trains.attention, "self_attn"), (Trains.mlp, "mlp"), (Trains.both, "self_attn mlp")]
)
@pytest.mark.parametrize("max_tokens", [40, 4096])
def test_shares_are_those_of_the_loss_at_the_start(trains: Trains, kinds: str, max_tokens: int) -> None:
    squares = by_a_loop(tiny_model(layers=4), ITEMS[:6], kinds)
    tuning = replace(CHOSEN, trains=trains)
    choice = choose_layers(tiny_model(layers=4), tuning, METHODS["clo"], ITEMS, TrainerConfig(max_tokens=max_tokens))
    assert choice.shares == pytest.approx([square / sum(squares) for square in squares], rel=1e-3)
    first, last = choice.layers
    assert choice.held == pytest.approx(sum(choice.shares[first : last + 1])) and choice.held >= 0.6
    assert choice.items == 6


def test_adapters_go_by_the_matrices_that_they_stand_on() -> None:
    asked = (METHODS["clo"], ITEMS, TrainerConfig())
    plain = choose_layers(tiny_model(layers=3), CHOSEN, *asked)
    assert choose_layers(tiny_model(layers=3), replace(CHOSEN, lora=LoraConfig()), *asked) == plain


def test_the_model_is_as_it_was() -> None:
    model = tiny_model(layers=3).bfloat16()
    before = {name: (p.detach().clone(), p.requires_grad) for name, p in model.named_parameters()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        choose_layers(model, CHOSEN, METHODS["clo"], ITEMS, TrainerConfig(gradient_checkpointing=True))
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name][0]) and parameter.dtype == torch.bfloat16 and parameter.grad is None
        assert parameter.requires_grad == before[name][1]


@pytest.mark.parametrize(
    ("shares", "wanted", "found"),
    [
        ([0.1, 0.2, 0.3, 0.4], 0.4, (3, 3)),
        ([0.1, 0.2, 0.3, 0.4], 0.5, (2, 3)),
        ([0.4, 0.1, 0.1, 0.4], 0.7, (0, 3)),
        ([0.25, 0.25, 0.25, 0.25], 0.5, (0, 1)),
        ([0.1, 0.45, 0.35, 0.1], 0.8, (1, 2)),
        ([0.7, 0.1, 0.2], 1.0, (0, 2)),
    ],
)
def test_the_fewest_neighbours_that_hold_the_share(shares: list[float], wanted: float, found: tuple[int, int]) -> None:
    assert shortest_range(shares, wanted) == found


def test_a_gradient_that_is_nothing_is_refused() -> None:
    model = tiny_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    with pytest.raises(UserError, match=r"^tuning\.layers=auto: the squared gradient of the first 6 items"):
        choose_layers(model, CHOSEN, METHODS["clo"], ITEMS, TrainerConfig())
