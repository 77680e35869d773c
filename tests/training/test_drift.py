"""English that is lost is told in words, English that is kept is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import DATA, fit, random_items, run_config

from clo.config.choices import Prompts
from clo.config.parse import RunConfig
from clo.errors import UserError
from clo.training.drift import drift
from clo.training.stages import plan_stages

START = {"val/nll_en": 1.0, "val/accuracy_en": 0.0}


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ({"val/nll_en": 0.9, "val/accuracy_en": 0.9}, []),
        ({"val/nll_en": 0.9, "val/accuracy_en": 0.02}, ["accuracy_en 0.02"]),
        ({"val/nll_en": 1.5, "val/accuracy_en": 1.0}, ["nll_en 1.00 to 1.50"]),
        ({"val/nll_en": 1.5, "val/accuracy_en": 0.1}, ["accuracy_en 0.10", "nll_en 1.00 to 1.50"]),
        ({"val/nll_en": 0.9}, []),  # SFT compares nothing
    ],
)
def test_signs(end: dict[str, float], said: list[str]) -> None:
    found = drift([START, {"val/nll_en": 9.0, "val/accuracy_en": 0.0}, end])
    assert len(found) == len(said) and all(word in sentence for word, sentence in zip(said, found, strict=True))
    assert not drift([START])


def steps(run: RunConfig, items: int) -> list[int]:
    return [plan.total_steps for plan in plan_stages(run.method, run.evaluation, run.batch_size, random_items(items))]


def test_steps_are_what_was_asked_at_any_size(tmp_path: Path) -> None:
    for items in (3, 14, 60):
        assert steps(run_config(tmp_path, method_changes={"steps": 9}), items) == [9]
        assert steps(run_config(tmp_path, "sft_dpo", method_changes={"steps": 9}), items) == [6, 3]
    assert steps(run_config(tmp_path, "sft_dpo", method_changes={"steps": 2}), 14) == [1, 1]
    with pytest.raises(UserError, match=r"method\.steps.*at least 2"):
        run_config(tmp_path, "sft_dpo", method_changes={"steps": 1})


def test_a_run_of_fixed_steps_ends_there(tmp_path: Path) -> None:
    """More steps than an epoch and a half; the last stage's square is looked at."""
    changes = {"steps": 6, "preference": Prompts.both}
    model = fit(tmp_path, run_config(tmp_path, method_changes=changes), data=DATA)
    assert model is not None
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert '"step": 6' in lines[-1] and not any('"step": 7' in line for line in lines)
