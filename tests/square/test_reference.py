"""The reference cache, its key, and swapped-in start weights."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_model
from tiny_runs import random_items, tuned, weights
from torch import Tensor

import clo.square.reference
from clo.data.items import Item
from clo.square.reference import BLOCK, ReferenceCache, swapped, weights_key
from clo.square.scores import Scores, score_items, score_within
from clo.square.share import Share

WHOLE = [(0, 0), (0, 1), (1, 0), (1, 1)]
ITEMS = random_items(BLOCK * 2 + 20)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the blocks that were scored."""
    seen: list[int] = []

    def counted(model: Any, items: list[Item], *args: Any, **more: Any) -> Any:
        seen.append(len(items))
        return score_within(model, items, *args, **more)

    monkeypatch.setattr(clo.square.reference, "score_within", counted)
    return seen


def fill(folder: Path, items: Sequence[Item], model: Any = None, **kwargs: Any) -> dict[str, Tensor]:
    cache = ReferenceCache(folder, "key", kwargs.pop("cells", WHOLE))
    return cache.scores(model or tiny_model(), items, 2000, **kwargs)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_values_are_the_scores_of_each_item(tmp_path: Path) -> None:
    found = fill(tmp_path, ITEMS[:10])
    expected = score_items(tiny_model(), ITEMS[:10], WHOLE, 2000).S_BLK
    for k, item in enumerate(ITEMS[:10]):
        assert torch.equal(found[item.key()], expected[k])


def test_some_cells_only(tmp_path: Path) -> None:
    found = fill(tmp_path, ITEMS[:3], cells=[(0, 0), (1, 0)])
    whole = fill(tmp_path, ITEMS[:3])
    for key, R in found.items():
        torch.testing.assert_close(R[:, 0], whole[key][:, 0], rtol=1e-5, atol=1e-5)
        assert R[:, 1].tolist() == [0, 0]


def test_a_second_run_scores_nothing_and_reads_equal_bits(tmp_path: Path, calls: list[int]) -> None:
    first = fill(tmp_path, ITEMS)
    assert calls == [BLOCK, BLOCK, 20]
    assert same(fill(tmp_path, ITEMS), first)
    assert len(calls) == 3


def test_nested_sizes_share_blocks(tmp_path: Path, calls: list[int]) -> None:
    fill(tmp_path, ITEMS[:BLOCK])
    fill(tmp_path, ITEMS[: 2 * BLOCK])
    assert calls == [BLOCK, BLOCK]
    fill(tmp_path, ITEMS)
    assert calls == [BLOCK, BLOCK, 20]


def test_torn_and_useless_lines_are_scored_again(tmp_path: Path, calls: list[int]) -> None:
    """A fill that was killed within its second block goes on to the bits of a fresh one."""
    fresh = fill(tmp_path / "fresh", ITEMS)
    written = (tmp_path / "fresh" / "key.jsonl").read_bytes()
    lines = [line for line in written.split(b"\n") if line]
    broken = tmp_path / "broken" / "key.jsonl"
    broken.parent.mkdir()
    broken.write_bytes(lines[0] + b"\n" + lines[1][: len(lines[1]) // 2])
    calls.clear()
    assert same(fill(tmp_path / "broken", ITEMS), fresh)
    assert calls == [BLOCK, 20]
    assert same(fill(tmp_path / "broken", ITEMS), fresh) and len(calls) == 2


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_scores_that_are_not_finite_are_ignored(tmp_path: Path, calls: list[int], value: str) -> None:
    fresh = fill(tmp_path, ITEMS[:5])
    path = tmp_path / "key.jsonl"
    record = json.loads(path.read_text())
    number = repr(record["scores"][2][1])
    path.write_text(path.read_text().replace(number, value))
    calls.clear()
    assert same(fill(tmp_path, ITEMS[:5]), fresh) and calls == [5]


@pytest.mark.parametrize("text", ["[]", "3", '{"block": "x"}', '{"block": 1, "scores": 2}', "{", "null"])
def test_foreign_lines_are_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "key.jsonl").write_text(text + "\n")
    assert len(fill(tmp_path, ITEMS[:2])) == 2


def test_a_fill_interrupted_between_blocks_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(done: int, total: int) -> None:
        assert total == 3
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "a", ITEMS, progress=broken)
    ticks: list[tuple[int, int]] = []
    found = fill(tmp_path / "a", ITEMS, progress=lambda *tick: ticks.append(tick))
    assert ticks == [(1, 1)]
    assert same(found, fill(tmp_path / "b", ITEMS))


