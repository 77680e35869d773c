"""One result, however it is computed: micro-batches, ranks, references, interruptions; and golden numbers.

Tolerances are on the weights after the whole run (max and mean absolute difference; the peak learning rate is 1e-2)
and on every step's loss (relative). What claims to be bit-equal is compared with no tolerance.

The golden numbers lie in ``golden/`` with the versions they were made with. After a change that is meant to move them,
``CLO_RECORD_GOLDEN=1 python -m pytest tests/square/test_invariants.py -k golden`` records them anew.
"""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_processes import assert_close, finished, train_in_process, train_warm
from tiny_runs import ATTENTION, LORA, difference, fit, metrics, run_config, tuned, weights
from warm_runs import WarmRuns

from clo.config import LoraConfig, TuningConfig
from clo.config.choices import ReferenceMode, Trains
from clo.training.loggers import MetricsFile

DROPOUT = TuningConfig("dropout", Trains.attention, LoraConfig(r=4, alpha=8.0, dropout=0.3))
GOLDEN = Path(__file__).parents[1] / "golden"


# Micro-batches and references ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tuning", [ATTENTION, LORA], ids=lambda t: t.name)
@pytest.mark.parametrize("name", ["clo", "sft", "sft_dpo"])
def test_micro_batch_size_does_not_matter(tmp_path: Path, name: str, tuning: TuningConfig) -> None:
    """From one item to the whole step per forward pass; two sizes between."""
    folders = {budget: tmp_path / str(budget) for budget in (1, 100, 200, 8192)}
    trained = {
        budget: weights(fit(folder, run_config(folder, name, tuning, max_tokens=budget)))
        for budget, folder in folders.items()
    }
    for budget in (1, 100, 200):
        assert_close(folders[8192], folders[budget], trained[8192], trained[budget])


@pytest.mark.parametrize(
    ("name", "tuning", "modes"),
    [
        ("clo", ATTENTION, ("cached", "swapped")),
        ("sft_dpo", ATTENTION, ("cached", "swapped")),
        ("clo", LORA, ("cached", "swapped", "adapters_off")),
        ("sft_dpo", LORA, ("cached", "swapped")),
    ],
    ids=lambda value: getattr(value, "name", "") if not isinstance(value, tuple) else "",
)
def test_where_the_reference_comes_from_does_not_matter(
    tmp_path: Path, name: str, tuning: TuningConfig, modes: tuple[str, ...]
) -> None:
    trained = {}
    for mode in modes:
        run = run_config(tmp_path / mode, name, tuning, reference=ReferenceMode[mode], max_tokens=200)
        trained[mode] = weights(fit(tmp_path / mode, run))
    for mode in modes[1:]:
        assert_close(tmp_path / modes[0], tmp_path / mode, trained[modes[0]], trained[mode])


def test_a_full_cache_changes_no_bit(tmp_path: Path) -> None:
    """A run that finds its references on disk equals the one that made them."""
    runs = []
    for name in ("first", "second"):
        run = run_config(tmp_path / name)
        run.cache_dir = str(tmp_path / "cache")
        runs.append(weights(fit(tmp_path / name, run)))
    assert difference(*runs) == (0.0, 0.0)


def test_the_seed_decides_the_order(tmp_path: Path) -> None:
    same, other = run_config(tmp_path / "same"), run_config(tmp_path / "other")
    other.seed = 4
    first = weights(fit(tmp_path / "first", run_config(tmp_path / "first")))
    assert difference(first, weights(fit(tmp_path / "same", same, tuned()))) == (0.0, 0.0)
    assert difference(first, weights(fit(tmp_path / "other", other, tuned())))[0] > 1e-4


# Interruptions -------------------------------------------------------------------------------------------------------


def without_speed(folder: Path) -> list[dict[str, Any]]:
    lines = metrics(folder) + metrics(folder, "val")
    timed = ("train/response_tokens_per_second", "train/mfu")
    return [{k: v for k, v in line.items() if k not in timed} for line in lines]


