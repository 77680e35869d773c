"""Every configuration file composes and parses; what is refused is in test_bad_values.py."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from composed import composed, run_of
from conftest import ROOT
from omegaconf import OmegaConf

from clo.config.choices import Loss
from clo.config.parse import parse, plain
from clo.config.rates import by, size_of
from clo.errors import UserError

CONF = ROOT / "conf"
COUNTS = {
    "model": 27,
    "lang": 14,
    "method": 8,
    "tuning": 5,
    "data": 5,
    "evaluation": 3,
    "trainer": 4,
    "logger": 2,
    "scale": 3,
    "preset": 2,
    "mixture": 6,
    "task": 10,
    "study": 25,
}
FILES = [(group, path.stem) for group in COUNTS for path in sorted((CONF / group).glob("*.yaml"))]
STUDIES = [name for group, name in FILES if group == "study"]
CELLS = {
    "ablation_layers": 45,
    "ablation_nll": 10,
    "ablation_tuning": 27,
    "anchors": 36,
    "bed": 96,
    "data_efficiency": 60,
    "demo": 4,
    "fixed_steps": 72,
    "guide": 120,
    "losses": 72,
    "main_grid": 90,
    "memory": 6,
    "real_model": 32,
    "real_rows": 16,
    "rerun": 36,
    "targets": 42,
    "tune_anchors": 16,
    "tune_bed": 16,
    "tune_bed_sft": 8,
    "tune_bed_sft_dpo": 8,
    "tune_losses": 108,
    "tune_nano": 48,
    "tune_nano_sft": 24,
    "tune_nano_sft_dpo": 24,
    "tune_real": 9,
}
"""Runs of every study; a study that grows says so here."""
PAIRED = ("data=files", "data.train=rows.jsonl")
"""Rows that may hold quality pairs."""
ROWS = {"real_rows": ["data.train=rows.jsonl"]}
"""What a study leaves to its user."""


def test_every_file_is_counted() -> None:
    found = {group: len(list((CONF / group).glob("*.yaml"))) for group in COUNTS}
    assert found == COUNTS
    known = {CONF / "config.yaml", CONF / "hydra/help/clo.yaml"} | {CONF / g / f"{n}.yaml" for g, n in FILES}
    assert set(CONF.rglob("*.yaml")) == known


@pytest.mark.parametrize(("group", "name"), [pair for pair in FILES if pair[0] not in ("study", "preset")])
def test_every_file_composes_and_is_named_like_its_value(group: str, name: str) -> None:
    needed = {
        ("data", "files"): ["data.train=rows.jsonl"],
        ("method", "crpo"): list(PAIRED),
        ("method", "sft_dpo_pairs"): list(PAIRED),
        ("lang", "any"): ["lang.code=any", "lang.name=Any"],
        ("model", "any"): ["model.path=somebody/any"],
    }
    more = needed.get((group, name), [])
    run = run_of(f"{group}={name}", *more)
    if group == "task":
        testers = [one.tested_by for one in run.tasks.values() if one.tested_by]
        assert [one.name for one in run.tasks.values()] == [*testers, name] == list(run.tasks)
        return
    value = getattr(run, group)
    if group == "lang":
        assert value.code == name and value.name.isascii() and value.tier in ("high", "medium", "low", "unknown")
    elif group == "scale":
        assert value == name
    elif group != "trainer":
        assert value.name == name


@pytest.mark.parametrize("study", STUDIES)
def test_every_value_of_every_study_parses(study: str) -> None:
    given = [f"study={study}", *ROWS.get(study, [])]
    cfg = composed(*given)
    assert cfg.hydra.mode.name == "MULTIRUN"
    assert cfg.study_name == study or cfg.scale  # the paper's: tests/config/test_paper_studies.py
    params = {key: re.split(r",(?![^\[]*\])", str(values)) for key, values in cfg.hydra.sweeper.params.items()}
    assert math.prod(len(values) for values in params.values()) == CELLS[study]
    first = {key: values[0] for key, values in params.items()}
    axes = [first | {key: value} for key, values in params.items() for value in values]
    names = {run_of(*given, *(f"{k}={v}" for k, v in cell.items())).slug() for cell in axes}
    assert len(names) == 1 + sum(len(values) - 1 for values in params.values())


def test_every_method_with_every_model_has_its_own_learning_rate() -> None:
    """Each model says a rate for each method, and takes the one of its run's; each method is in some of the runs."""
    methods = [name for group, name in FILES if group == "method"]
    models = [name for group, name in FILES if group == "model"]
    pairs = [("nano", method) for method in methods] + [("any", method) for method in methods]
    pairs += [(model, methods[k % len(methods)]) for k, model in enumerate(models) if model not in ("nano", "any")]
    assert {model for model, _ in pairs} == set(models)
    for model, method in pairs:
        run = run_of(f"model={model}", *(["model.path=x"] if model == "any" else []), f"method={method}", *PAIRED)
        recipe = run.model.recipe
        assert sorted(recipe.lr) == sorted(methods)
        assert run.method.lr == recipe.lr[method]
        assert run.batch_size == recipe.batch_size


@pytest.mark.parametrize("loss", Loss)
def test_every_loss_has_the_best_of_its_tries(loss: Loss) -> None:
    run = run_of("study=losses", "method=clo", f"method.loss={loss.value}")
    assert (run.method.lr == 2e-3) == (loss in (Loss.dpop, Loss.sigmoid_norm)) and run.method.lr >= 1e-3
    assert run.method.lam == {Loss.dpop: 0.9, Loss.apo_down: 0.98, Loss.orpo: 0.98}.get(loss, 0.5)
    with pytest.raises(UserError, match="this study has values for ipo, and none for hinge; choose one of them"):
        by(Loss.hinge, {"ipo": 1e-3})


