"""The objective against numbers by hand, a plain float64 loop, and its analytic gradient."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_runs import METHODS, random_items
from torch import Tensor

from clo.config.choices import Cells, NllReduction, PairReduction, Prompts
from clo.data.items import Item
from clo.square.objective import Objective, objective_terms

EVERY = [
    Objective(languages, nll, preference, 0.3, 0.4, *reductions)
    for languages in (2, 3)
    for nll in Cells
    for preference in Prompts
    for reductions in zip(NllReduction, PairReduction, strict=True)
]


def named(objective: Objective) -> str:
    parts = [objective.nll, objective.preference, objective.nll_reduction, objective.pair_reduction]
    return "-".join([str(objective.languages), *(part.name for part in parts)])


def squares(count: int, languages: int, seed: int = 0, spread: float = 5.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    S = -spread * torch.rand(count, languages, languages, generator=generator, dtype=torch.float64)
    R = -spread * torch.rand(count, languages, languages, generator=generator, dtype=torch.float64)
    return S, R


def loop_loss(objective: Objective, S: list[Any], R: list[Any], items: list[Item]) -> float:
    """The loss again from its definition: plain Python floats, one cell at a time."""
    languages = range(objective.languages)
    has_nll = {
        Cells.none: lambda i: False,
        Cells.source: lambda i: i == 0,
        Cells.target: lambda i: i > 0,
        Cells.diagonal: lambda i: True,
    }[objective.nll]
    compares = {
        Prompts.none: lambda i: False,
        Prompts.source: lambda i: i == 0,
        Prompts.target: lambda i: i > 0,
        Prompts.both: lambda i: True,
    }[objective.preference]
    nll, units, preference, pairs = 0.0, 0, 0.0, 0
    for b, item in enumerate(items):
        for i in languages:
            if has_nll(i):
                nll -= S[b][i][i]
                units += len(item.responses[i]) if objective.nll_reduction is NllReduction.token_mean else 1
            for j in languages:
                if compares(i) and j != i:
                    margin = objective.beta * ((S[b][i][i] - S[b][i][j]) - (R[b][i][i] - R[b][i][j]))
                    preference += math.log1p(math.exp(-margin))
                    pairs += 1
    pairs = pairs if objective.pair_reduction is PairReduction.mean else len(items)
    nll_part = objective.lam * nll / units if units else 0.0
    return nll_part + ((1 - objective.lam) * preference / pairs if preference else 0.0)


def test_loss_by_hand() -> None:
    """Two languages, one item, lam = 1/2, beta = 1/2; responses of 2 and 4 tokens.

    S = [[-2, -5], [-3, -4]] and R = [[-3, -4], [-2, -6]] (rows: prompt; columns: response).
    English prompt: (S_ee - S_et) - (R_ee - R_et) = 3 - 1 = 2, margin 1, -log sigmoid(1) = log(1 + e^-1) = 0.3132617.
    Target prompt: (S_tt - S_te) - (R_tt - R_te) = -1 - (-4) = 3, margin 1.5, log(1 + e^-1.5) = 0.2014133.
    L_pref is their mean 0.2573375. L_nll is -S_tt / 4 = 1 per token. The loss is (1 + 0.2573375) / 2 = 0.6286687.
    """
    objective = Objective(2, Cells.target, Prompts.both, 0.5, 0.5)
    item = Item("x", ((1,), (1,)), ((1, 0), (1, 2, 3, 0)))
    S = torch.tensor([[[-2.0, -5.0], [-3.0, -4.0]]], dtype=torch.float64)
    R = torch.tensor([[[-3.0, -4.0], [-2.0, -6.0]]], dtype=torch.float64)
    terms, denominators = objective_terms(objective, S, R), objective.denominators([item])
    assert denominators.tolist() == [4.0, 2.0]
    assert float(terms.nll_sum) == 4.0
    assert float(terms.preference_sum) == pytest.approx(0.3132617 + 0.2014133, abs=1e-7)
    assert float(objective.loss(terms, denominators)) == pytest.approx(0.6286687, abs=1e-7)
    means = {name: float(total / count) for name, (total, count) in terms.metrics.items()}
    assert means == pytest.approx(
        {
            "margin_en": 1.0, "accuracy_en": 1.0, "chosen_change_en": 1.0, "rejected_change_en": -1.0,
            "margin_target": 1.5, "accuracy_target": 1.0, "chosen_change_target": 2.0, "rejected_change_target": -1.0,
            "saturated": 0.0,
        }
    )  # fmt: skip


def test_reductions_by_hand() -> None:
    """The same item twice over in other units: NLL per answer is 4 / 1, the comparisons' sum per item 0.514675."""
    item = Item("x", ((1,), (1,)), ((1, 0), (1, 2, 3, 0)))
    S = torch.tensor([[[-2.0, -5.0], [-3.0, -4.0]]], dtype=torch.float64)
    R = torch.tensor([[[-3.0, -4.0], [-2.0, -6.0]]], dtype=torch.float64)
    objective = Objective(2, Cells.target, Prompts.both, 0.5, 0.5, NllReduction.token_sum, PairReduction.sum)
    denominators = objective.denominators([item, item])
    assert denominators.tolist() == [2.0, 2.0]
    terms = objective_terms(objective, S.repeat(2, 1, 1), R.repeat(2, 1, 1))
    assert float(objective.loss(terms, denominators)) == pytest.approx((4 + 0.514675) / 2, abs=1e-6)


