"""Plans: real lengths, the true architecture without its weights, and what would fit where a cell does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import byte_level_tokenizer
from warm_runs import WarmRuns

from clo.config.parse import RunConfig
from clo.data.batch import packed_tokens
from clo.data.items import Item
from clo.study.plan import Plan, plan_run
from clo.study.plan_table import duration, show
from clo.study.rows import items_of, rows_of
from clo.study.session import renderer_of

WHOLE = [(0, 0), (0, 1), (1, 1), (1, 0)]


@pytest.fixture(scope="module")
def llama3_8b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the configuration of Llama-3-8B and some tokenizer, and no weights at all."""
    path = tmp_path_factory.mktemp("llama3_8b")
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
        "max_position_embeddings": 8192, "dtype": "bfloat16", "tie_word_embeddings": False,
    }  # fmt: skip
    (path / "config.json").write_text(json.dumps(config))
    byte_level_tokenizer().save_pretrained(path)
    return path


def train_of(run: RunConfig) -> Sequence[Item]:
    renderer = renderer_of(run.model)
    return items_of(run, renderer, rows_of(run)).train


def planned(path: Path, *more: str) -> Plan:
    from composed import run_of

    run = run_of(
        *("plan=true", "model=llama3_8b", f"model.path={path}", "trainer=gpu"),
        *("trainer.memory_gb=80", "trainer.tflops=989"),
        *("trainer.max_tokens=8192", "trainer.gradient_checkpointing=false", *more),
    )
    return plan_run(run, train_of(run))


def test_numbers_of_an_8b_model(llama3_8b: Path) -> None:
    plan = planned(llama3_8b, "data_size=400", "trainer.max_tokens=4096")
    assert (plan.items, plan.steps) == (400, 14)  # 2 epochs of 7 steps of 64
    attention = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024)
    total = 8_030_261_248
    assert plan.memory["weights"] == 2 * (total - attention) + 4 * attention + 2 * attention
    assert plan.memory["gradients"] == 4 * attention and plan.memory["optimizer"] == 8 * attention
    per_token_and_layer = plan.memory["activations"] / 32 / 4096
    assert per_token_and_layer == pytest.approx(122e3, rel=0.01)
    assert plan.advice is None and plan.limit == 80e9


@pytest.mark.parametrize(
    ("settings", "measured"),
    [
        (["trainer.max_tokens=8192"], 70.7e9),
        (["trainer.max_tokens=8192", "trainer.compile=false"], 82e9),
        (["trainer.max_tokens=16384"], 97.7e9 + 5.4e9),  # measured in steps of one pass: no gradients from before
    ],
)
def test_memory_is_what_a_gpu_needed(llama3_8b: Path, settings: list[str], measured: float) -> None:
    """One H200, attention in full, micro-batches full to the budget: what the allocator had reserved."""
    assert planned(llama3_8b, "data_size=400", *settings).needs() == pytest.approx(measured, rel=0.04)


def test_two_devices_that_share_the_weights(llama3_8b: Path) -> None:
    """Half of the layers, gradients and moments each; before and after training, whole weights without any of it."""
    one = planned(llama3_8b, "data_size=400", "trainer.max_tokens=4096")
    two = planned(
        llama3_8b, "data_size=400", "trainer.max_tokens=4096", "trainer=fsdp2", "trainer.precision=bf16-mixed"
    )
    for part in ("gradients", "optimizer"):
        assert two.memory[part] == one.memory[part] / 2
    whole = 2 * 2 * 128256 * 4096  # embeddings and head
    assert whole < two.memory["weights"] < one.memory["weights"] / 2 + whole
    assert one.needs() / 2 < two.needs() < one.needs()
    small = planned(llama3_8b, "data_size=400", "trainer=fsdp2", "trainer.devices=8", "trainer.memory_gb=16")
    assert small.needs() > 16e9 and small.advice is not None  # the start model alone does not fit