@pytest.mark.parametrize(
    ("path", "name", "size", "lr"),
    [
        ("Qwen/Qwen3-0.6B", "qwen3_0_6b", 0.6, 2e-5),
        ("google/gemma-3-270m-it", "gemma_3_270m_it", 0.27, 5e-5),
        ("mistralai/Mixtral-8x7B-v0.1", "mixtral_8x7b_v0_1", 56, 5e-6),
        ("HuggingFaceTB/SmolLM2-1.7B-Instruct", "smollm2_1_7b_instruct", 1.7, 1e-5),
        ("me/mine", "mine", None, 8e-6),  # nothing tells its size: a careful rate
        ("/data/my-4bit-model", "my_4bit_model", None, 8e-6),
    ],
)
def test_any_model_has_a_name_and_rates_by_its_size(path: str, name: str, size: float | None, lr: float) -> None:
    run = run_of("model=any", f"model.path={path}")
    assert run.model.name == name and size_of(path) == size and run.method.lr == lr
    second = run_of("model=any", f"model.path={path}", "method=sft_dpo").method
    assert second.lr == pytest.approx(lr / 10) and second.sft_first is not None and second.sft_first.lr == lr
    given = run_of("model=any", f"model.path={path}", "model.size=3")
    assert given.method.lr == 1e-5
    same = run_of("model=any", f"model.path={path}", "model.size=3", f"method.lr={lr}")
    assert same.slug() == run.slug()  # the rate decides, not where it came from


def test_the_size_of_a_folder_is_that_of_its_weights(tmp_path: Path) -> None:
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(3_000_000_000)
    assert size_of(str(tmp_path)) == 1.5 and run_of("model=any", f"model.path={tmp_path}").method.lr == 2e-5


def test_presets_say_what_was_run_and_what_is_assumed() -> None:
    for path in (CONF / "model").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        if "defaults:" in text:
            said = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
            assert ("Nothing has been run with this file." in said) is (path.stem != "gemma3_270m")
            assert "assumed" in said
            run = run_of(f"model={path.stem}")
            assert run.model.size and abs(run.model.size / (size_of(run.model.path) or 0) - 1) < 0.6
    assert run_of("model=qwen3_0_6b", "model.template=chat").model.template_kwargs == {"enable_thinking": False}


def test_a_model_by_its_path_alone_is_refused_with_the_way_to_say_it() -> None:
    from clo.commands.train import compose

    with pytest.raises(UserError, match=r"recipe of nano, .*set model=any model\.path=some/model, or choose a file"):
        compose(["model.path=some/model"])
    with pytest.raises(UserError, match=r"^model=any needs the model: model\.path="):
        compose(["model=any"])
    (run,), _ = compose(["model=any", "model.path=some/model"])
    assert run.model.name == "model"


def test_a_method_brings_its_tuning_and_the_command_line_wins() -> None:
    assert run_of().tuning.name == "attention"
    assert run_of("method=sft").tuning.name == "full"
    assert run_of("method=sft", "tuning=attention").tuning.name == "attention"
    assert run_of("method=clo", "tuning=mlp").tuning.trains.name == "mlp"


def test_language_codes_are_texts() -> None:
    import yaml

    for path in {*(CONF / "lang").glob("*.yaml")} - {CONF / "lang" / "any.yaml"}:
        assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8"))["code"], str)
        assert f'code: "{path.stem}"' in path.read_text(encoding="utf-8")  # quoted: an unquoted `no` is a boolean


def test_any_language_takes_nothing_from_another() -> None:
    lang = run_of("lang=any", "lang.code=ha", "lang.name=Hausa").lang
    assert (lang.code, lang.name, lang.tier, lang.source) == ("ha", "Hausa", "unknown", "en")
    for given in ([], ["lang.code=ha"], ["lang.name=Hausa"]):
        with pytest.raises(UserError, match="lang=any needs a code and a name, such as lang=any"):
            run_of("lang=any", *given)


# The identity of a run ----------------------------------------------------------------------------------------------


def test_a_run_survives_its_config_yaml() -> None:
    for method in (name for group, name in FILES if group == "method"):
        run = run_of(f"method={method}", "tuning=attention_lora" if method == "clo" else f"method={method}", *PAIRED)
        text = OmegaConf.to_yaml(OmegaConf.create(plain(run)))
        again = parse(OmegaConf.create(text))  # type: ignore[arg-type]
        assert again == run
        assert again.slug() == run.slug()


@pytest.mark.parametrize(
    "words",
    [
        ("-m", "tuning=attention_lora", "lang=ko,sw", "tuning.lora.r=4"),
        ("-m", "method=sft_dpo,sft_dpo", "method.sft_first.lr=1e-4"),
        ("study=tune_bed_sft_dpo", "method.sft_first.lr=1e-4", "tuning=full"),
    ],
)
def test_a_grid_lays_keys_of_an_option_into_its_cells(words: tuple[str, ...]) -> None:
    """Hydra composes a grid by its default options first, and there the key's parent is null."""
    from clo.commands.train import compose

    _, cells = compose(words)
    assert cells
    for cell in cells:
        lora, first = cell.run.tuning.lora, cell.run.method.sft_first
        assert (lora is not None and lora.r == 4) or (first is not None and first.lr == 1e-4)
