"""The divergence from the start model, against whole distributions in float64."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from clo.data.prompt import Renderer
from clo.data.rows import Row
from clo.evaluation.divergence import KEPT, divergences, likely_along
from clo.evaluation.subject import Subject

ROWS = [
    Row(f"r{k}", {"en": f"What is {k} and {k}?"}, {"en": answer})
    for k, answer in enumerate(("Two.", "It is said to be four, or more.", "Nobody knows the sum."))
]


@pytest.fixture
def pair(random_nano: tuple[Any, Any]) -> tuple[Subject, Subject]:
    model, tokenizer = random_nano
    moved = copy.deepcopy(model)
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in moved.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    renderer = Renderer(tokenizer, "chat")
    return Subject(model, renderer, 256), Subject(moved, renderer, 256)


def _whole(start: Subject, moved: Subject, row: Row) -> float:
    """KL over the whole vocabulary, one sequence, no padding."""
    prompt, response = start.renderer.prompt_ids(row.prompts["en"]), start.renderer.response_ids(row.responses["en"])
    ids = torch.tensor([[*prompt, *response]])
    with torch.no_grad():
        p, q = (
            subject.model(input_ids=ids).logits[0, len(prompt) - 1 : -1].double().log_softmax(1)
            for subject in (start, moved)
        )
    return float((p.exp() * (p - q)).sum(1).mean())


def test_a_model_has_not_moved_from_itself(pair: tuple[Subject, Subject]) -> None:
    start, _ = pair
    assert divergences(start, ROWS, "en", likely_along(start, ROWS, "en")) == pytest.approx([0.0] * 3, abs=1e-6)


def test_it_is_that_of_whole_distributions_but_for_what_is_left_out(
    pair: tuple[Subject, Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    start, moved = pair
    whole = [_whole(start, moved, row) for row in ROWS]
    assert min(whole) > 1e-3
    kept = divergences(moved, ROWS, "en", likely_along(start, ROWS, "en"))
    assert all(0 < some <= every * (1 + 1e-4) for some, every in zip(kept, whole, strict=True))
    monkeypatch.setattr("clo.evaluation.divergence.KEPT", 1 << 20)
    everything = divergences(moved, ROWS, "en", likely_along(start, ROWS, "en"))
    assert everything == pytest.approx(whole, rel=1e-4)
    assert KEPT >= 32


def test_batches_and_the_order_of_rows_change_nothing(pair: tuple[Subject, Subject]) -> None:
    start, moved = pair
    found = divergences(moved, ROWS, "en", likely_along(start, ROWS, "en"))
    alone = [divergences(moved, [row], "en", likely_along(start, [row], "en"))[0] for row in ROWS]
    assert found == pytest.approx(alone, rel=1e-4)
