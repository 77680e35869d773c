"""A run's name holds all that decides its result, and nothing else: names, the table, and both sides of it run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from composed import run_of
from warm_runs import TRAIN, WarmRuns, cold, tiny

from clo.config import TrainerConfig
from clo.config.identity import MACHINE, SCIENCE
from clo.config.parse import plain


def test_a_name_says_what_a_person_looks_for_first() -> None:
    assert run_of().slug().startswith("nano-clo-sw-400-s0-")
    assert run_of("tuning=attention").slug() == run_of().slug()
    assert run_of("tuning=attention_lora").slug().startswith("nano-clo-attention_lora-sw-400-s0-")
    assert run_of("method=sft").slug().startswith("nano-sft-sw-400-s0-")
    assert (
        run_of("method=sft", "tuning=attention", "lang=ko", "seed=3").slug().startswith("nano-sft-attention-ko-400-s3-")
    )
    assert run_of("model=llama3_8b", "data_size=800").slug().startswith("llama3_8b-clo-sw-800-s0-")
    name = run_of().slug()
    assert name.isascii() and "=" not in name and "/" not in name


def test_the_name_tells_what_decides_the_result() -> None:
    base = run_of().slug()
    same = ["trainer.max_tokens=77", "trainer.threads=3", "logger=wandb", "output_dir=x", "cache_dir=y", "jobs=2"]
    same += ["study_name=other", "evaluation.max_tokens=99", "trainer=cpu", "trainer.reference=swapped"]
    for override in same:
        assert run_of(override).slug() == base, override
    other = ["seed=1", "data_size=401", "batch_size=8", "method.beta=0.2", "method.lam=0.4", "model.max_length=99"]
    other += ["tuning=mlp", "evaluation.rows=5", "optimizer.clip=2", "method.steps=3", "lang=ko", "method=sft"]
    other += ["trainer.precision=bf16-mixed", "trainer.compile=true", "trainer.keep=best"]
    names = {run_of(override).slug() for override in other}
    assert len(names) == len(other) and base not in names


def test_settings_that_came_later_leave_names_as_they_were() -> None:
    """At their defaults; a run of an earlier version is found again, and one that sets them is another."""
    then = ("model.recipe.steps=null", "method.lr=1e-3")
    run = run_of(*then)
    assert (run.slug(), run.first_slug()) == ("nano-clo-sw-400-s0-c8a9282b", "clo-sw-400-s0-ef83e976")
    files = run_of("data=files", "data.train=x.jsonl", *then)
    assert (files.slug(), files.first_slug()) == ("nano-clo-sw-400-s0-1be493f6", "clo-sw-400-s0-87347901")
    for override in (
        "model.date=2024-07-26",
        "method.steps=71",
        "method.against=source",
        "+model.template_kwargs.enable_thinking=false",
    ):
        assert run_of(override).slug() != run_of().slug()


def leaves(tree: dict[str, Any], path: str = "") -> set[str]:
    found = {path.removesuffix(".")} if path else set()
    for key, value in tree.items():
        found |= leaves(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}"}
    return found


def test_every_setting_of_the_trainer_stands_in_one_table() -> None:
    """A new one needs a decision, and a reason."""
    trainer = {f"trainer.{field.name}" for field in dataclasses.fields(TrainerConfig)}
    sorted_once = [key for key in (*MACHINE, *SCIENCE) if key.startswith("trainer.")]
    assert set(sorted_once) == trainer and len(sorted_once) == len(trainer)
    known = leaves(plain(run_of())) | leaves(plain(run_of("data=table", "data.source.path=x")))
    assert {*MACHINE, *SCIENCE} <= known
    assert all(reason.strip() for reason in {**MACHINE, **SCIENCE}.values())


def losses(place: Path) -> list[float]:
    (run,) = place.glob("outputs/runs/*")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line[key] for line in lines for key in ("train/loss", "val/nll_en", "val/margin_target") if key in line]


@pytest.fixture(scope="module")
def plainly(warm: WarmRuns, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    place = tmp_path_factory.mktemp("plain")
    assert warm.run(tiny(tiny_folder, place), place).code == 0
    return losses(place)


def furthest(a: list[float], b: list[float]) -> float:
    assert len(a) == len(b) > 8
    return max(abs(x - y) / max(1.0, abs(x)) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(
    "machine",
    [
        "trainer.max_tokens=60",
        "trainer.threads=2",
        "trainer.reference=swapped",
        "trainer.checkpoints=3",
        "trainer.log_every=1",
        "trainer.grad_norms_every=2",
        "evaluation.max_tokens=30",
    ],
)
def test_what_the_machine_may_choose_changes_rounding_only(
    warm: WarmRuns, tiny_folder: Path, plainly: list[float], machine: str, tmp_path: Path
) -> None:
    ended = warm.run(tiny(tiny_folder, tmp_path, machine), tmp_path)
    assert ended.code == 0, ended.err
    assert furthest(losses(tmp_path), plainly) < 1e-4


@pytest.mark.slow
def test_compiled_or_not_decides(tiny_folder: Path, tmp_path: Path) -> None:
    """In bfloat16, where fused kernels keep what others round; in float32 the difference is rounding."""
    found = []
    for compiled in ("true", "false"):
        asked = tiny(tiny_folder, tmp_path / compiled, "trainer.precision=bf16-mixed", f"trainer.compile={compiled}")
        (tmp_path / compiled).mkdir()
        ended = cold([TRAIN, *asked], tmp_path / compiled, timeout=300)
        assert ended.code == 0, ended.err
        found.append(losses(tmp_path / compiled))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-2) and furthest(*found) > 1e-4


def test_precision_decides(warm: WarmRuns, tiny_folder: Path, plainly: list[float], tmp_path: Path) -> None:
    """A run in another precision is another run: trained beside the first one, with other numbers."""
    assert warm.run(tiny(tiny_folder, tmp_path), tmp_path).code == 0
    ended = warm.run(tiny(tiny_folder, tmp_path, "trainer.precision=bf16-mixed"), tmp_path)
    assert ended.code == 0 and "done already" not in ended.out
    folders = {json.loads((p / "results.json").read_text())["precision"]: p for p in tmp_path.glob("outputs/runs/*")}
    assert set(folders) == {"32-true", "bf16-mixed"}
    folders["32-true"].rename(tmp_path / "aside")
    assert furthest(losses(tmp_path), plainly) > 1e-3


@pytest.mark.parametrize("finished", [True, False])
def test_a_run_of_the_first_version_is_found(finished: bool, warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    """Under its name of then: shown where it is done, gone on with where it is not; another precision is not it."""
    command = tiny(tiny_folder, tmp_path)
    kill = None if finished else {"at": "clo.training.module:CLOModule.training_step", "call": 6}
    warm.run([*command, "trainer.checkpoints=4"], tmp_path, kill=kill)
    (run,) = tmp_path.glob("outputs/runs/*")
    old = run.with_name(run_of(*command).first_slug())
    assert old.name.startswith("clo-sw-16-s0-") and old.name != run.name
    run.rename(old)
    ended = warm.run(command, tmp_path)
    assert ended.code == 0, ended.err
    assert ended.out.startswith(f"{old} is done already") == finished
    assert [path.name for path in tmp_path.glob("outputs/runs/*")] == [old.name]
    ended = warm.run([*command, "trainer.precision=bf16-mixed"], tmp_path)
    assert ended.code == 0 and "done already" not in ended.out
    assert len(list(tmp_path.glob("outputs/runs/*"))) == 2
