"""The rival in the speed tables is exact: TRL's trainer with CLO on top gives our loss, gradients and five steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl", reason="the rival in the speed tables; `pip install trl`")

from clo.square.scores import batch_of, score
from speed.naive import Oracle
from speed.our_side import cached, charged
from speed.protocol import TOLERANCES, Time, assert_equal, ratio
from speed.report import read, records, save, table
from speed.shapes import cut, length_sorted, real_items
from speed.sides import Setup
from speed.trl_side import stock, strongest


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_ours_equals_trl_and_float64(precision: str) -> None:
    """Loss, gradient with a moved policy, and the loss of five AdamW steps within 1e-4 of TRL's in float32."""
    setup = Setup("tiny", "table", count=6, batch=3, precision=precision)
    batches = setup.batches()
    sides: list[Any] = [make(setup) for make in (stock, strongest, cached, charged)]
    for side in sides:
        side.prepare(batches)
    found = assert_equal(sides, Oracle(setup.model(), setup.beta, setup.lam), batches, TOLERANCES[precision])
    assert [one.side for one in found] == [side.name for side in sides]
    assert all(one.trajectory is not None for one in found)


def test_a_wrong_loss_is_refused() -> None:
    setup, other = (Setup("tiny", "table", count=2, batch=2, lam=lam) for lam in (0.5, 0.51))
    side = cached(other)
    side.prepare(setup.batches())
    with pytest.raises(AssertionError, match="error"):
        assert_equal([side], Oracle(setup.model(), setup.beta, setup.lam), setup.batches(), TOLERANCES["fp32"])


def test_margins_are_exactly_zero_before_the_first_step() -> None:
    """Reference and policy take the same kernels, packing and dtype: cached or in every step, float32 or bfloat16."""
    for precision in ("fp32", "bf16"):
        setup = Setup("tiny", "table", count=4, batch=4, precision=precision)
        side = cached(setup)
        side.prepare(setup.batches())
        with side._precision(), torch.no_grad():
            batches = [batch_of(side.model, [item], side.objective.cells()) for item in setup.items()]
            alone = [score(side.model, batch).S_BLK for batch in batches]
        assert torch.equal(torch.cat(alone), side._references[0])


def test_lengths_are_real_or_say_so(shared_data: Path) -> None:
    real, where = real_items(shared_data, 20, 500, lang="sw")
    made, table_of = real_items(shared_data / "nowhere", 20, 500, lang="sw")
    assert "sw instruction rows" in where and "length table" in table_of
    assert len(real) == len(made) == 20
    batches = length_sorted(cut(real, 4))
    longest = [item.longest() for batch in batches for item in batch]
    assert longest == sorted(longest)


def test_noisy_ratios_get_no_verdict_and_results_come_back(tmp_path: Path) -> None:
    steady = [Time(side, number, 0, seconds, 100) for number in range(3) for side, seconds in (("a", 2.0), ("b", 1.0))]
    noisy = [Time(t.side, t.round, 0, t.seconds * (3 if t.side == "a" and t.round == 1 else 1), 100) for t in steady]
    assert ratio(steady, "b", "a").verdict().startswith("2.00x")
    assert ratio(noisy, "b", "a").verdict().startswith("no verdict")
    path = save(records(Setup("tiny", "table", count=2, batch=1), [], steady, {}), tmp_path)
    header, _, times, _ = read(path)
    assert times == steady and header["versions"]["torch"] == torch.__version__
    assert "| b |" in table(times, ["a"])
