"""What an arm is called, and that no two arms are ever one row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from composed import run_of
from report_fixture import write_run

from clo.config.parse import plain
from clo.report.arms import FAMILIES
from clo.report.collect import collect
from clo.report.labels import arms, short
from clo.report.summary import build


def flat(tree: dict[str, Any], path: str = "") -> dict[str, str]:
    """As the report reads config.yaml."""
    found: dict[str, str] = {}
    for key, value in tree.items():
        inner = isinstance(value, dict)
        found |= flat(value, f"{path}{key}.") if inner else {f"{path}{key}": "null" if value is None else str(value)}
    return found


def labels(*cells: str) -> list[str]:
    """Of runs with these overrides, one text each."""
    runs = [run_of(*cell.split()) for cell in cells]
    told = [(r.method.name, r.tuning.name, r.lang.code, flat(yaml.safe_load(yaml.safe_dump(plain(r))))) for r in runs]
    return [arm.label for arm in arms(told)[0]]


def test_every_arm_of_the_issue_by_its_overrides() -> None:
    """Objectives in words, λ and the NLL's unit where they vary, and what trains."""
    found = labels(
        "method=clo",
        "method=sft",
        "method=sft tuning=attention",
        "method=clo method.preference=source",
        "method=clo method.preference=target",
        "method=sft_target tuning=attention",
        "method=clo method.lam=0.9 method.nll_reduction=token_mean",
        "method=sft_en",
        "method=sft_dpo",
        "method=clo_en_nll tuning=attention_lora",
        "method=clo tuning.layers=[0,1]",
    )
    assert found == [
        "CLO (λ .5, NLL per answer), attention",
        "SFT (NLL per answer), all weights",
        "SFT (NLL per answer), attention",
        "CLO, English comparison alone (λ .5, NLL per answer), attention",
        "CLO, target comparison alone (λ .5, NLL per answer), attention",
        "target NLL alone (λ 1, NLL per answer), attention",
        "CLO (λ .9, NLL per token), attention",
        "English NLL alone (λ 1, NLL per answer), all weights",
        "SFT+DPO (NLL per answer), all weights",
        "CLO, NLL on English too (λ .5, NLL per answer), LoRA on attention",
        "CLO (λ .5, NLL per answer), attention of layers [0, 1]",
    ]


def test_what_all_arms_share_stands_in_no_label() -> None:
    assert labels("method=sft", "method=clo") == ["SFT, all weights", "CLO, attention"]
    assert labels("method=clo", "method=clo seed=1", "method=clo lang=ko data_size=100") == ["CLO"] * 3
    assert labels("method=sft", "method=clo tuning=full") == ["SFT", "CLO"]
    assert labels("method=clo method.lam=1") == ["target NLL alone (λ 1)"]
    assert labels("method=clo method.lam=0") == ["comparisons alone (λ 0)"]
    assert labels("method=sft", "method=sft_dpo", "method=clo_en_nll tuning=full") == [
        FAMILIES[name] for name in ("sft", "sft_dpo", "clo_en_nll")
    ]
    assert labels("method=clo method.name=mine") == ["mine"]


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ("method.lam=0.9", "λ .9"),
        ("method.beta=0.5", "β .5"),
        ("method.nll_reduction=token_mean", "NLL per token"),
        ("method.pair_reduction=sum", "sum of comparisons"),
        ("method.preference=source", "English comparison alone"),
        ("method.nll=diagonal", "NLL on English too"),
        ("method.steps=50", "50 steps"),
        ("method.steps=null", "steps by epochs"),
        ("batch_size=8", "batch 8"),
        ("tuning=full", "all weights"),
        ("tuning=attention_lora", "LoRA on attention"),
        ("tuning.layers=[0,1]", "layers [0, 1]"),
        ("method.lr=5e-4", "lr=0.0005"),
        ("method.steps=null method.epochs=1", "steps by epochs"),
        ("optimizer.clip=2", "clip=2.0"),
        ("model.max_length=99", "max_length=99"),
        ("trainer.precision=bf16-mixed", "precision=bf16-mixed"),
        ("evaluation.rows=7", "rows=7"),
    ],
)
def test_whatever_decides_a_result_parts_rows(changed: str, word: str) -> None:
    """Two runs that differ in it are never seeds of one row, beside other arms too, and the row says by what."""
    one, other = labels("method=clo", f"method=clo {changed}")
    assert one != other and word in other
    *_, one, other = labels("method=sft", "method=clo_en_nll", "method=clo seed=1", f"method=clo seed=2 {changed}")
    assert one != other and word in other


def test_what_decides_no_result_parts_none() -> None:
    """A path per language, a machine's settings, the folder."""
    runs = [
        ("sft", "full", "sw", {"method.lam": "1", "data.train": "sw", "model.recipe.lam": "1"}),
        ("clo", "full", "sw", {"method.lam": "0.5", "data.train": "sw", "trainer.threads": "2"}),
        ("clo", "full", "ko", {"method.lam": "0.5", "data.train": "ko", "trainer.threads": "4"}),
    ]
    assert [arm.label for arm in arms(runs)[0]] == ["SFT", "CLO", "CLO"]
    assert len(set(labels("method=clo", "method=clo trainer.max_tokens=77 study_name=x jobs=2 logger=wandb"))) == 1


def test_a_record_that_lacks_later_settings_is_at_their_defaults() -> None:
    """A run of before method.steps is the same arm as one with steps=null; one without any record is its method's."""
    recorded = flat(plain(run_of("method=clo", "model.recipe.steps=null")))
    older = {key: value for key, value in recorded.items() if key != "method.steps"}
    found, _ = arms([("clo", "attention", "sw", one) for one in (recorded, older)])
    assert found[0] == found[1]
    (bare,), _ = arms([("sft_dpo", "full", "sw", {})])
    assert bare.label == "SFT+DPO"


def test_the_table_says_what_its_rows_share(tmp_path: Path) -> None:
    for method in ("sft", "clo"):
        write_run(tmp_path / "s", "sw", method, 100, 0)
    assert (
        build(collect("s", tmp_path)).notes[-1]
        == "The same for every row that has it: λ .5, β .1, steps by epochs, batch 64."
    )


def test_numbers_are_short() -> None:
    assert [short(text) for text in ("0.5", "1.0", "1e-05", "70", "nan", "on")] == [
        ".5",
        "1",
        "1e-05",
        "70",
        "nan",
        "on",
    ]


def test_what_a_study_changes_with_the_seed_is_no_arm_of_its_own() -> None:
    """Start models and folds that go with the seed are what an interval over seeds is over."""
    crossed = [
        f"method={method} data.fold={seed % 4} model.path=nano-{seed} seed={seed}"
        for method in ("clo", "sft")
        for seed in (1, 2)
    ]
    assert len(set(labels(*crossed))) == 2
    split = [f"method=clo data.fold={fold} seed=0" for fold in (0, 1)]  # not the seed's doing
    assert len(set(labels(*split))) == 2