def interrupt(monkeypatch: pytest.MonkeyPatch, stage: str, step: int, part: str) -> None:
    """Raise when the step's line is about to be logged."""
    log = MetricsFile.log_metrics

    def broken(self: MetricsFile, values: dict[str, float], at: int | None = None) -> None:
        if (self.stage, at) == (stage, step) and f"{part}/nll" + ("_en" if part == "val" else "") in values:
            raise ConnectionError("killed")
        if (self.stage, at) == (stage, step) and stage == "dpo" and f"{part}/pref" in values:
            raise ConnectionError("killed")
        log(self, values, at)

    monkeypatch.setattr(MetricsFile, "log_metrics", broken)


@pytest.mark.parametrize("tuning", [ATTENTION, LORA, DROPOUT], ids=lambda t: t.name)
@pytest.mark.parametrize(
    ("name", "stage", "step", "part"),
    [
        ("clo", "clo", 0, "val"),
        ("clo", "clo", 1, "train"),
        ("clo", "clo", 4, "train"),
        ("clo", "clo", 4, "val"),
        ("clo", "clo", 6, "train"),
        ("clo", "clo", 8, "val"),
        ("sft_dpo", "sft", 5, "train"),
        ("sft_dpo", "dpo", 0, "val"),
        ("sft_dpo", "dpo", 7, "train"),
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tuning: TuningConfig, name: str, stage: str, step: int, part: str
) -> None:
    """Also its metrics: no line is lost, doubled or different."""
    whole = weights(fit(tmp_path / "whole", run_config(tmp_path / "whole", name, tuning)))
    interrupt(monkeypatch, stage, step, part)
    with pytest.raises(ConnectionError):
        fit(tmp_path / "broken", run_config(tmp_path / "broken", name, tuning))
    monkeypatch.undo()
    torch.rand(7)  # the new process's random state is not the old one's
    resumed = weights(fit(tmp_path / "broken", run_config(tmp_path / "broken", name, tuning)))
    assert difference(whole, resumed) == (0.0, 0.0)
    assert without_speed(tmp_path / "broken") == without_speed(tmp_path / "whole")


def test_interrupted_many_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = weights(fit(tmp_path / "whole", run_config(tmp_path / "whole")))
    for step in (2, 3, 5, 8):
        with monkeypatch.context() as patch:
            interrupt(patch, "clo", step, "train")
            with pytest.raises(ConnectionError):
                fit(tmp_path / "broken", run_config(tmp_path / "broken"))
    assert difference(whole, weights(fit(tmp_path / "broken", run_config(tmp_path / "broken")))) == (0.0, 0.0)
    assert without_speed(tmp_path / "broken") == without_speed(tmp_path / "whole")


def test_killed_between_the_last_checkpoint_and_the_end(tmp_path: Path) -> None:
    whole = weights(fit(tmp_path, run_config(tmp_path)))
    (tmp_path / "checkpoint" / "1-clo.safetensors").unlink()
    lines = without_speed(tmp_path)
    assert difference(whole, weights(fit(tmp_path, run_config(tmp_path)))) == (0.0, 0.0)
    assert without_speed(tmp_path) == lines


# Processes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "batch", "ranks"),
    [
        ("clo", 13, "2"),
        ("sft_dpo", 4, "2"),
        ("sft_dpo", 13, "2:fsdp2"),
        ("anchored", 13, "2"),
        ("anchored", 4, "2:fsdp2"),
    ],
)
def test_two_ranks_train_like_one(tmp_path: Path, warm: WarmRuns, name: str, batch: int, ranks: str) -> None:
    """Two gloo processes, in one case of Lightning's own making.

    Batches of 13 leave a last step of one item, so that one rank has nothing to do.
    """
    run = run_config(tmp_path / "one", name)
    run.batch_size = batch
    one = weights(fit(tmp_path / "one", run))
    if name == "clo":
        code = train_in_process(tmp_path / "two", name, ranks, batch)
    else:
        code = train_warm(warm, tmp_path / "two", name, ranks, batch)
    assert code == 0, (tmp_path / "two" / "log.txt").read_text()[-3000:]
    assert_close(tmp_path / "one", tmp_path / "two", one, finished(tmp_path / "two"))