def test_ranks_share_the_blocks_whatever_is_on_disk_when_each_looks(tmp_path: Path, calls: list[int]) -> None:
    """Rank 1 looks after rank 0 has written its part; together they have made every block once."""
    fill(tmp_path, ITEMS, share=Share(0, 2))
    fill(tmp_path, ITEMS, share=Share(1, 2))
    assert sorted(calls) == [20, BLOCK, BLOCK]
    calls.clear()
    assert same(fill(tmp_path, ITEMS, share=Share(1, 2)), fill(tmp_path / "alone", ITEMS))
    assert calls == [BLOCK, BLOCK, 20]  # all of them in the second folder


def _fill_in_process(folder: str, rank: int) -> None:
    torch.set_num_threads(1)
    fill(Path(folder), ITEMS, share=Share(rank, 2))
    fill(Path(folder), list(reversed(ITEMS)))  # both write these blocks, at about the same time


def test_two_processes_append_to_one_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_fill_in_process, args=(str(tmp_path), rank), daemon=True) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    lines = [line for line in (tmp_path / "key.jsonl").read_text().splitlines() if line]
    assert all(len(json.loads(line)["scores"]) in (BLOCK, 20) for line in lines)
    assert same(fill(tmp_path, ITEMS), fill(tmp_path / "alone", ITEMS))


def test_key_depends_on_every_weight_and_the_precision() -> None:
    model = tiny_model()
    key = weights_key(model, "32-true")
    assert key == weights_key(tiny_model(), "32-true")
    assert key != weights_key(model, "bf16-mixed")
    assert key != weights_key(tiny_model(seed=1), "32-true")
    for parameter in model.parameters():
        before = parameter.data.flatten()[-1].clone()
        parameter.data.view(-1)[-1] += 1e-4 + before.abs() * 1e-3
        assert weights_key(model, "32-true") != key
        parameter.data.view(-1)[-1] = before
    assert weights_key(model, "32-true") == key
    assert weights_key(model.bfloat16(), "32-true") != key


def test_swapped_restores_the_weights_and_their_gradients() -> None:
    model = tuned()
    start = weights(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    with torch.no_grad():
        for parameter in trained:
            parameter.add_(0.1)
            parameter.grad = torch.ones_like(parameter)
    now = weights(model)
    inside = {}
    with swapped(model, start):
        inside = weights(model)
    assert all(torch.equal(inside[name], start[name]) for name in start)
    assert all(torch.equal(weights(model)[name], now[name]) for name in now)
    assert [id(p) for p in model.parameters() if p.requires_grad] == [id(p) for p in trained]
    assert all((parameter.grad == 1).all() for parameter in trained)


def test_swapped_restores_after_an_error() -> None:
    model = tuned()
    now = weights(model)
    with pytest.raises(RuntimeError, match="boom"), swapped(model, {name: t + 1 for name, t in now.items()}):
        raise RuntimeError("boom")
    assert all(torch.equal(weights(model)[name], now[name]) for name in now)


def test_swapped_scores_are_those_of_the_start_model() -> None:
    items, model = ITEMS[:4], tuned()
    start = weights(model)
    before = score_items(model, items, WHOLE, 2000).S_BLK
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.mul_(1.3)
    after = score_items(model, items, WHOLE, 2000).S_BLK
    with swapped(model, start):
        assert torch.equal(score_items(model, items, WHOLE, 2000).S_BLK, before)
    assert torch.equal(score_items(model, items, WHOLE, 2000).S_BLK, after)
    assert not torch.allclose(after, before)


def test_a_block_is_kept_under_the_budget_that_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory ran out in the second block: it and the third are of the halved budget, and so a later run finds them."""
    budgets: list[int] = []

    def tight(model: Any, items: Sequence[Item], cells: Any, max_tokens: int, alone: bool) -> tuple[Scores, int]:
        budgets.append(max_tokens)
        return score_within(model, items, cells, max_tokens if len(budgets) < 2 else min(max_tokens, 1000))

    monkeypatch.setattr(clo.square.reference, "score_within", tight)
    found = fill(tmp_path, ITEMS)
    assert budgets == [2000, 2000, 1000] and len(found) == len(ITEMS)
    monkeypatch.undo()
    half = ReferenceCache(tmp_path, "key", WHOLE).scores(None, ITEMS[BLOCK : 2 * BLOCK], 1000)
    assert all(torch.equal(half[key], found[key]) for key in half)
    again = fill(tmp_path, ITEMS[: 2 * BLOCK])  # the second block was not made under the whole budget
    exact = score_items(tiny_model(), ITEMS[BLOCK : 2 * BLOCK], WHOLE, 2000).S_BLK
    assert torch.equal(torch.stack([again[item.key()] for item in ITEMS[BLOCK : 2 * BLOCK]]), exact)
