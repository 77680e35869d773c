"""A step at Llama-3-8B's shape on a GPU of shapes: kernels and bytes per layer, and that nothing asks the device."""

from __future__ import annotations

from pathlib import Path

import fake_gpu
import pytest
from fake_gpu_step import LLAMA_3_8B

STEP = Path(fake_gpu.__file__).with_name("fake_gpu_step.py")
HIDDEN, MLP = LLAMA_3_8B["hidden_size"], LLAMA_3_8B["intermediate_size"]


@pytest.mark.slow
def test_kernels_and_bytes_of_a_layer() -> None:
    """Two passes of two and of three layers, without compiling; counted where something is made or changed in place."""
    two, three = (fake_gpu.run(STEP, layers=layers) for layers in (2, 3))
    forward = three["forward"] - two["forward"]
    both = (three["kernels"] - two["kernels"]) / 2
    assert forward <= 44 and both - forward <= 86
    casts = 2 * (2 * HIDDEN * HIDDEN + 2 * HIDDEN * HIDDEN // 4)
    per_token = (three["kept"] - two["kept"] - casts) / two["tokens"]
    assert (
        per_token <= 8 * HIDDEN + 2 * HIDDEN + 4 * HIDDEN + 6 * MLP + 6400
    )  # norms, what trains, attention, MLP, keys
    names = three["names"]
    assert names["_varlen_attn"] == 6 and names["_varlen_attn_backward"] == 6  # one fused call per layer and pass
    assert not {"sort", "nonzero", "masked_select", "index_put"} & {name for name in names if names[name] > 2}


@pytest.mark.parametrize("anchored", [False, True])
def test_nothing_asks_the_device_within_a_micro_batch(anchored: bool) -> None:
    """There is no value to answer with: the step would raise. The anchor reads the source's states by their places."""
    assert fake_gpu.run(STEP, layers=1, anchored=anchored)["peak"] > 0


def test_a_question_to_the_device_is_seen() -> None:
    with pytest.raises(RuntimeError, match="DataDependentOutputException"):
        fake_gpu.run(STEP, layers=1, asking=True)
