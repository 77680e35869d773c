"""The divergence from the start on the source's answers: by hand, against the whole one, in a run, from its cache."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from composed import run_of
from conftest import tiny_model
from tiny_runs import CLO, DATA, difference, fit, method, metrics, random_items, run_config, tuned, weights
from torch import Tensor

import clo.square.anchor
from clo.config.choices import Anchor, ReferenceMode
from clo.data.batch import pack, pad
from clo.errors import UserError
from clo.square.anchor import Likely, LikelyCache, divergence, likely_of_all, likely_tokens
from clo.square.objective import objective_terms
from clo.square.scores import score
from clo.square.share import Share

CELLS = [(0, 0), (0, 1), (1, 1), (1, 0)]


def shifted(seed: int = 1, by: float = 0.1) -> Any:
    """A tiny model in float64 whose weights are not the start's."""
    model = tiny_model().double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model


def whole_log_probs(model: Any, item: Any) -> Tensor:
    """log p [T, V] at the item's source answer: one unpadded pass."""
    prompt, answer = item.prompts[0], item.responses[0]
    logits = model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0]
    return logits[len(prompt) - 1 : -1].log_softmax(1)


def test_by_hand() -> None:
    """Start (1/2, 1/4, 1/4), policy (1/4, 1/2, 1/4), the most likely kept: 1/2 ln 2 + 1/2 ln(2/3) = 0.1438410.

    With two kept nothing is lost: 1/2 ln 2 - 1/4 ln 2 = 0.1732868.
    """
    policy = torch.tensor([[0.25, 0.5, 0.25]], dtype=torch.float64).log()
    for ids, wanted in (([0], 0.1438410), ([0, 1], 0.1732868)):
        logp = torch.tensor([[[0.5, 0.25, 0.25][i] for i in ids]], dtype=torch.float64).log()
        found = divergence(Likely(torch.tensor([ids]), logp), torch.nn.Identity(), policy)
        assert float(found) == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize("way", [pack, pad])
def test_against_the_whole_divergence(way: Any) -> None:
    """All tokens kept: KL over the vocabulary, value and gradient, in float64. Fewer kept: less, and never below 0."""
    items, start, policy = random_items(4), tiny_model().double(), shifted()
    with torch.no_grad():
        plain = torch.cat([whole_log_probs(start, item) for item in items])
    moved = torch.cat([whole_log_probs(policy, item) for item in items])
    wanted = (plain.exp() * (plain - moved)).sum(1)
    wanted.sum().backward()
    gradients = {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}
    found = {}
    for count in (plain.shape[1], 32, 1):
        likely = likely_of_all(likely_tokens(start, items, count, 60), "cpu")
        policy.zero_grad()
        kl_T = score(policy, way(items, CELLS), partial(divergence, likely)).source
        kl_T.sum().backward()
        found[count] = kl_T.detach()
        if count == plain.shape[1]:
            torch.testing.assert_close(kl_T, wanted, rtol=1e-5, atol=1e-6)  # the start's are kept in float32
            for name, p in policy.named_parameters():
                torch.testing.assert_close(p.grad, gradients[name], rtol=1e-4, atol=1e-6)
    most, some, one = found.values()
    assert (most > some - 1e-6).all() and (some > one - 1e-6).all() and (one > -1e-6).all() and most.sum() > 0.01


def test_nothing_at_the_start() -> None:
    items, start = random_items(3), tiny_model().double()
    likely = likely_of_all(likely_tokens(start, items, 8, 1000), "cpu")
    kl_T = score(start, pack(items, CELLS), partial(divergence, likely)).source
    assert kl_T.shape == (sum(len(item.responses[0]) for item in items),) and float(kl_T.abs().max()) < 1e-6


