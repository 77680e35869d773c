"""Rankings of four responses: arithmetic by hand, a float64 loop from the definition, absent ones, splits, training."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import difference, fit, method, metrics, random_items, run_config, weights
from torch import Tensor

from clo.config.choices import Cells, NllReduction, Prompts
from clo.data.candidates import Further, further_candidates, with_further
from clo.data.items import Item
from clo.errors import UserError
from clo.square.comparisons import Comparison
from clo.square.further import further_comparisons
from clo.square.losses import Pairs
from clo.square.objective import Objective, objective_terms
from clo.square.ranking import exchange_costs, ranked
from clo.training.stage_plan import StageData

GAINS = [9.0, 7.0, 5.0, 4.0]


def crpo(languages: int = 2, gains: Any = GAINS, preference: Prompts = Prompts.target) -> Objective:
    how = method("clo", ranking=gains, preference=preference)
    between, further = further_comparisons(how, languages)
    assert between is Prompts.none
    return Objective(languages, Cells.diagonal, between, 0.2, 0.1, NllReduction.token_sum, further=further)


def four_items(count: int, seed: int = 0, holes: bool = False) -> list[Item]:
    """Two prompts and four responses; with holes, all but the first lack some."""
    rng = torch.Generator().manual_seed(seed)
    items = []
    for item, more in zip(random_items(count, 2, seed), random_items(count, 2, seed + 50), strict=True):
        whole = with_further(item, more.responses)
        lost = [False, *(torch.rand(3, generator=rng) < 0.4).tolist()] if holes and items else [False] * 4
        left = tuple(None if gone else ids for ids, gone in zip(whole.responses, lost, strict=True))
        items.append(replace(whole, responses=left))
    return items


def some_scores(items: list[Item], seed: int) -> Tensor:
    S = -200 * torch.rand(len(items), 2, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for b, i, j in itertools.product(range(len(items)), range(2), range(4)):
        if items[b].responses[j] is None:
            S[b, i, j] = 0
    return S


def counts(items: list[Item]) -> Tensor:
    return torch.tensor([[[len(ids or ()) for ids in item.responses]] * 2 for item in items])


def loop_loss(prompts: list[int], gains: list[float], beta: float, S: Any, R: Any, items: list[Item]) -> float:
    """From the definition: ranks by counting, pairs one by one, the mean over prompts that have a pair."""
    total, lists = 0.0, 0
    for b, item in enumerate(items):
        for i in prompts:
            places = [i, 1 - i, 2 + i, 3 - i]
            there = [(g, j) for g, j in zip(gains, places, strict=True) if item.responses[j] is not None]
            s = {j: beta * float(S[b][i][j] - R[b][i][j]) for _, j in there}
            rank = {j: 1 + sum(s[k] > s[j] for k in s) for j in s}
            for (g, j), (h, k) in itertools.permutations(there, 2):
                if g > h:
                    cost = (g - h) * abs(1 / math.log2(1 + rank[j]) - 1 / math.log2(1 + rank[k]))
                    total += cost * math.log1p(math.exp(-(s[j] - s[k])))
            lists += len({g for g, _ in there}) > 1
    return total / lists


# By hand --------------------------------------------------------------------------------------------------------------


def test_at_the_start_the_ranks_are_those_of_the_gains() -> None:
    """All scores equal: discounts 1, .6309, .5, .4307, and every pair at ln 2."""
    objective, items = crpo(), four_items(1)
    S = torch.zeros(1, 2, 4, dtype=torch.float64)
    S[0, 1] = torch.tensor([0.004, -0.003, 0.002, 0.001])  # rounding decides no rank
    (costs,) = exchange_costs(objective.comparisons(), S, None).tolist()
    d = [1 / math.log2(1 + rank) for rank in (1, 2, 3, 4)]
    wanted = [(GAINS[a] - GAINS[b]) * (d[a] - d[b]) for a, b in itertools.combinations(range(4), 2)]
    assert costs == pytest.approx(wanted)
    assert sum(wanted) == pytest.approx(
        2 * 0.36907 + 4 * 0.5 + 5 * 0.56932 + 2 * 0.13093 + 3 * 0.20025 + 0.06932, rel=1e-4
    )
    terms = objective_terms(objective, torch.zeros_like(S), torch.zeros_like(S), None, None, items)
    assert float(terms.preference_sum) == pytest.approx(sum(wanted) * math.log(2))


def test_a_reversed_order_by_hand() -> None:
    """Two responses, the better one last: its exchange costs (9 - 4)(1 - .63093)."""
    one = Comparison(0, 0, 1, gap=5.0)
    change = torch.tensor([[[-3.0, 1.0]]], dtype=torch.float64)
    cost = exchange_costs([one], change, None)
    assert float(cost) == pytest.approx(5 * (1 - 1 / math.log2(3)))
    pairs = Pairs(change[:, 0, :1], change[:, 0, 1:], torch.zeros(1, 1), torch.zeros(1, 1))
    found = ranked(pairs, cost, 0.5)
    assert float(found.margin) == -2.0 and float(found.pull) == pytest.approx(1 / (1 + math.exp(-2)))
    assert float(found.loss) == pytest.approx(float(cost) * math.log1p(math.exp(2)))


def test_which_responses_are_ranked() -> None:
    """Under the target's prompt: its better one, English's better one, its worse one, English's worse one."""
    (best, *_, last) = crpo().comparisons()
    assert best == Comparison(1, 1, 0, "", 2.0) and last == Comparison(1, 3, 2, "ranking_target", 1.0)
    assert [(one.chosen, one.rejected) for one in crpo().comparisons()] == [
        (1, 0),
        (1, 3),
        (1, 2),
        (0, 3),
        (0, 2),
        (3, 2),
    ]
    names = [one.name for one in crpo(preference=Prompts.both).comparisons() if one.prompt == 0]
    assert names == ["", "quality_en", "ranking_en", "ranking_en", "quality_en", "ranking_en"]
    assert {one.prompt for one in crpo(3).comparisons()} == {1, 2}
    with pytest.raises(UserError, match=r"there are 2; set method\.preference=target"):
        crpo(3, preference=Prompts.both)


