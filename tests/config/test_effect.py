"""No setting without effect: what the chosen groups do not read rests, and typed it is refused with what reads it."""

from __future__ import annotations

import ast
import dataclasses
import functools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from called import called, refused
from composed import composed, run_of
from conftest import ROOT
from omegaconf import DictConfig, OmegaConf

from clo.commands.train import compose
from clo.config.effect import check_effect, is_read, read_by
from clo.config.evaluation import CHOICES
from clo.config.parse import RunConfig, conf_dir, parse
from clo.config.reads import COMPOSED, GROUPS, default_of, inner, reads, settings
from clo.errors import UserError

FILES = sorted(path for path in Path(conf_dir()).glob("*/*.yaml") if path.parent.name in GROUPS)
GIVEN = {
    "files": ["data.train=x"],
    "table": ["data.source.path=x"],
    "any": ["model.path=a/b-1b"],
    "crpo": ["data=files", "data.train=x"],
    "sft_dpo_pairs": ["data=files", "data.train=x"],
}
OTHERWISE = (
    ["lang.further=[{code: ko, name: Korean}]"],
    ["lang.further=[{code: ko, name: Korean}]", "data.targets=apart"],
    ["trainer.keep=best"],
    ["method.loss=simpo"],
    ["method.loss=dpop"],
    ["method.anchor=kl"],
    ["method.rejected=[translation,own]", "method.own_temperature=1"],
    ["data=table", "data.source.path=x", "data.source.pairs=true"],
    ["method.anchor=replay"],
    ["tuning.layers=auto"],
    ["evaluation.rivals.names=[prompted,averaged]"],
    [
        "evaluation.rivals.names=[chat_vector]",
        "evaluation.rivals.base=a/b",
        "evaluation.rivals.adapted=a/c",
    ],
    ["model.recipe.steps=null", "plan=true"],
    ["method=sft_dpo", "model.recipe.steps=null"],
    ["model=any", "model.path=a/b-1b", "model.template=chat"],
    ["data=table", "data.translation.engine=chat", "data.translation.model=m"],
    ["data=oasst", "logger=wandb", "tuning=attention_lora", "evaluation=lm_eval"],
)
"""Single settings that switch what is read."""
LABELS = {"lang.tier", "evaluation.name"}
"""Said by config.yaml and by a report's comparisons alone, which go by dotted key."""


@functools.cache
def made(*words: str) -> tuple[RunConfig, DictConfig]:
    cfg = composed(*words)
    cfg = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
    return parse(cfg), cfg


def every_choice() -> Iterator[tuple[str, ...]]:
    """The words of a run with each file of ``conf/``, and of some with single settings that switch what is read."""
    for path in FILES:
        if path.parent.name in ("model", "lang") and path.stem not in ("nano", "any", "sw"):
            continue  # they differ in values alone
        lang = ["lang.code=ha", "lang.name=Hausa"] if path.parent.name == "lang" else []
        yield (f"{path.parent.name}={path.stem}", *(lang if path.stem == "any" and lang else GIVEN.get(path.stem, [])))
    yield from map(tuple, OTHERWISE)


def names(cfg: DictConfig) -> set[str]:
    """Settings that are there in a run; those below a group that is null are not."""
    known = {name for name, _, _ in settings(RunConfig)}
    return {name for name in known if "." not in name or OmegaConf.select(cfg, name.rpartition(".")[0]) is not None}


