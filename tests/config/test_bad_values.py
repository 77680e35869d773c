"""Typos, wrong types and impossible values are refused, and every setting says what it is."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import itertools
from pathlib import Path

import pytest
from composed import composed, run_of
from conftest import ROOT
from hydra.errors import ConfigCompositionException

from clo.config.parse import RunConfig
from clo.errors import UserError


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("+unknown.key=1", "unknown key unknown"),
        ("+method.betta=1", "unknown key method.betta"),
        ("++trainer.tokens=1", "unknown key trainer.tokens"),
        ("+method.sft_first.rate=1", "unknown key method.sft_first.rate"),
        ("+model.recipe.rate=1", "unknown key model.recipe.rate"),
        ("method.lam=1.5", r"method.lam .* must be in \[0, 1\], got 1.5"),
        ("method.lam=-0.1", r"method.lam .* must be in \[0, 1\], got -0.1"),
        ("method.lam=nan", "method.lam"),
        ("method.beta=0", "method.beta .* must be above 0, got 0"),
        ("method.beta=-1", "method.beta .* must be above 0"),
        ("method.beta=inf", "method.beta .* must be above 0"),
        ("method.lr=0", "method.lr"),
        ("method.epochs=0", "method.epochs"),
        ("data_size=0", "data_size .* at least 1, .*, got 0"),
        ("data_size=many", "data_size .* at least 1, .*, got many"),
        ("data_size=-5", "data_size"),
        ("batch_size=0", "batch_size"),
        ("seed=-1", "seed"),
        ("jobs=0", "jobs"),
        ("study_name=a/b", "study_name"),
        ("study_name='a=b'", "study_name"),
        ("lang.code=en", "lang.code .* must differ from lang.source=en"),
        ("model.max_length=2", "model.max_length"),
        ("model.dtype=int8", "model.dtype is one of auto"),
        ("trainer.precision=16", "trainer.precision is one of"),
        ("trainer.strategy=fsdp", "trainer.strategy"),
        ("trainer.max_tokens=0", "trainer.max_tokens"),
        ("trainer.reference=adapters_off", "needs adapters; set tuning=attention_lora"),
        (
            "data=files data.train=x.jsonl method.anchor=replay",
            "needs rows .* set data.replay.path=<file> or data.replay.",
        ),
        ("method.anchor=replay method.anchor_share=0", "method.anchor_share .* above 0"),
        ("method.anchor=replay data.replay.kind=trees", "data.replay.kind is oasst or table"),
        ("tuning.layers=[1]", "tuning.layers is"),
        ("tuning.layers=[1,x]", "tuning.layers is"),
        (
            "tuning.layers=some",
            r"is \[first, last\], one of auto, lower, middle, upper, or null, got some",
        ),
        ("tuning.layers=auto tuning.auto_share=0", r"tuning.auto_share .* above 0, at most 1, got 0"),
        ("tuning.layers=auto tuning.auto_items=0", "tuning.auto_items .* at least 1, got 0"),
        ("tuning=attention_lora model.quantize=4bit tuning.layers=auto", "layers=auto goes by gradients .* quantized"),
        ("evaluation.rivals.names=[guessed]", r"evaluation.rivals.names is .* prompted, averaged, chat_vector, got"),
        ("evaluation.rivals.names=[prompted,prompted]", "names one twice"),
        (
            "evaluation.rivals.names=[averaged] evaluation.rivals.shares=[0.5,1]",
            "between 0 and 1, both excluded",
        ),
        ("evaluation.rivals.names=[averaged] evaluation.rivals.shares=[]", "shares between 0 and 1"),
        (
            "evaluation.rivals.names=[prompted] evaluation.rivals.instruction=''",
            "is a text before a prompt",
        ),
        ("evaluation.rivals.names=[chat_vector]", "needs evaluation.rivals.base=<hub id or folder>"),
        ("evaluation.rivals.names=[chat_vector] evaluation.rivals.base=a", "needs evaluation.rivals.adapted=<hub id"),
        (
            "evaluation.rivals={names:[chat_vector],base:a,adapted:b} tuning=attention_lora model.quantize=4bit",
            "adds weights, and quantized ones cannot be added",
        ),
        ("optimizer.warmup=1", "optimizer.warmup"),
        ("optimizer.betas=[0.9]", "optimizer.betas"),
        ("evaluation.rows=0", "evaluation.rows"),
        ("data.kind=hub", "data.kind"),
        ("data=files", "data=files needs data.train=<file>"),
        ("logger.name=tensorboard", "logger.name"),
    ],
)
def test_impossible_values_are_refused(override: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        run_of(*(["method=sft_dpo"] if "sft_first" in override else []), *override.split())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "said"), [("reference=swapped", "whole weights"), ("compile=true", "compile=true")]
)
def test_what_split_weights_cannot_do_is_refused(setting: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        run_of("trainer=fsdp2", f"trainer.{setting}")


@pytest.mark.parametrize(
    "override",
    ["lang=xx", "method=clx", "study=nope", "method.betta=1", "method.nll=foo", "lang.code=null"],
)
def test_wrong_types_choices_and_keys_are_refused_at_compose(override: str) -> None:
    with pytest.raises(ConfigCompositionException):
        composed(override)


@pytest.mark.parametrize("path", sorted((ROOT / "clo" / "config").glob("*.py")), ids=lambda path: path.stem)
def test_every_setting_says_what_it_is(path: Path) -> None:
    module = importlib.import_module(f"clo.config.{path.stem}" if path.stem != "__init__" else "clo.config")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and dataclasses.is_dataclass(getattr(module, node.name)):
            for field, below in itertools.pairwise([*node.body, ast.Pass()]):
                said = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
                if isinstance(field, ast.AnnAssign) and not said:
                    silent.append(f"{node.name}.{ast.unparse(field.target)}")
    # In RunConfig a group's own class says it.
    assert [name for name in silent if not name.startswith("RunConfig.")] == []
    assert all(name.removeprefix("RunConfig.") in {f.name for f in dataclasses.fields(RunConfig)} for name in silent)
