"""Scores of the square, packed and padded, against one unpadded float64 pass per cell."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from conftest import tiny_model
from tiny_runs import METHODS, naive_scores, random_items, tuned
from torch import Tensor

from clo.config.choices import Cells, Prompts
from clo.data.batch import micro_batches, pack, pad
from clo.data.items import Item
from clo.square.objective import Objective, objective_terms
from clo.square.reference import swapped
from clo.square.scores import score, score_items

FAMILIES = ["llama", "qwen2", "mistral", "gpt2"]
"""The last has positions of its own per place, where the others see distances only: padding must not shift them."""
WHOLE = [(0, 0), (0, 1), (1, 0), (1, 1)]
WAYS = [pack, pad]


def loss_of(S: Tensor, items: list[Item], around: Tensor) -> Tensor:
    """CLO's loss with a made-up reference around given scores, so that every cell has a gradient of its own."""
    objective = Objective(len(items[0].prompts), Cells.target, Prompts.both, 0.7, 0.2)
    noise = torch.randn(S.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    R = (around.detach().double().cpu() + noise).to(S)
    return objective.loss(objective_terms(objective, S, R), objective.denominators(items))


def attention_gradient(model: Any, loss: Tensor) -> Tensor:
    parameters = [p for name, p in sorted(model.named_parameters()) if "attn" in name]
    return torch.cat([g.flatten().double() for g in torch.autograd.grad(loss, parameters)])


@pytest.mark.parametrize("languages", [2, 3])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("way", WAYS)
def test_loss_and_gradient_equal_a_float64_loop(way: Any, family: str, languages: int) -> None:
    items = random_items(4, languages)
    cells = [(i, j) for i in range(languages) for j in range(languages)]
    model = tiny_model(family)
    exact_model = copy.deepcopy(model)
    S = score(model, way(items, cells)).S_BLK
    exact_S = naive_scores(exact_model, items)
    torch.testing.assert_close(S.detach().double(), exact_S.detach(), rtol=1e-5, atol=1e-4)
    losses = [loss_of(values, items, exact_S) for values in (S, exact_S)]
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-5)
    gradient, exact = attention_gradient(model, losses[0]), attention_gradient(exact_model, losses[1])
    assert float((gradient - exact).norm() / exact.norm()) < 5e-5


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", METHODS)
def test_cells_that_are_not_asked_for_are_zero(name: str, way: Any) -> None:
    items, model, objective = random_items(3), tiny_model(), METHODS[name]
    whole = score(model, way(items, WHOLE))
    some = score(model, way(items, objective.cells()))
    asked = torch.zeros(2, 2, dtype=torch.bool)
    for i, j in objective.cells():
        asked[i, j] = True
    torch.testing.assert_close(some.S_BLK[:, asked], whole.S_BLK[:, asked], rtol=1e-5, atol=1e-4)
    assert (some.S_BLK[:, ~asked] == 0).all() and (some.count_BLK[:, ~asked] == 0).all()


@pytest.mark.parametrize("way", WAYS)
def test_counts_are_response_tokens_with_their_end(way: Any) -> None:
    items = random_items(5)
    counts = score(tiny_model(), way(items, WHOLE)).count_BLK
    lengths = torch.tensor([[len(response) for response in item.responses] for item in items])
    assert torch.equal(counts, lengths[:, None, :].expand(5, 2, 2).float())