@functools.cache
def used_names() -> frozenset[str]:
    """Names that are used as an attribute, or named by a text (``getattr``), anywhere outside the configuration."""
    nodes = [
        node
        for path in sorted((ROOT / "clo").rglob("*.py"))
        if path.parent.name != "config"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    ]
    return frozenset(
        {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        | {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    )


def test_every_setting_is_read_under_some_choice_and_used_where_it_is() -> None:
    """A field that no group's function yields fails here, and so does one that is yielded and used nowhere."""
    known = {name: hint for name, hint, _ in settings(RunConfig)}
    read: set[str] = set()
    for words in every_choice():
        found = reads(made(*words)[0])
        assert found <= set(known), f"no such setting: {found - set(known)}"
        read |= read_by(*made(*words))
    leaves = {name for name, hint in known.items() if inner(hint) is None}
    unread = {name for name in leaves if not any(name == one or one.startswith(f"{name}.") for one in read)}
    assert not unread, f"nothing reads {sorted(unread)}"
    composed_only = {name for name in leaves if name.startswith(COMPOSED)}
    identity = {"method.own_tuning"}  # for the name of a run, which config/identity.py makes
    unused = {name for name in leaves - composed_only - identity if name.rpartition(".")[2] not in used_names()}
    assert unused <= LABELS, f"read as declared, and used nowhere: {sorted(unused)}"


def other_than(value: Any, hint: Any, name: str) -> Any:
    """Another value of the same kind, within the bounds of every setting."""
    text = str(hint)
    if isinstance(value, bool):
        return not value
    if hasattr(value, "name"):
        return next(other for other in type(value) if other is not value).name
    if "list" in text:
        return [2.0, 1.0, 1.0, 1.0] if name.endswith("ranking") else [0.2] if "float" in text else ["answers"]
    if "dict" in text:
        return {"x": 1}
    if name == "data.temperature":
        return 2.0
    if "int" in text or "float" in text:
        return (value or 0) + 1 if "int" in text else (value or 0.1) / 2
    known = {
        "model.date": "2024-07-26",
        "data.bad_rows": "skip",
        "data.translation.backend": "ctranslate2",
        "data.replay.kind": "oasst",
    }
    return known.get(name, ".")


SMALL = (
    ("method=sft", "data=cldr", "logger=csv"),
    ("method=sft_dpo", "data=files", "data.train=x", "data.dev=x", "data.test=x", "evaluation=lm_eval"),
    ("method=sft_dpo", "method.steps=null", "data=table", "data.source.path=x", "model=any", "model.path=a/b-1b"),
    ("data=oasst", "data.translation.engine=chat", "data.translation.model=m"),
)


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_what_is_not_read_rests_and_is_refused_where_it_is_typed(every: int) -> None:
    """Every field: another value leaves the run and its name as they are; typed, one sentence names what reads it."""
    tried: set[str] = set()
    for words in SMALL:
        run, cfg = made(*words)
        read, there = read_by(run, cfg), names(cfg)
        for name, hint, field in settings(RunConfig):
            if is_read(name, read) or name not in there or name.startswith(COMPOSED):
                continue
            if inner(hint) is None:
                changed = OmegaConf.merge(cfg, {})
                now = OmegaConf.select(cfg, name)
                OmegaConf.update(changed, name, other_than(default_of(field) if now is None else now, hint, name))
                assert OmegaConf.select(changed, name) != now, name
                again = parse(changed)  # type: ignore[arg-type]
                assert again == run and again.slug() == run.slug(), name
            if name not in tried and len(tried) % every == 0:
                with pytest.raises(UserError) as caught:
                    check_effect([f"{name}=1", *words], read, cfg)
                said = str(caught.value)
                assert said.startswith(f"{name} has no effect here: it is read with ") and "\n" not in said
                assert said.endswith(f"; choose that, or leave {name} out") and "=" in said
            tried.add(name)
    assert len(tried) >= 36, sorted(tried)


@pytest.mark.parametrize(
    ("words", "setting", "choice"),
    [
        (["data.train=rows.jsonl"], "data.train", "data=files"),
        (["data.held_out=5"], "data.held_out", "data=files, oasst or table"),
        (
            ["data=files", *(f"data.{k}=x" for k in ("train", "dev", "test")), "data.held_out=5"],
            "data.held_out",
            "dev=null",
        ),
        (["method=sft", "method.beta=0.2"], "method.beta", "method=clo, clo_en_nll, crpo or sft_dpo"),
        (["method=sft", "method.lam=1"], "method.lam", "method=clo, clo_en_nll, crpo or sft_dpo_pairs"),
        (["method=sft", "model.recipe.lam=1"], "model.recipe.lam", "method=clo or clo_en_nll"),
        (["method.lr=1", "model.recipe.lr.clo=1"], "model.recipe.lr.clo", "method=sft_dpo"),
        (["batch_size=8", "model.recipe.batch_size=8"], "model.recipe.batch_size", "nothing that is read refers to it"),
        (["model.size=3"], "model.size", "model=any"),
        (["method.epochs=3"], "method.epochs", "method.steps=null"),
        (["method=sft", "trainer.reference=swapped"], "trainer.reference", "method=clo, clo_en_nll, crpo or sft_dpo"),
        (["logger.project=x"], "logger.project", "logger=wandb"),
        (["evaluation.benchmarks.shots=2"], "evaluation.benchmarks.shots", "evaluation=lm_eval or paper"),
        (
            ["evaluation.benchmarks.names=[mgsm]", "evaluation.benchmarks.scoring=[answers]"],
            "evaluation.benchmarks.scoring",
            "evaluation.benchmarks.names=[belebele]",
        ),
        (["trainer.memory_gb=80"], "trainer.memory_gb", "plan=true"),
        (["data=table", "data.source.path=x", "data.source.split=dev"], "data.source.split", "data.source.path=null"),
        (["data=table", "data.source.path=x", "data.translation.timeout=3"], "data.translation.timeout", "engine=chat"),
        (["data=oasst", "data.source.prompt=q"], "data.source.prompt", "data=table"),
        (["model=any", "model.path=a/b-1b", "model.date=2024-01-01"], "model.date", "model.template=chat"),
        (
            ["-m", "lang=sw,ko", "method=sft", "method.beta=0.1,0.2"],
            "method.beta",
            "method=clo, clo_en_nll, crpo or sft_dpo",
        ),
        (["method.nll=none", "method.lam=0"], "method.lam", "method.nll=source"),
        (["method=sft", "method.margin=1"], "method.margin", "method=clo and method.loss=simpo"),
        (["method=sft", "method.rejected=own"], "method.rejected", "method=clo, clo_en_nll, sft_dpo or sft_dpo_pairs"),
        (["method.own_tokens=9"], "method.own_tokens", "method.rejected=own"),
        (["method.own_seed=9"], "method.own_seed", "method.rejected=own"),
        (["jobs=2"], "jobs", "a grid (-m)"),
    ],
)
def test_refused_with_the_choice_that_reads_it(
    words: list[str], setting: str, choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    began = time.process_time()
    said = refused(["train", *words], capsys)
    assert time.process_time() - began < 5
    assert said.startswith(f"error: {setting} has no effect here: ") and choice in said
    assert not list(tmp_path.glob("outputs"))


def test_benchmarks_with_options_are_those_that_can_be_scored_both_ways() -> None:
    from clo.evaluation.benchmarks.tasks import TASKS

    assert set(CHOICES) == {name for name, task in TASKS.items() if task.kind == "choice"}


def test_a_grid_may_hold_cells_that_do_not_read_it() -> None:
    sft, clo = made("method=sft"), made("method=clo")
    check_effect(["method.beta=0.2"], read_by(*sft) | read_by(*clo), sft[1])
    with pytest.raises(UserError, match="no effect"):
        check_effect(["method.beta=0.2"], read_by(*sft), sft[1])


def test_runs_that_differ_in_nothing_read_are_one_run_and_old_names_stay() -> None:
    """The names of folders that there are: the method's files set what is not read (epochs of sft_dpo, lam of sft)."""
    assert run_of("method=sft_dpo", "model.recipe.steps=70").slug() == "nano-sft_dpo-sw-400-s0-0f28def8"
    assert run_of("method=sft", "model.recipe.steps=70").slug() == "nano-sft-sw-400-s0-9910ca82"
    assert run_of("method=sft", "method.beta=0.2") == run_of("method=sft")
    assert run_of("method.epochs=9").slug() == run_of().slug()
    assert run_of("method.nll=none").method.lam == 0 and run_of("method.preference=none").method.lam == 1


def test_what_is_read_is_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["method.beta=0.2"], ["trainer.reference=swapped"], ["trainer.memory_gb=80", "trainer.tflops=1"]):
        assert called("plan", *words, "data_size=8") == 0


def test_a_cell_is_not_given_what_only_others_of_its_grid_read() -> None:
    """Its process would refuse the word; and what the grid itself reads is not for a cell."""
    _, cells = compose(["-m", "method=sft,clo", "method.beta=0.2", "jobs=1"])
    words = {cell.run.method.name: cell.overrides for cell in cells}
    assert "method.beta=0.2" in words["clo"] and "method.beta=0.2" not in words["sft"]
    for cell in cells:
        (alone,), none = compose([*cell.overrides, "hydra.mode=RUN"])
        assert dataclasses.replace(alone, jobs=1) == cell.run and not none
