"""Ten steps of every way to train a real model, by the command itself: losses, references, resuming, export, plan."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch
from real_runs import RealRuns, Watched, real_rows
from warm_runs import WarmRuns

from clo.study.export import export

pytestmark = pytest.mark.slow
WAYS = {
    "clo": [],
    "sft": ["method=sft"],
    "sft_dpo": ["method=sft_dpo", "method.lr=2e-5"],
    "lora": ["tuning=attention_lora", "method.lr=1e-3"],
    "layers": ["tuning.layers=[9,17]", "trainer.reference=swapped"],
    "swapped": ["trainer.reference=swapped"],
    "adapters_off": ["tuning=attention_lora", "method.lr=1e-3", "trainer.reference=adapters_off"],
    "bf16": ["model.dtype=bfloat16", "trainer.precision=bf16-mixed"],
}
STAGES = {name: [name] for name in ("clo", "sft")} | {"sft_dpo": ["sft", "dpo"]}


@pytest.fixture(scope="module")
def runs(real_model: Path, shared_data: Path, warm: WarmRuns, tmp_path_factory: pytest.TempPathFactory) -> RealRuns:
    place = tmp_path_factory.mktemp("real")
    rows = [row for row, _ in zip(real_rows(shared_data, "id", 70), range(40), strict=False)]
    file = place / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return RealRuns(warm, real_model, file, place)


def way(runs: RealRuns, name: str) -> Watched:
    return runs(name, *WAYS[name])


@pytest.mark.parametrize("name", WAYS)
def test_ten_steps(runs: RealRuns, real_model: Path, name: str) -> None:
    """Losses fall, the results are whole, and what is frozen is what the start model holds."""
    run = way(runs, name)
    for stage in STAGES.get(name, ["clo"]):
        losses = run.losses(stage)
        print(name, stage, " ".join(f"{loss:.4f}" for loss in losses))
        third = max(1, len(losses) // 3)
        assert mean(losses[-third:]) < mean(losses[:third])
    results = run.results()
    assert results["train"]["steps"] == len(run.lines()) == 10
    assert {side: results["scores"][side]["all"]["n"] for side in ("en", "target")} == {"en": 2, "target": 2}
    assert len(run.samples()) == 4
    if name in ("clo", "layers"):
        from safetensors.torch import load_file

        start, end = load_file(real_model / "model.safetensors"), run.weights()
        moved = {key for key in start if not torch.equal(end[key], start[key].float())}
        first = 9 if name == "layers" else 0
        wanted = {f"model.layers.{k}.self_attn.{m}_proj.weight" for k in range(first, 18) for m in "qkvo"}
        assert moved == wanted and start.keys() == end.keys()


@pytest.mark.parametrize(("one", "other"), [("clo", "swapped"), ("lora", "adapters_off")])
def test_reference_modes_agree(runs: RealRuns, one: str, other: str) -> None:
    a, b = (way(runs, name).losses("clo") for name in (one, other))
    apart = [abs(x - y) / abs(x) for x, y in zip(a, b, strict=True)]
    print(f"{one} and {other}: loss apart by {apart[0]:.1e} in the first step, {max(apart):.1e} at most")
    assert apart[0] < 1e-6 and max(apart) < 1e-4


def test_resumed_to_the_bit(runs: RealRuns) -> None:
    """Killed in its eighth step, gone on from the checkpoint of the fifth."""
    alone, command = way(runs, "clo"), runs.settings("resumed")
    kill = {"at": "clo.training.module:CLOModule.training_step", "call": 8}
    assert runs.warm.run(command, runs.place, kill=kill).code == -signal.SIGKILL
    ended = runs.warm.run(command, runs.place)
    assert ended.code == 0, ended.err
    resumed = Watched(runs.path("resumed"))
    assert resumed.losses("clo") == alone.losses("clo")
    wanted, found = alone.weights(), resumed.weights()
    assert wanted.keys() == found.keys() and all(torch.equal(found[key], wanted[key]) for key in wanted)
    assert resumed.samples() == alone.samples()


def answers(model: Any, tokenizer: Any, samples: list[dict[str, Any]]) -> list[str]:
    """Those of transformers' own generation, prompt by prompt, through the exported chat template."""
    found = []
    for sample in samples:
        turns = [{"role": "user", "content": sample["prompt"]}]
        asked = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        out = model.generate(**asked, do_sample=False, max_new_tokens=8)
        found.append(tokenizer.decode(out[0, asked["input_ids"].shape[1] :], skip_special_tokens=True).strip())
    return found


@pytest.mark.parametrize(("name", "merge"), [("clo", True), ("lora", True), ("lora", False)])
def test_transformers_alone_answers_as_the_run(
    runs: RealRuns, real_model: Path, tmp_path: Path, name: str, merge: bool
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = way(runs, name)
    export(run.path, tmp_path / "served", merge=merge)
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "served" if merge else real_model, dtype=torch.float32)
    model = base if merge else PeftModel.from_pretrained(base, tmp_path / "served")
    samples = run.samples()
    wanted = [sample["answer"] for sample in samples]
    assert answers(model.eval(), AutoTokenizer.from_pretrained(tmp_path / "served"), samples) == wanted
    assert len(set(wanted)) > 1


PLAN = """
import sys
from pathlib import Path
from clo.study.finished import recorded
from clo.study.plan import plan_run
from clo.study.rows import items_of, rows_of
from clo.study.session import renderer_of
config = recorded(Path(sys.argv[1]))
plan = plan_run(config, items_of(config, renderer_of(config.model), rows_of(config)).train)
print(plan.needs(), plan.hours * 3600)
"""


def planned(run: Watched) -> tuple[float, float]:
    """Bytes and seconds, planned in a process of its own: what a process holds counts."""
    out = subprocess.run([sys.executable, "-c", PLAN, str(run.path)], capture_output=True, text=True, check=True).stdout
    needs, seconds = map(float, out.split()[-2:])
    return needs, seconds


@pytest.mark.parametrize("name", ["clo", "sft", "lora", "bf16"])
def test_the_plan_is_what_is_measured(runs: RealRuns, name: str) -> None:
    """Memory of the whole process, and seconds of the processor for references and steps."""
    run = way(runs, name)
    needs, planned_seconds = planned(run)
    seconds = sum(value for stage, value in run.seconds.items() if stage.startswith(("train", "reference")))
    print(f"{name}: {needs / 2**30:.2f} GiB planned, {run.peak / 2**30:.2f} measured; ", end="")
    print(f"{planned_seconds:.0f} s planned, {seconds:.0f} s measured; {run.seconds}")
    assert needs == pytest.approx(run.peak, rel=0.25)
    assert planned_seconds == pytest.approx(seconds, rel=0.25)
