"""Squares of three languages with further candidates and absent cells, against float64 loops over what is there."""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import tiny_model
from holed import CODES, EVERY, holed_items
from torch import Tensor

from clo.config.choices import Cells, Loss, NllReduction, PairReduction, Prompts
from clo.config.method import places_against
from clo.data.batch import balanced, every_cell, micro_batches, pack, packed_tokens, pad, padded_tokens
from clo.data.items import Item, absences
from clo.errors import UserError
from clo.square.comparisons import Comparison
from clo.square.objective import Objective, objective_terms, square_metrics
from clo.square.scores import packs, score

WAYS = [pack, pad]


def exact_scores(model: Any, items: list[Item]) -> Tensor:
    """S[b, i, j] by one unpadded float64 pass per cell that is there, 0 elsewhere; the model is converted to double."""
    model, (languages, candidates) = model.double(), (len(items[0].prompts), len(items[0].responses))
    S = torch.zeros(len(items), languages, candidates, dtype=torch.float64)
    for b, i, j in itertools.product(range(len(items)), range(languages), range(candidates)):
        prompt, response = items[b].prompts[i], items[b].responses[j]
        if prompt is not None and response is not None:
            ids = torch.tensor([prompt + response])
            log_probs = model(input_ids=ids, use_cache=False).logits[0].log_softmax(-1)
            rows = torch.arange(len(prompt) - 1, ids.shape[1] - 1)
            S = S.index_put(tuple(torch.tensor([[b], [i], [j]])), log_probs[rows, ids[0, rows + 1]].sum()[None])
    return S


def has(item: Item, i: int, j: int) -> bool:
    return item.prompts[i] is not None and item.responses[j] is not None


def loop_loss(objective: Objective, S: Any, R: Any, items: list[Item]) -> float:
    """From the definition, one cell at a time: own over others where both are there, sums over counts of the same."""
    nll, units, cost, pairs = 0.0, 0, 0.0, 0
    for b, item in enumerate(items):
        compared = [tuple(one)[:3] for one in objective.further]
        for i in range(3):
            nlls = {Cells.none: False, Cells.target: i > 0, Cells.diagonal: True}[objective.nll]
            if nlls and has(item, i, i):
                nll -= S[b][i][i]
                units += len(item.response(i)) if objective.nll_reduction is NllReduction.token_mean else 1
            if i > 0 or objective.preference is Prompts.both:
                named = range(3) if objective.against is None else objective.against
                rejected = {*named} - {i} or {0, 1, 2} - {i}
                compared += [(i, i, j) for j in rejected]
        there = [(i, j, k) for i, j, k in compared if has(item, i, j) and has(item, i, k)]
        for i, j, k in there:
            margin = objective.beta * ((S[b][i][j] - S[b][i][k]) - (R[b][i][j] - R[b][i][k]))
            cost += math.log1p(math.exp(-margin))
        pairs += len(there) if objective.pair_reduction is PairReduction.mean else bool(there)
    return objective.lam * nll / max(units, 1) + (1 - objective.lam) * cost / pairs


