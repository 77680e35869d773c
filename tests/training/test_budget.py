"""The token budget: tried once on the largest micro-batch, agreed by all ranks, kept to by everything afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_processes import assert_close, finished, train_warm
from tiny_runs import ATTENTION, DATA, difference, fit, metrics, random_items, run_config, tuned, weights
from train_tiny import give_room
from warm_runs import WarmRuns

import clo.training.budget
from clo.config.choices import ReferenceMode
from clo.data.batch import packed_tokens
from clo.errors import UserError
from clo.square.scores import packs
from clo.training.budget import LEAST, largest_group

WHOLE = [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.fixture(autouse=True)
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clo.training.budget, "limited", lambda device: True)


def seen_tokens(model: Any) -> list[int]:
    """Tokens of every pass from now on."""
    seen: list[int] = []
    model.model.embed_tokens.register_forward_hook(lambda _, args, __: seen.append(args[0].shape[1]))
    return seen


@pytest.mark.parametrize("name", ["clo", "sft_dpo", "anchored"])
@pytest.mark.parametrize("mode", [ReferenceMode.cached, ReferenceMode.swapped])
def test_what_does_not_fit_is_halved_before_the_first_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, mode: ReferenceMode
) -> None:
    """Afterwards nothing is ever repeated: it is the run that asked for the smaller budget, to the bit."""
    model = tuned()
    seen = seen_tokens(model)
    give_room(model, 90)
    found = fit(tmp_path / "tried", run_config(tmp_path / "tried", name, max_tokens=640, reference=mode), model)
    said = capsys.readouterr().out
    assert "token budget: 80 per forward pass (640 did not fit); the device has room for" in said
    assert "halved" not in said
    stages = 1 + (name == "sft_dpo")
    assert sum(tokens > 80 for tokens in seen) == 3 * stages  # 640, 320 and 160, before each stage
    asked = fit(tmp_path / "asked", run_config(tmp_path / "asked", name, max_tokens=80, reference=mode))
    assert difference(weights(found), weights(asked)) == (0.0, 0.0)
    speed = ("train/response_tokens_per_second", "train/mfu")
    for one, other in zip(metrics(tmp_path / "tried"), metrics(tmp_path / "asked"), strict=True):
        assert {k: v for k, v in one.items() if k not in speed} == {k: v for k, v in other.items() if k not in speed}


def test_a_single_item_that_does_not_fit_is_said(tmp_path: Path) -> None:
    model = tuned()
    assert packs(model, DATA.val[0])  # which passes over an item too
    give_room(model, 20)
    with pytest.raises(UserError, match=r"the longest item has \d+ tokens, and a device has no room"):
        fit(tmp_path, run_config(tmp_path, max_tokens=640), model)


def test_the_try_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = weights(fit(tmp_path / "tried", run_config(tmp_path / "tried")))
    monkeypatch.setattr(clo.training.budget, "limited", lambda device: False)
    monkeypatch.setattr(clo.training.budget, "_try", lambda *_: pytest.fail("a CPU has nothing to try"))
    assert difference(plain, weights(fit(tmp_path / "not", run_config(tmp_path / "not")))) == (0.0, 0.0)


@pytest.mark.parametrize("budget", [1, 90, 200, 8192])
def test_the_largest_micro_batch(budget: int) -> None:
    """No step can have a larger one, but for some tokens."""
    items, model = random_items(40), tuned(ATTENTION)
    largest = sum(packed_tokens(item, WHOLE) for item in largest_group(model, items, WHOLE, budget, 4))
    longest = sorted((packed_tokens(item, WHOLE) for item in items), reverse=True)
    assert largest <= max(budget, longest[0])
    assert largest >= max(min(budget, sum(longest[:4])) - LEAST, longest[0])


@pytest.mark.parametrize("ranks", ["2", "2:fsdp2"])
def test_the_rank_with_the_least_memory_decides_for_all(tmp_path: Path, warm: WarmRuns, ranks: str) -> None:
    """It runs out in the middle of a pass, where others would wait for it."""
    one = weights(fit(tmp_path / "one", run_config(tmp_path / "one")))
    code = train_warm(warm, tmp_path / "two", "clo", ranks, 4, "room", 90)
    said = (tmp_path / "two" / "log.txt").read_text()
    assert code == 0, said[-3000:]
    assert "per forward pass (8,192 did not fit); each of 2 devices has room for the largest micro-batch" in said
    assert "halved" not in said
    assert_close(tmp_path / "one", tmp_path / "two", one, finished(tmp_path / "two"))
