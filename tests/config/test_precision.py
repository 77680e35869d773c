"""``trainer.precision=auto``: decided by the model and the processor, and part of the name as what it has become."""

from __future__ import annotations

from pathlib import Path

import pytest
from composed import run_of

import clo.config.precision
from clo.config.precision import told


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """In place of the measurement: one number per call, the last one for all that follow."""
    factors = [4.0]

    def gain(accelerator: str) -> float:
        return factors[0]

    monkeypatch.setattr(clo.config.precision, "gain", gain)
    return factors


def never(monkeypatch: pytest.MonkeyPatch) -> None:
    def gain(accelerator: str) -> float:
        raise AssertionError("measured")

    monkeypatch.setattr(clo.config.precision, "gain", gain)


def test_the_embedded_model_and_small_ones_stay_float32_without_a_measurement(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    never(monkeypatch)
    assert run_of().trainer.precision == "32-true"
    assert run_of().slug() == run_of("trainer.precision=32-true").slug()
    (tmp_path / "model.safetensors").write_bytes(b"0" * 1000)
    small = run_of("model=any", f"model.path={tmp_path}")
    assert (small.trainer.precision, small.model.dtype) == ("32-true", "auto")
    stated = run_of("model=any", "model.path=a/model-7B", "model.dtype=float32")
    assert stated.trainer.precision == "32-true"
    typed = run_of("model=any", "model.path=a/model-7B", "trainer.precision=bf16-mixed")
    assert typed.trainer.precision == "bf16-mixed"


def test_larger_models_take_what_the_processor_multiplies_faster(processor: list[float]) -> None:
    words = ("model=any", "model.path=a/model-270m")
    fast = run_of(*words)
    assert (fast.trainer.precision, fast.model.dtype) == ("bf16-mixed", "auto")
    processor[0] = 1.2
    slow = run_of(*words)
    assert (slow.trainer.precision, slow.model.dtype) == ("32-true", "float32")
    assert fast.slug() != slow.slug() and fast.slug() == run_of(*words, "trainer.precision=bf16-mixed").slug()
    assert run_of(*words, "trainer=gpu").trainer.precision == "bf16-mixed"


def test_what_was_measured_is_said(processor: list[float]) -> None:
    run = run_of("model=any", "model.path=a/model-270m")
    assert told(("auto", "auto"), run.trainer, run.model) == (
        "trainer.precision=auto is bf16-mixed: bfloat16 products take 0.25 of float32's time here"
    )
    assert told(("bf16-mixed", "auto"), run.trainer, run.model) is None
    small = run_of()
    assert told(("auto", "float32"), small.trainer, small.model) is None


def test_the_measurement_is_quick_and_leaves_threads_alone() -> None:
    import torch

    threads = torch.get_num_threads()
    assert clo.config.precision.gain("cpu") > 0
    assert torch.get_num_threads() == threads
