"""No setting without effect: what the chosen groups do not read is refused, with the choice that would read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from called import called, refused
from composed import run_of

from clo.config.effect import READ_BY, check_effect
from clo.config.parse import plain
from clo.errors import UserError


@pytest.mark.parametrize(
    ("words", "setting", "choice"),
    [
        (["data.train=rows.jsonl"], "data.train", "data=files"),
        (["data.held_out=5"], "data.held_out", "data=files without"),
        (["method=sft", "method.beta=0.2"], "method.beta", "a method with comparisons"),
        (["method=sft", "method.lam=1"], "method.lam", "an NLL term and comparisons"),
        (["method=sft", "trainer.reference=swapped"], "trainer.reference", "a method with comparisons"),
        (["logger.project=x"], "logger.project", "logger=wandb"),
        (["evaluation.benchmarks.shots=2"], "evaluation.benchmarks.shots", "evaluation=paper"),
        (["trainer.memory_gb=80"], "trainer.memory_gb", "clo plan"),
        (["data=table", "data.source.path=x", "data.source.split=dev"], "data.source.split", "data.source.path=null"),
        (["data=table", "data.source.path=x", "data.translation.timeout=3"], "data.translation.timeout", "engine=chat"),
        (["data=oasst", "data.source.prompt=q"], "data.source.prompt", "data=table"),
        (["-m", "lang=sw,ko", "method=sft", "method.beta=0.1,0.2"], "method.beta", "a method with comparisons"),
    ],
)
def test_refused_with_the_choice_that_reads_it(
    words: list[str], setting: str, choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    said = refused(["train", *words], capsys)
    assert said.startswith(f"error: {setting} has no effect here: ") and choice in said
    assert not list(tmp_path.glob("outputs"))


def test_a_grid_may_hold_cells_that_do_not_read_it() -> None:
    runs = [run_of("method=sft"), run_of("method=clo")]
    check_effect(["method.beta=0.2"], runs)
    with pytest.raises(UserError, match="no effect"):
        check_effect(["method.beta=0.2"], runs[:1])


def test_the_table_names_settings_that_there_are() -> None:
    whole = [plain(run_of(*words)) for words in ([], ["method=sft_dpo"], ["data=table", "data.source.path=x"])]
    for setting in READ_BY:
        found = False
        for tree in whole:
            node: Any = tree
            for part in setting.split("."):
                node = node.get(part, "nothing") if isinstance(node, dict) else "nothing"
            found |= not (isinstance(node, str) and node == "nothing")
        assert found, setting


def test_what_is_read_is_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["method.beta=0.2"], ["trainer.reference=swapped"], ["trainer.memory_gb=80", "trainer.tflops=1"]):
        assert called("plan", *words, "data_size=8") == 0