def test_cells_of_every_method() -> None:
    both = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert {name: objective.cells() for name, objective in METHODS.items()} == {
        "clo": both, "clo_en_nll": both, "dpo": both,
        "sft": [(0, 0), (1, 1)], "sft_en": [(0, 0)], "sft_target": [(1, 1)],
    }  # fmt: skip
    three = Objective(3, Cells.target, Prompts.target, 0.5, 0.1)
    assert three.nll_cells() == [(1, 1), (2, 2)]
    assert [one[:3] for one in three.comparisons()] == [(1, 1, 0), (1, 1, 2), (2, 2, 0), (2, 2, 1)]
    assert three.cells() == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]


@pytest.mark.parametrize("objective", [*METHODS.values(), *EVERY], ids=[*METHODS, *map(named, EVERY)])
def test_against_a_plain_loop(objective: Objective) -> None:
    items = random_items(5, objective.languages)
    S, R = squares(5, objective.languages)
    loss = objective.loss(objective_terms(objective, S, R), objective.denominators(items))
    assert float(loss) == pytest.approx(loop_loss(objective, S.tolist(), R.tolist(), items), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("objective", [*METHODS.values(), *EVERY], ids=[*METHODS, *map(named, EVERY)])
def test_gradient_is_the_analytic_one(objective: Objective) -> None:
    """dL/dS_ii = -lam / d_nll - (1 - lam) beta sum_j sigmoid(-m_ij) / d_pref, dL/dS_ij = + one such summand."""
    items = random_items(4, objective.languages)
    S, R = squares(4, objective.languages)
    nll, pairs = (max(value, 1.0) for value in objective.denominators(items).tolist())
    expected = torch.zeros_like(S)
    for b in range(4):
        for i, _, j, *_ in objective.comparisons():
            margin = objective.beta * float((S[b, i, i] - S[b, i, j]) - (R[b, i, i] - R[b, i, j]))
            slope = (1 - objective.lam) * objective.beta / (1 + math.exp(margin)) / pairs
            expected[b, i, i] -= slope
            expected[b, i, j] += slope
        for i, _ in objective.nll_cells():
            expected[b, i, i] -= objective.lam / nll
    S.requires_grad_()
    loss = objective.loss(objective_terms(objective, S, R), objective.denominators(items))
    gradient = torch.autograd.grad(loss, S, materialize_grads=True)[0] if loss.requires_grad else torch.zeros_like(S)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["clo", "clo_en_nll", "dpo"])