def test_weight_and_denominator() -> None:
    """Per source token of the whole step, beside the other terms; without an anchor nothing changes."""
    objective, items = replace(CLO, anchor=3.0), random_items(2)
    S, kl = torch.full((2, 2, 2), -2.0), torch.tensor([0.5, 1.5])
    tokens = sum(len(item.responses[0]) for item in items)
    denominators = objective.denominators(items)
    assert denominators.tolist() == [*CLO.denominators(items).tolist(), tokens]
    terms = objective_terms(objective, S, S, None, kl)
    plain = CLO.loss(objective_terms(CLO, S, S), CLO.denominators(items))
    assert float(objective.loss(terms, denominators)) == pytest.approx(float(plain) + 3 * 2 / tokens)
    assert terms.metrics["kl_en"].tolist() == [2.0, 2.0] and {*objective.weighted(terms, denominators)} == {
        "nll", "pref", "anchor"
    }  # fmt: skip
    assert (0, 0) in replace(objective, nll=CLO.nll, preference=CLO.preference).cells()
    assert all(not part.anchor for part in objective.parts().values())


@pytest.mark.parametrize("mode", [ReferenceMode.cached, ReferenceMode.swapped])
def test_the_anchor_is_part_of_the_loss(mode: ReferenceMode, tmp_path: Path) -> None:
    fit(tmp_path, run_config(tmp_path, "anchored", reference=mode, log_every=1))
    first, *_, last = metrics(tmp_path)
    assert abs(first["train/kl_en"]) < 1e-5 < last["train/kl_en"]
    assert last["train/anchor"] == pytest.approx(5 * last["train/kl_en"])
    parts = sum(last[f"train/{term}"] for term in ("nll", "pref", "anchor"))
    assert last["train/loss"] == pytest.approx(parts, rel=1e-6)


def test_an_anchored_run_stays_nearer(tmp_path: Path) -> None:
    """SFT on both languages, which moves English; the divergence of the second epoch."""
    ends = {}
    for weight in (1e-6, 200.0):
        folder = tmp_path / str(weight)
        changes = {"anchor": Anchor.kl, "anchor_weight": weight, "anchor_top": 8}
        fit(folder, run_config(folder, "sft", method_changes=changes, log_every=1))
        ends[weight] = sum(line["train/kl_en"] for line in metrics(folder)[4:])
    assert 0 < ends[200.0] < 0.7 * ends[1e-6]


def test_the_split_changes_nothing(tmp_path: Path) -> None:
    found = []
    for tokens in (40, 2000):
        run = run_config(tmp_path / str(tokens), "anchored", max_tokens=tokens)
        found.append(weights(fit(tmp_path / str(tokens), run)))
    assert difference(*found)[0] < 5e-4


def test_kept_tokens_are_read_again_and_broken_ones_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(model: Any, items: Any, count: int, max_tokens: int) -> Any:
        made.append(len(items))
        return likely_tokens(model, items, count, max_tokens)

    monkeypatch.setattr(clo.square.anchor, "likely_tokens", counted)
    model, items, cache = tuned(), random_items(5), LikelyCache(tmp_path, "key", 4, 2)
    first = cache.tokens(model, items, 100)
    assert made == [2, 2, 1] and first.keys() == {item.key() for item in items}
    again = cache.tokens(model, items[:4], 100)
    assert made == [2, 2, 1] and again.keys() == {item.key() for item in items[:4]}
    for key, part in again.items():
        assert torch.equal(part.ids_TK, first[key].ids_TK) and torch.equal(part.logp_TK, first[key].logp_TK)
    broken = sorted(tmp_path.rglob("*.safetensors"))[0]
    broken.write_bytes(broken.read_bytes()[:50])
    third = cache.tokens(model, items, 100)
    assert len(made) == 4 and all(torch.equal(third[k].ids_TK, first[k].ids_TK) for k in first)
    half = LikelyCache(tmp_path / "other", "key", 4, 2).tokens(model, items, 100, share=Share(1, 2))
    assert half.keys() == {item.key() for item in items[2:4]}
    assert not list(tmp_path.rglob("*.tmp"))


def test_settings() -> None:
    assert run_of("method.anchor=kl").slug() != run_of().slug() == run_of("method.anchor=none").slug()
    for word, said in (("anchor_weight=0", "method.anchor_weight"), ("anchor_top=0", "method.anchor_top")):
        with pytest.raises(UserError, match=said):
            run_of(f"method.{word}")
    assert method(anchor=Anchor.kl).anchor_weight == 1.0 and DATA.train
