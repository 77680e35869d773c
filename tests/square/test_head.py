"""Log-probs of the head, tile by tile, against float64 autograd over whole logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import clo.square.head
from clo.square.head import token_log_probs

ROWS, HIDDEN, VOCABULARY = 37, 24, 301


def case(bias: bool, frozen: bool) -> tuple[torch.nn.Linear, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    head = torch.nn.Linear(HIDDEN, VOCABULARY, bias=bias).requires_grad_(not frozen)
    hidden = (3 * torch.randn(ROWS, HIDDEN)).requires_grad_(True)
    return head, hidden, torch.randint(VOCABULARY, (ROWS,)), torch.randn(ROWS)


def exact(head: torch.nn.Linear, hidden: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    h = hidden.detach().double().requires_grad_(True)
    w = head.weight.detach().double().requires_grad_(True)
    logits = h @ w.T + (0 if head.bias is None else head.bias.detach().double())
    logp = logits.log_softmax(1).gather(1, targets[:, None])[:, 0]
    (logp * weights.double()).sum().backward()
    assert h.grad is not None and w.grad is not None
    return logp.detach(), h.grad, w.grad


def close(found: Any, expected: Tensor, relative: float) -> bool:
    return float((found.double() - expected).norm() / expected.norm()) < relative


@pytest.mark.parametrize("tiles", [(8, 64), (37, 301), (1, 7), (4096, 4096)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("frozen", [True, False])
def test_values_and_gradients(
    tiles: tuple[int, int], bias: bool, frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(clo.square.head.TILES, "cpu", tiles)
    monkeypatch.setitem(clo.square.head.WHOLE, "cpu", tiles[0])
    head, hidden, targets, weights = case(bias, frozen)
    logp = token_log_probs(head, hidden, targets)
    (logp * weights).sum().backward()
    values, gradient, weight_gradient = exact(head, hidden, targets, weights)
    assert close(logp.detach(), values, 1e-6) and close(hidden.grad, gradient, 1e-6)
    assert head.weight.grad is None if frozen else close(head.weight.grad, weight_gradient, 1e-6)
    with torch.no_grad():  # the same numbers whether or not the head may train: evaluations do not depend on it
        alone = token_log_probs(head, hidden, targets)
        assert torch.equal(alone, token_log_probs(head.requires_grad_(frozen), hidden, targets))
        assert torch.equal(alone, logp)


def test_huge_logits_stay_finite() -> None:
    head, hidden, targets, _ = case(False, True)
    large = (hidden.detach() * 1e4).requires_grad_(True)
    logp = token_log_probs(head, large, targets)
    logp.sum().backward()
    assert large.grad is not None and logp.isfinite().all() and large.grad.isfinite().all()


def test_bfloat16_is_close_and_sums_in_float32() -> None:
    head, hidden, targets, weights = case(True, True)
    values, gradient, _ = exact(head, hidden, targets, weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logp = token_log_probs(head, hidden, targets)
    assert logp.dtype == torch.float32
    (logp * weights).sum().backward()
    assert close(logp.detach(), values, 1e-2) and close(hidden.grad, gradient, 2e-2)


def test_backward_twice_gives_each_terms_own_gradient() -> None:
    head, hidden, targets, weights = case(False, True)
    logp = token_log_probs(head, hidden, targets)
    first = torch.autograd.grad((logp * weights).sum(), hidden, retain_graph=True)[0]
    second = torch.autograd.grad((2 * logp * weights).sum(), hidden)[0]
    torch.testing.assert_close(second, 2 * first)


def test_whole_logits_are_never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor of the forward or backward pass has tokens x vocabulary elements."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor):
                largest = max(largest, out.numel())
            return out

    monkeypatch.setitem(clo.square.head.TILES, "cpu", (8, 64))
    monkeypatch.setitem(clo.square.head.WHOLE, "cpu", 8)
    for frozen in (True, False):
        head, hidden, targets, _ = case(False, frozen)
        largest = 0
        with Watch():
            token_log_probs(head, hidden, targets).sum().backward()
        rows = 8 if not frozen else 1
        assert largest <= max(HIDDEN * VOCABULARY, rows * VOCABULARY)
