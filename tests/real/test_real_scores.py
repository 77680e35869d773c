"""Packed scores and gradients of a real model on real rows against float64, one plain pass per cell."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from real_runs import TEMPLATE, exact_score, item_of, long_item, real_rows
from torch import Tensor

from clo.config import ModelConfig, TuningConfig
from clo.config.choices import Cells, Prompts
from clo.data.batch import pack
from clo.data.prompt import Renderer
from clo.model.load import load_model
from clo.model.tuning import apply_tuning
from clo.square.objective import Objective, objective_terms
from clo.square.scores import packs, score

pytestmark = pytest.mark.slow
LANGUAGES = ["zh", "de", "ko", "id", "sw", "yo"]
"""Each with English: seven languages."""
CELLS = [(0, 0), (0, 1), (1, 0), (1, 1)]
SCORE_ERROR = 1e-5
"""Largest relative error of a response's log-prob in float32."""
GRADIENT_ERROR = 1e-4
"""Relative error of the gradient of all attention projections together, in norm."""


@pytest.fixture(scope="module")
def config(real_model: Path) -> ModelConfig:
    return ModelConfig(name="real", path=str(real_model), dtype="float32", template=TEMPLATE)


@pytest.fixture(scope="module")
def renderer(config: ModelConfig) -> Renderer:
    from clo.model.load import load_tokenizer

    return Renderer(load_tokenizer(config), TEMPLATE)


@pytest.fixture(scope="module")
def model(config: ModelConfig) -> Any:
    torch.set_num_threads(1)
    return apply_tuning(load_model(config), TuningConfig())


@pytest.fixture(scope="module")
def exact(real_model: Path) -> Any:
    """The model in float64, its norms too, which transformers would compute in float32."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(real_model, dtype=torch.float64).eval()
    norms = [module for module in model.modules() if type(module).__name__ == "Gemma3RMSNorm"]
    assert len(norms) == 6 * 18 + 1
    for norm in norms:
        norm.forward = partial(_norm, norm)
    return model


def _norm(norm: Any, x: Tensor) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + norm.eps).rsqrt() * (1 + norm.weight)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_scores_beyond_the_window(lang: str, shared_data: Path, renderer: Renderer, model: Any, exact: Any) -> None:
    """A short row and one whose every cell is longer than the sliding window, packed into one row."""
    window = model.config.sliding_window
    items = [
        item_of(renderer, [next(real_rows(shared_data, lang, 120))]),
        long_item(shared_data, lang, renderer, window),
    ]
    assert packs(model, items[0]) and min(len(prompt) for prompt in items[1].prompts) > window
    with torch.no_grad():
        S_BLK = score(model, pack(items, CELLS)).S_BLK
        wanted = [[exact_score(exact, item.prompts[i], item.responses[j]) for i, j in CELLS] for item in items]
    exact_BLK = torch.tensor(wanted, dtype=torch.float64).view(2, 2, 2)
    error = (S_BLK.double() - exact_BLK).abs() / exact_BLK.abs()
    print(f"{lang}: largest relative error of a response {float(error.max()):.1e}")
    assert float(error.max()) < SCORE_ERROR


def test_gradients(shared_data: Path, renderer: Renderer, model: Any, exact: Any) -> None:
    """CLO's loss by its formula in float64, cell by cell; the policy has moved from its reference."""
    rows = [next(real_rows(shared_data, lang, 120)) for lang in ("ko", "yo")]
    items, beta, lam = [item_of(renderer, [row]) for row in rows], 0.1, 0.5
    with torch.no_grad():
        cells = [(b, i, j) for b in range(2) for i, j in CELLS]
        values = [exact_score(exact, items[b].prompts[i], items[b].responses[j]) for b, i, j in cells]
    S = torch.stack(values).view(2, 2, 2).requires_grad_()
    R = S.detach() + 5 * torch.randn(S.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    change, tokens = S - R, sum(len(item.responses[1]) for item in items)
    margins = torch.stack([change[:, 0, 0] - change[:, 0, 1], change[:, 1, 1] - change[:, 1, 0]])
    loss = lam * -S[:, 1, 1].sum() / tokens + (1 - lam) * -torch.nn.functional.logsigmoid(beta * margins).mean()
    (outer,) = torch.autograd.grad(loss, S)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    for name, parameter in exact.named_parameters():
        parameter.requires_grad_(name in trained)
    for b, i, j in cells:
        (outer[b, i, j] * exact_score(exact, items[b].prompts[i], items[b].responses[j])).backward()
    wanted = torch.cat([p.grad.flatten() for p in exact.parameters() if p.requires_grad])

    objective = Objective(2, Cells.target, Prompts.both, lam, beta)
    scores = score(model, pack(items, objective.cells())).S_BLK
    ours = objective.loss(objective_terms(objective, scores, R.float()), objective.denominators(items))
    assert float(ours.detach()) == pytest.approx(float(loss.detach()), rel=1e-5)
    by_matrix = torch.autograd.grad(ours, [p for p in model.parameters() if p.requires_grad])
    found = torch.cat([gradient.flatten().double() for gradient in by_matrix])
    error = float((found - wanted).norm() / wanted.norm())
    print(f"relative error of the gradient of {len(trained)} matrices: {error:.1e}")
    assert error < GRADIENT_ERROR