def test_a_loss_without_reference_saves_its_scores(llama3_8b: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the plan says is saved is the difference to a loss on the same cells that has one."""
    dpo, simpo = (planned(llama3_8b, "data_size=50", f"method.loss={loss}") for loss in ("sigmoid", "simpo"))
    assert dpo.spared is None and simpo.spared is not None and simpo.spared[0] == "simpo"
    assert dpo.hours is not None and simpo.hours is not None
    assert simpo.spared[1] == pytest.approx(dpo.hours - simpo.hours)
    show([dpo, simpo])
    assert "no reference scores: method.loss=simpo needs none, which saves about " in capsys.readouterr().out
    assert planned(llama3_8b, "data_size=50", "method=sft").spared is None


def test_tokens_are_those_of_the_items(llama3_8b: Path) -> None:
    from composed import run_of

    run = run_of("data_size=50")
    train = train_of(run)
    plan = plan_run(run, train)
    assert plan.tokens == sum(packed_tokens(item, WHOLE) for item in train)


@pytest.mark.parametrize(
    ("memory", "advice"), [(80, None), (50, "trainer."), (24, "tuning=attention_lora"), (8, "a device")]
)
def test_what_does_not_fit_says_what_would(llama3_8b: Path, memory: int, advice: str | None) -> None:
    asked = ["data_size=400", "trainer.max_tokens=4096", f"trainer.memory_gb={memory}"]
    plan = planned(llama3_8b, *asked)
    assert (plan.advice is None) == (advice is None)
    if advice is not None and plan.advice is not None:
        assert plan.advice.startswith(advice)
        if "=" in plan.advice:
            again = planned(
                llama3_8b,
                "data_size=400",
                "trainer.max_tokens=4096",
                *plan.advice.split(),
                f"trainer.memory_gb={memory}",
            )
            assert again.advice is None


def test_what_is_left_open_is_said(llama3_8b: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = "data_size=20", "trainer.max_tokens=null", "trainer.gradient_checkpointing=null"
    plan = planned(llama3_8b, *left)
    assert plan.advice is None
    show([plan])
    said = "chosen for the device: trainer.max_tokens=16384 trainer.gradient_checkpointing=false"  # few items
    assert said in capsys.readouterr().out


def test_checkpointing_saves_memory(llama3_8b: Path) -> None:
    usual = planned(llama3_8b, "data_size=400")
    saved = planned(llama3_8b, "data_size=400", "trainer.gradient_checkpointing=true")
    assert saved.memory["activations"] < 0.15 * usual.memory["activations"]
    assert all(saved.memory[part] == usual.memory[part] for part in ("weights", "gradients", "optimizer"))


def test_what_only_a_cpu_holds(llama3_8b: Path) -> None:
    """Its memory is the process's; bfloat16 keeps kernels; a step of the optimizer needs room of its own."""
    plain = planned(llama3_8b, "data_size=20", "trainer=cpu", "trainer.precision=32-true", "method=sft").memory
    half = planned(llama3_8b, "data_size=20", "trainer=cpu", "trainer.precision=bf16-mixed", "method=sft").memory
    long = planned(llama3_8b, "data_size=20", "trainer=cpu", "trainer.precision=bf16-mixed", "method.steps=500").memory
    gpu = planned(llama3_8b, "data_size=20", "method=sft").memory
    assert plain["process"] > 2**27 and "kernels" not in plain
    assert 2**24 < half["kernels"] < 2**28 and long["kernels"] == 2**30  # by passes, as many as are kept
    assert not {"process", "kernels", "optimizer's step, beyond activations"} & gpu.keys()
    body = plain["activations"] + plain["head"] + plain["optimizer's step, beyond activations"]
    assert body == pytest.approx(max(2 * 4 * 128256 * 4096, plain["activations"] + plain["head"]))
    assert plain["head"] > 4 * 128256 * (4096 + 2 * 256)  # the head trains: its new gradient and a block of logits


def test_swapped_references_keep_the_start_weights(llama3_8b: Path) -> None:
    cached, swapped = (planned(llama3_8b, "data_size=20", *more).memory for more in ([], ["trainer.reference=swapped"]))
    assert swapped.pop("start weights, for the reference") == cached["gradients"] and swapped == cached
    assert planned(llama3_8b, "data_size=20", "trainer.reference=swapped", "method=sft").memory.keys() == cached.keys()


def test_passes_that_measure_gradient_norms_are_counted(llama3_8b: Path) -> None:
    """Each term's own norm at every step: both terms' passes and the step's own, which is at most three times one."""
    rare, every = (planned(llama3_8b, "data_size=400", f"trainer.grad_norms_every={n}").hours for n in (1_000_000, 1))
    assert rare is not None and every is not None and 1.7 * rare < every < 3 * rare


def test_references_in_every_step_are_counted(llama3_8b: Path) -> None:
    """Two epochs: a reference pass each, where the cached one is made once."""
    more = ["data_size=400", "trainer.grad_norms_every=1000000"]
    cached, swapped = (planned(llama3_8b, *more, f"trainer.reference={mode}").hours for mode in ("cached", "swapped"))
    assert cached is not None and swapped is not None and 1.1 * cached < swapped < 1.3 * cached


def test_the_command_plans_and_trains_nothing(warm: WarmRuns, tmp_path: Path) -> None:
    places = [f"output_dir={tmp_path}/outputs", f"cache_dir={tmp_path}/cache"]
    one = warm.run(["plan=true", *places], tmp_path)
    assert one.code == 0 and "nothing was trained" in one.out
    grid = warm.run(["-m", "plan=true", "lang=ko,sw", "data_size=100,200", *places], tmp_path)
    assert grid.code == 0 and grid.out.count("clo-ko-") == 2
    small = warm.run(["plan=true", "trainer.memory_gb=0.01", *places], tmp_path)
    assert small.code == 1 and "does not fit; this would" in small.out
    stop = {"at": "clo.study.plan_table:plan_run", "call": 1, "by": "SIGINT"}
    for stopped in (warm.run(["plan=true", *places], tmp_path, stop), warm.run(places, tmp_path, stop, command="plan")):
        assert (stopped.code, stopped.err) == (130, "stopped; of a plan nothing is kept\n")
    assert not (tmp_path / "outputs").exists()


def test_durations() -> None:
    assert [duration(h) for h in (2.345, 0.5, 0.002)] == ["2.3 h", "30.0 min", "7 s"]