@pytest.mark.parametrize("way", WAYS)
def test_no_prompt_token_is_scored(way: Any) -> None:
    """A model that knows nothing gives log(1 / V) per response token, and nothing for the prompt."""
    items, model = random_items(4), tiny_model()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    scores = score(model, way(items, WHOLE))
    expected = -scores.count_BLK * torch.log(torch.tensor(400.0))
    torch.testing.assert_close(scores.S_BLK, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_score_items_does_not_depend_on_the_token_budget(family: str) -> None:
    items, model = random_items(9), tiny_model(family)
    split = [score_items(model, items, WHOLE, budget) for budget in (1, 90, 100_000)]
    groups = [len(micro_batches(items, WHOLE, budget)) for budget in (1, 90, 100_000)]
    assert groups[0] == 9 and groups[2] == 1 and groups[1] > 1
    for part in split:
        torch.testing.assert_close(part.S_BLK, split[0].S_BLK, rtol=1e-5, atol=1e-5)
        assert torch.equal(part.count_BLK, split[0].count_BLK)
        assert not part.S_BLK.requires_grad


@pytest.mark.parametrize("way", WAYS)
def test_padding_rows_and_neighbours_do_not_leak(way: Any) -> None:
    """A short item scores the same alone and beside a much longer one."""
    short, long = Item("s", ((5,), (6, 7)), ((0,), (8, 0))), random_items(1, seed=9)[0]
    model = tiny_model()
    alone, beside = score(model, way([short], WHOLE)), score(model, way([short, long], WHOLE))
    torch.testing.assert_close(beside.S_BLK[:1], alone.S_BLK, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("languages", [2, 3])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_autocast_is_close(family: str, way: Any, languages: int) -> None:
    """Loss within 1e-3 and gradient within 2e-2 of float64 when matrix products run in bfloat16.

    The model's weights are those of a usual initialisation here; the wide one of the other tests gives log-probs far
    from those of any language model.
    """
    items = random_items(8, languages)
    cells = [(i, j) for i in range(languages) for j in range(languages)]
    model = tiny_model(family)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(0.2)
    exact_model = copy.deepcopy(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        S = score(model, way(items, cells)).S_BLK
    assert S.dtype == torch.float32
    exact_S = naive_scores(exact_model, items)
    losses = [loss_of(values, items, exact_S) for values in (S, exact_S)]
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-3)
    gradient, exact = attention_gradient(model, losses[0]), attention_gradient(exact_model, losses[1])
    assert float((gradient - exact).norm() / exact.norm()) < 2e-2


def test_autocast_keeps_gradients_after_a_swapped_reference() -> None:
    """Autocast caches casts made without gradients; the policy's pass after the reference's must not reuse them."""
    items, model = random_items(3), tuned()
    start = {name: p.detach() * 1.1 for name, p in model.named_parameters() if p.requires_grad}
    gradients = []
    for with_reference in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            if with_reference:
                with torch.no_grad(), swapped(model, start):
                    score(model, pack(items, WHOLE))
            S = score(model, pack(items, WHOLE)).S_BLK
        gradients.append(attention_gradient(model, loss_of(S, items, S)))
    assert torch.equal(*gradients) and float(gradients[0].norm()) > 0


@pytest.mark.parametrize("family", ["llama", "qwen2", "mistral"])
@pytest.mark.parametrize("name", METHODS)
def test_every_methods_loss_and_gradient_equal_float64(name: str, family: str) -> None:
    objective, items, model = METHODS[name], random_items(5), tiny_model(family)
    exact_model = copy.deepcopy(model)
    S, exact_S = score(model, pack(items, objective.cells())).S_BLK, naive_scores(exact_model, items)
    noise = torch.randn(exact_S.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    R = exact_S.detach() + noise if objective.comparisons() else None
    denominators = objective.denominators(items)
    losses = []
    for values in (S, exact_S):
        reference = None if R is None else R.to(values)
        losses.append(objective.loss(objective_terms(objective, values, reference), denominators))
    assert float(losses[0].detach()) == pytest.approx(float(losses[1].detach()), rel=1e-5)
    gradient, exact = attention_gradient(model, losses[0]), attention_gradient(exact_model, losses[1])
    assert float((gradient - exact).norm() / exact.norm()) < 5e-5


def test_the_head_gets_whole_blocks_of_memory() -> None:
    """A view with gaps is multiplied row by row on a CPU, each with a copy of the head: minutes at 262,144 words."""
    from clo.evaluation.decode import Limits, decode

    model, whole = tiny_model("llama"), []
    model.get_output_embeddings().register_forward_pre_hook(lambda _, args: whole.append(args[0].is_contiguous()))
    with torch.no_grad():
        score(model, pad(random_items(4, 2), WHOLE))
        decode(model, [[5, 6, 7], [8, 9], [7]], Limits(batch=64, forward=64, rooms=[3, 3, 3], ends=[2]))
    assert len(whole) >= 3 and all(whole)