def test_a_killed_process_resumes_to_the_bit(tmp_path: Path, warm: WarmRuns) -> None:
    """The process ends at once, without any handler: what is on disk then is all that is left."""
    whole = weights(fit(tmp_path / "whole", run_config(tmp_path / "whole", "sft_dpo")))
    assert train_warm(warm, tmp_path / "broken", "sft_dpo", "1", 4, "dpo", 5) == 9
    assert [line["step"] for line in metrics(tmp_path / "broken") if line["stage"] == "dpo"] == [1, 2, 3, 4]
    resumed = weights(fit(tmp_path / "broken", run_config(tmp_path / "broken", "sft_dpo")))
    assert [path.stem for path in (tmp_path / "broken" / "checkpoint" / "2-dpo").iterdir()] == ["step8"]
    assert difference(whole, resumed) == (0.0, 0.0)
    assert without_speed(tmp_path / "broken") == without_speed(tmp_path / "whole")


@pytest.mark.parametrize("ranks", ["2", "2:fsdp2"])
def test_two_ranks_resume_what_one_began(tmp_path: Path, warm: WarmRuns, ranks: str) -> None:
    whole = weights(fit(tmp_path / "whole", run_config(tmp_path / "whole")))
    assert train_warm(warm, tmp_path / "broken", "clo", "1", 4, "clo", 6) == 9
    assert train_warm(warm, tmp_path / "broken", "clo", ranks, 4) == 0, (tmp_path / "broken" / "log.txt").read_text()
    assert_close(tmp_path / "whole", tmp_path / "broken", whole, finished(tmp_path / "broken"))


def test_one_process_resumes_what_two_ranks_began(tmp_path: Path, warm: WarmRuns) -> None:
    """Their checkpoints hold whole weights and moments, also where the ranks split them."""
    whole = weights(fit(tmp_path / "whole", run_config(tmp_path / "whole")))
    assert train_warm(warm, tmp_path / "broken", "clo", "2:fsdp2", 4, "clo", 6) == 9
    assert list((tmp_path / "broken" / "checkpoint" / "1-clo").glob("step*.safetensors"))
    resumed = weights(fit(tmp_path / "broken", run_config(tmp_path / "broken")))
    assert_close(tmp_path / "whole", tmp_path / "broken", whole, resumed)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_a_run_goes_on_with_two_four_and_one_ranks(tmp_path: Path, strategy: str) -> None:
    """Begun by one process, killed three times, each time gone on with by another number of them."""
    whole = weights(fit(tmp_path / "whole", run_config(tmp_path / "whole")))
    place = tmp_path / "broken"
    for ranks, step in (("1", 3), (f"2:{strategy}", 5), (f"4:{strategy}", 7)):
        assert train_in_process(place, "clo", ranks, 4, "clo", step) == 9, (place / "log.txt").read_text()[-3000:]
        found = [path.stem for path in (place / "checkpoint" / "1-clo").glob("step*.safetensors")]
        assert f"step{step - 1}" in found and f"step{step + 1}" not in found  # each goes on from the one before
    assert train_in_process(place, "clo", "1", 4) == 0, (place / "log.txt").read_text()[-3000:]
    assert_close(tmp_path / "whole", place, whole, finished(place))


# Golden numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clo", "sft_dpo"])
def test_golden_losses(tmp_path: Path, name: str) -> None:
    """The loss of every step is what it was when the numbers were recorded (relative 1e-4)."""
    fit(tmp_path, run_config(tmp_path, name))
    keys = ("stage", "step", "train/loss", "train/nll", "train/pref", "train/grad_norm")
    steps = [{key: line[key] for key in keys if key in line} for line in metrics(tmp_path)]
    path = GOLDEN / f"{name}_tiny_llama.json"
    if os.environ.get("CLO_RECORD_GOLDEN"):
        made_with = {package: version(package) for package in ("torch", "transformers", "pytorch-lightning")}
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"versions": made_with, "steps": steps}, indent=1) + "\n", encoding="utf-8")
    golden = json.loads(path.read_text(encoding="utf-8"))
    assert len(steps) == len(golden["steps"])
    for now, then in zip(steps, golden["steps"], strict=True):
        assert now == {key: v if key in ("stage", "step") else pytest.approx(v, rel=1e-4) for key, v in then.items()}, (
            f"recorded with {golden['versions']}"
        )