def test_step_zero_is_ln_2(name: str) -> None:
    objective = METHODS[name]
    items = random_items(3)
    S, _ = squares(3, 2)
    terms = objective_terms(objective, S, S.clone())
    weighted = objective.weighted_preference(terms, objective.denominators(items))
    assert float(weighted) == pytest.approx((1 - objective.lam) * math.log(2), rel=1e-14)


@pytest.mark.parametrize("objective", EVERY, ids=map(named, EVERY))
def test_parts_of_a_step_add_up(objective: Objective) -> None:
    items = random_items(7, objective.languages)
    S, R = squares(7, objective.languages)
    denominators = objective.denominators(items)
    whole = objective.loss(objective_terms(objective, S, R), denominators)
    slices = [slice(0, 1), slice(1, 4), slice(4, 7)]
    parts = [objective.loss(objective_terms(objective, S[k], R[k]), denominators) for k in slices]
    assert float(sum(parts)) == pytest.approx(float(whole), rel=1e-13)


def test_denominators_count_tokens_of_the_nll_cells_only() -> None:
    items = random_items(6)
    target = sum(len(item.responses[1]) for item in items)
    source = sum(len(item.responses[0]) for item in items)
    assert METHODS["clo"].denominators(items).tolist() == [target, 12]
    assert METHODS["clo_en_nll"].denominators(items).tolist() == [source + target, 12]
    assert METHODS["sft_en"].denominators(items).tolist() == [source, 0]
    assert METHODS["dpo"].denominators(items).tolist() == [0, 12]
    per_answer = Objective(2, Cells.diagonal, Prompts.both, 0.5, 0.1, NllReduction.token_sum, PairReduction.sum)
    assert per_answer.denominators(items).tolist() == [12, 6]


def test_comparisons_need_a_reference() -> None:
    with pytest.raises(ValueError, match="reference"):
        objective_terms(METHODS["clo"], torch.zeros(1, 2, 2))
    assert objective_terms(METHODS["sft"], torch.zeros(1, 2, 2)).metrics == {}


def test_large_margins_stay_finite() -> None:
    """A margin of -2000 costs 2000, one of +2000 costs nothing; no overflow in float32."""
    S = torch.tensor([[[-4000.0, 0.0], [-4000.0, 0.0]]], requires_grad=True)
    objective = Objective(2, Cells.none, Prompts.both, 0.0, 0.5)
    terms = objective_terms(objective, S, torch.zeros(1, 2, 2))
    assert float(terms.preference_sum) == 2000.0
    assert torch.isfinite(torch.autograd.grad(terms.preference_sum, S)[0]).all()
    assert terms.metrics["saturated"].tolist() == [1.0, 2.0]


@settings(max_examples=60, deadline=None)
@given(
    shift=st.floats(-50, 50),
    seed=st.integers(0, 10_000),
    index=st.integers(0, len(EVERY) - 1),
)
def test_preference_ignores_a_shift_of_policy_and_reference_together(shift: float, seed: int, index: int) -> None:
    """Adding any values to S and R at once, or one value per prompt to S alone, leaves the comparisons as they are."""
    objective = EVERY[index]
    size = objective.languages
    S, R = squares(3, size, seed)
    per_cell = shift * torch.rand(3, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    per_prompt = per_cell[:, :, :1]
    before = float(objective_terms(objective, S, R).preference_sum)
    assert float(objective_terms(objective, S + per_cell, R + per_cell).preference_sum) == pytest.approx(before, 1e-9)
    assert float(objective_terms(objective, S + per_prompt, R).preference_sum) == pytest.approx(before, 1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), raise_by=st.floats(0.01, 20))
def test_raising_a_chosen_response_lowers_the_loss(seed: int, raise_by: float) -> None:
    S, R = squares(1, 2, seed)
    better, worse = S.clone(), S.clone()
    better[:, 1, 1] += raise_by
    worse[:, 0, 1] += raise_by
    items = random_items(1)

    def loss(values: Tensor) -> float:
        terms = objective_terms(METHODS["clo"], values, R)
        return float(METHODS["clo"].loss(terms, METHODS["clo"].denominators(items)))

    assert loss(better) < loss(S) < loss(worse)
