"""The engine on a GPU: fused attention over segments, in both precisions, against float64. Never in CI."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import tiny_model
from test_scores import attention_gradient, loss_of
from tiny_runs import naive_scores, random_items

from clo.data.batch import pack
from clo.square.scores import packs, score, score_items

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is visible")]
WHOLE = [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("languages", [2, 3])
@pytest.mark.parametrize("family", ["llama", "qwen2", "mistral"])
@pytest.mark.parametrize("half", [False, True], ids=["fp32", "bf16"])
def test_loss_and_gradient_equal_float64(family: str, languages: int, half: bool) -> None:
    items = random_items(6, languages)
    cells = [(i, j) for i in range(languages) for j in range(languages)]
    model = tiny_model(family)
    if half:
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 2:
                    parameter.mul_(0.2)
    exact_model = copy.deepcopy(model)
    model.cuda()
    with torch.autocast("cuda", torch.bfloat16, enabled=half):
        assert packs(model, items[0])
        S = score(model, pack(items, cells).to("cuda")).S_BLK
    exact_S = naive_scores(exact_model, items)
    losses = [loss_of(values, items, exact_S.to(values.device)) for values in (S, exact_S)]
    assert float(losses[0].detach()) == pytest.approx(float(losses[1].detach()), rel=1e-3 if half else 1e-5)
    gradient, exact = attention_gradient(model, losses[0]).cpu(), attention_gradient(exact_model, losses[1])
    assert float((gradient - exact).norm() / exact.norm()) < (2e-2 if half else 5e-5)


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "bf16"])
def test_an_item_scores_the_same_in_any_company(half: bool) -> None:
    items, model = random_items(24), tiny_model().cuda()
    with torch.autocast("cuda", torch.bfloat16, enabled=half), torch.no_grad():
        whole = score_items(model, items, WHOLE, 1000).S_BLK
        parts = [score(model, pack(items[k : k + 4], WHOLE).to("cuda")).S_BLK for k in range(0, len(items), 4)]
    torch.testing.assert_close(torch.cat(parts).cpu(), whole, rtol=0, atol=0.2 if half else 1e-4)