def some_scores(items: list[Item], seed: int) -> Tensor:
    """Made-up scores, 0 where nothing is."""
    S = -5 * torch.rand(len(items), 3, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for b, i, j in itertools.product(range(len(items)), range(3), range(5)):
        if not has(items[b], i, j):
            S[b, i, j] = 0
    return S


# Items and batches ----------------------------------------------------------------------------------------------------


def test_the_hash_of_a_full_square_is_the_one_it_had() -> None:
    """Caches and names of runs hold it."""
    assert Item("x", ((1, 2), (3,)), ((4,), (5,))).key() == "ebef3f32e711ab2e8c48be5df771ed06"
    others = [((4,), None), ((4,), (5,), (6,)), ((4,), (5,), None), ((4,), (6,), (5,))]
    assert len({Item("x", ((1, 2), (3,)), responses).key() for responses in others}) == 4


def test_one_language_is_whole_and_absences_are_counted() -> None:
    for prompts, responses in ((((1,), None), (None, (2,))), ((None, (1,)), ((2,), None)), (((1,), (1,)), ((2,),))):
        with pytest.raises(ValueError, match="item 'x' has no language whole, or fewer responses"):
            Item("x", prompts, responses)  # type: ignore[arg-type]
    a, b = Item("a", ((1,), None), ((2,), (3, 3), None)), Item("b", ((1,), (1,)), ((2,), None, None))
    assert absences([a, b]) == ([0, 1], [0, 1, 2])
    assert a.present(every_cell([a])) == [(0, 0), (0, 1)] and not a.is_whole() and a.longest() == 3
    with pytest.raises(ValueError, match="the same numbers of prompts and responses"):
        pack([a, Item("c", ((1,),), ((2,),))], [(0, 0)])


@pytest.mark.parametrize("is_packed", [True, False])
def test_micro_batches_and_ranks_count_what_is_there(is_packed: bool) -> None:
    items = holed_items(40)
    cells = every_cell(items)
    for budget in (1, 100, 300, 10_000):
        groups = micro_batches(items, cells, budget, is_packed)
        assert sorted(k for group in groups for k in group) == list(range(40))
        for group in groups:
            some = [items[k] for k in group]
            batch = (pack if is_packed else pad)(some, cells)
            held = batch.ids_1N.numel() if is_packed else batch.ids_NT.numel()  # type: ignore[union-attr]
            assert held <= budget or len(group) == 1
            told = sum(packed_tokens(item, cells) for item in some) if is_packed else padded_tokens(some, cells)
            assert held == told
    loads = [sum(packed_tokens(item, cells) for item in share) for share in balanced(items, cells, 3)]
    assert max(loads) - min(loads) <= max(packed_tokens(item, cells) for item in items)


@pytest.mark.parametrize("way", WAYS)
def test_scores_of_what_is_there_equal_a_float64_loop(way: Any) -> None:
    items, model = holed_items(7), tiny_model()
    cells = every_cell(items)
    with torch.no_grad():
        found, exact_S = score(model, way(items, cells)), exact_scores(copy.deepcopy(model), items)
    torch.testing.assert_close(found.S_BLK.double(), exact_S, rtol=1e-5, atol=1e-4)
    for b, i, j in itertools.product(range(7), range(3), range(5)):
        wanted = len(items[b].response(j)) if has(items[b], i, j) else 0
        assert float(found.count_BLK[b, i, j]) == wanted and (wanted or float(found.S_BLK[b, i, j]) == 0)
    assert packs(tiny_model(seed=1), items[4])


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_without_any_wanted_cell_can_be_passed(way: Any) -> None:
    """Ranks that meet in every pass make one of it, and its gradient is 0."""
    items, model, objective = [holed_items(3)[2]] * 2, tiny_model(), EVERY[2]
    S = score(model, way(items, [(1, 1), (1, 2)])).S_BLK
    assert S.shape == (2, 3, 5) and (S[:, 1:] == 0).all() and (S[:, :, 1:] == 0).all()
    terms = objective_terms(objective, S, S.detach(), items=items)
    loss = objective.loss(terms, objective.denominators(items))
    assert float(loss.detach()) == 0.0 and all(float(pair[1]) == 0 for pair in terms.metrics.values())
    loss.backward()
    assert all(p.grad is None or (p.grad == 0).all() for p in model.parameters())


# The objective --------------------------------------------------------------------------------------------------------


def test_by_hand() -> None:
    """Two languages and a worse English answer; the second item has no target response. beta = 1, R = 0, lam = 1/2.

    Item 1: (en: own -1 over target -3) margin 2, (en: -1 over worse -2) margin 1, (target: own -2 over en -5) margin 3.
    Item 2: (en: -4 over worse -4) margin 0 alone. Costs log(1 + e^-m): .126928, .313262, .048587, .693147; mean of
    four .295481. NLL of the target: 2 nats over 2 tokens, of item 1 alone. Loss (1 + .295481) / 2 = .647741.
    """
    items = [
        Item("a", ((1,), (1,)), ((1, 0), (2, 0), (3, 0))),
        Item("b", ((1,), (1,)), ((1, 0), None, (3, 0))),
    ]
    S = torch.tensor([[[-1.0, -3, -2], [-5, -2, 0]], [[-4.0, 0, -4], [-6, 0, 0]]], dtype=torch.float64)
    objective = Objective(2, Cells.target, Prompts.both, 0.5, 1.0, further=(Comparison(0, 0, 2, "worse"),))
    assert objective.cells() == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    terms, denominators = objective_terms(objective, S, torch.zeros_like(S), items=items), objective.denominators(items)
    assert denominators.tolist() == [2, 4]
    assert float(objective.loss(terms, denominators)) == pytest.approx(0.647741, abs=1e-6)
    logged = {name: pair.tolist() for name, pair in terms.metrics.items() if name.startswith(("margin", "saturated"))}
    assert logged == {"saturated": [0, 4], "margin_en": [2, 1], "margin_target": [3, 1], "margin_worse": [1, 2]}
    per_item = replace(objective, pair_reduction=PairReduction.sum, nll_reduction=NllReduction.token_sum)
    assert per_item.denominators(items).tolist() == [1, 2]
    assert replace(per_item, further=()).denominators(items).tolist() == [1, 1]


def test_what_comparisons_are_against() -> None:
    def pairs(against: Any, languages: int = 3) -> list[tuple[int, int]]:
        places = places_against(against, ("en", "ko", "sw")[:languages])
        found = Objective(languages, Cells.none, Prompts.both, 0.0, 0.1, against=places).comparisons()
        assert all(one.prompt == one.chosen for one in found)
        return [(one.prompt, one.rejected) for one in found]

    assert pairs("all") == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    assert pairs("source") == pairs(["en"]) == [(0, 1), (0, 2), (1, 0), (2, 0)]
    assert pairs(["ko"]) == [(0, 1), (1, 0), (1, 2), (2, 1)]
    assert pairs(["en", "ko"]) == [(0, 1), (1, 0), (2, 0), (2, 1)]
    for against in ("all", "source", ["en"], ["ko"], ["ko", "en"]):
        assert pairs(against, 2) == [(0, 1), (1, 0)]
    for wrong in ("english", [], ["yo"], ["ko", "ko"], None, 3):
        with pytest.raises(UserError, match=r"method.against is all, source, or a list of .* \(en, ko, sw\)"):
            places_against(wrong, CODES)


@pytest.mark.parametrize("objective", EVERY)
def test_loss_and_its_gradient_equal_a_plain_loop(objective: Objective) -> None:
    items = holed_items(9)
    S, R = some_scores(items, 1), some_scores(items, 2)
    denominators = objective.denominators(items)

    def loss_of(values: Tensor) -> Tensor:
        return objective.loss(objective_terms(objective, values, R, items=items), denominators)

    assert float(loss_of(S)) == pytest.approx(loop_loss(objective, S.tolist(), R.tolist(), items), rel=1e-12)
    gradient = torch.autograd.grad(loss_of(S.requires_grad_()), S)[0]
    S = S.detach()
    for place in [(1, 1, 0), (1, 1, 1), (0, 0, 3), (5, 2, 2), (7, 0, 0), (8, 1, 4)]:
        for sign in (1, -1):
            S[place] += sign * 1e-6
            shifted = loop_loss(objective, S.tolist(), R.tolist(), items)
            S[place] -= sign * 1e-6
            gradient[place] -= sign * shifted / 2e-6
        present = has(items[place[0]], *place[1:])
        assert abs(float(gradient[place])) < 1e-8 or not present


@pytest.mark.parametrize("loss", Loss, ids=lambda loss: loss.name)
def test_splits_add_up_and_names_do_not_depend_on_them(loss: Loss) -> None:
    items = holed_items(9)
    objective = replace(EVERY[1], loss_name=loss, margin=0.5, penalty=2.0, label_smoothing=0.1)
    S, R = some_scores(items, 1).requires_grad_(), some_scores(items, 2)
    count = torch.tensor([[[len(ids or ()) for ids in item.responses]] * 3 for item in items], dtype=torch.float64)
    count = count * (S != 0)
    denominators = objective.denominators(items)
    whole = objective_terms(objective, S, R, count, items=items)
    slices = [slice(0, 2), slice(2, 3), slice(3, 6), slice(6, 9)]  # whole ones, none at all, and some
    parts = [objective_terms(objective, S[k], R[k], count[k], items=items[k]) for k in slices]
    total = sum(objective.loss(part, denominators) for part in parts)
    expected = objective.loss(whole, denominators)
    assert float(total) == pytest.approx(float(expected), rel=1e-13) and math.isfinite(float(expected))
    gradients = [torch.autograd.grad(value, S, retain_graph=True)[0] for value in (total, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-15)
    absent = S == 0
    absent[:, range(3), range(3)] = False  # the NLL adds the zeros of its cells
    assert torch.isfinite(gradients[0]).all() and (gradients[0][absent] == 0).all()
    for part in parts:
        assert part.metrics.keys() == whole.metrics.keys()
    for name, pair in whole.metrics.items():
        torch.testing.assert_close(sum(part.metrics[name] for part in parts), pair, rtol=1e-12, atol=1e-12)
    sides = {"en", "target", "ko", "sw", "own", "worse"}
    assert {name.removeprefix("margin_") for name in whole.metrics if name.startswith("margin")} == sides


def test_targets_share_out_what_is_pooled() -> None:
    items = holed_items(9)
    S, R = some_scores(items, 1), some_scores(items, 2)
    found = objective_terms(EVERY[0], S, R, items=items).metrics
    for name in ("margin", "accuracy", "chosen_change", "rejected_change"):
        torch.testing.assert_close(found[f"{name}_ko"] + found[f"{name}_sw"], found[f"{name}_target"])
    alone = objective_terms(replace(EVERY[0], codes=()), S, R, items=items).metrics
    assert {*found} - {*alone} == {
        f"{n}_{c}" for n in ("margin", "accuracy", "chosen_change", "rejected_change") for c in ("ko", "sw")
    }
    count = (S != 0).double() * 2
    told = square_metrics(S, count, CODES)
    assert told["nll_ko"] == pytest.approx(-float(S[:, 1, 1].sum() / count[:, 1, 1].sum()))
    assert told["logp_en_sw"] == pytest.approx(float(S[:, 0, 2].sum() / count[:, 0, 2].sum()))
    pooled = float((S[:, 1, 1].sum() + S[:, 2, 2].sum()) / (count[:, 1, 1].sum() + count[:, 2, 2].sum()))
    assert told["nll_target"] == pytest.approx(-pooled)
    count[:, 1] = 0
    assert "nll_ko" not in square_metrics(S, count, CODES) and "nll_sw" in square_metrics(S, count, CODES)