# Against the loop -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("preference", [Prompts.target, Prompts.both])
@pytest.mark.parametrize("gains", [GAINS, [9.0, 5.0, 7.0, 4.0], [1.0, 1.0, 0.0, 0.0]])
def test_value_is_that_of_the_definition(holes: bool, preference: Prompts, gains: list[float]) -> None:
    objective, items = crpo(gains=gains, preference=preference), four_items(9, holes=holes)
    S, R = some_scores(items, 1), some_scores(items, 2)
    denominators = objective.denominators(items)
    terms = objective_terms(objective, S, R, counts(items), None, items)
    found = float(objective.weighted_preference(terms, denominators)) / 0.8
    assert found == pytest.approx(loop_loss([1] if preference is Prompts.target else [0, 1], gains, 0.1, S, R, items))


def test_parts_of_a_step_add_up() -> None:
    objective, items = crpo(preference=Prompts.both), four_items(9, holes=True)
    S, R = some_scores(items, 1), some_scores(items, 2)
    denominators = objective.denominators(items)

    def loss(part: slice) -> Tensor:
        terms = objective_terms(objective, S[part], R[part], counts(items)[part], None, items[part])
        return objective.loss(terms, denominators)

    parts = sum((loss(slice(k, k + 2)) for k in range(0, 9, 2)), torch.zeros(()))
    torch.testing.assert_close(parts, loss(slice(None)), rtol=1e-12, atol=1e-12)


def test_the_gradient_is_that_of_the_pairs_alone() -> None:
    """Ranks are no function to differentiate: the cost of an exchange is a constant of the step."""
    objective, items = crpo(), four_items(3)
    S, R = some_scores(items, 3).requires_grad_(), some_scores(items, 4)
    terms = objective_terms(objective, S, R, None, None, items)
    (gradient,) = torch.autograd.grad(terms.preference_sum, S)
    costs = exchange_costs(objective.comparisons(), S - R, None)
    wanted = torch.zeros_like(gradient)
    for c, one in enumerate(objective.comparisons()):
        change = (S - R).detach()[:, one.prompt]
        slope = costs[:, c] * 0.1 * torch.sigmoid(-0.1 * (change[:, one.chosen] - change[:, one.rejected]))
        wanted[:, one.prompt, one.chosen] -= slope
        wanted[:, one.prompt, one.rejected] += slope
    torch.testing.assert_close(gradient, wanted)
    with pytest.raises(ValueError, match="reference"):
        objective_terms(objective, S, None, None, None, items)


# Candidates and training ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "candidates", "between", "compared"),
    [
        ({}, [], Prompts.both, []),
        ({"rejected": "own"}, ["own1"], Prompts.source, [(1, 1, 2, "own_target")]),
        ({"rejected": "own", "preference": Prompts.target}, ["own1"], Prompts.none, [(1, 1, 2, "own_target")]),
        (
            {"rejected": "own", "own_prompts": Prompts.both},
            ["own0", "own1"],
            Prompts.none,
            [(0, 0, 2, "own_en"), (1, 1, 3, "own_target")],
        ),
        ({"rejected": ["own", "translation"]}, ["own1"], Prompts.both, [(1, 1, 2, "own_target")]),
        (
            {"rejected": "quality"},
            ["quality0", "quality1"],
            Prompts.none,
            [(0, 0, 2, "quality_en"), (1, 1, 3, "quality_target")],
        ),
        (
            {"rejected": ["quality", "own"], "preference": Prompts.target},
            ["quality0", "quality1", "own1"],
            Prompts.none,
            [(1, 1, 3, "quality_target"), (1, 1, 4, "own_target")],
        ),
    ],
)
def test_what_a_method_compares_with(changes: Any, candidates: list[str], between: Prompts, compared: Any) -> None:
    how = method("clo", **changes)
    found = further_candidates(how, 2)
    assert [f"{one.kind}{one.language}" for one in found] == candidates and all(isinstance(f, Further) for f in found)
    left, further = further_comparisons(how, 2)
    assert left is between and [tuple(one)[:4] for one in further] == compared


def test_training_does_not_depend_on_the_split(tmp_path: Path) -> None:
    items = four_items(14, holes=True)
    data = StageData(items, items[:6])  # what is seen is what is trained on
    found = []
    for tokens in (40, 4000):
        run = run_config(tmp_path / f"{tokens}", max_tokens=tokens)
        run.method = method("clo", ranking=GAINS, preference=Prompts.target)  # put in later: its rows have no pairs
        found.append(weights(fit(tmp_path / f"{tokens}", run, data=data)))
    assert difference(*found)[0] < 5e-5
    last = metrics(tmp_path / "40", "val")[-1]
    for name in ("margin_target", "margin_quality_target", "accuracy_ranking_target", "chosen_change_quality_target"):
        assert math.isfinite(last[f"val/{name}"])
    assert last["val/margin_target"] > 0 and last["val/margin_quality_target"] > 0
