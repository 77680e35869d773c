"""Replayed rows: their NLL beside a method's own loss, by a float64 loop, in a run, over splits and kills."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import byte_level_tokenizer, tiny_model
from tiny_runs import CLO, CLO_EN_NLL, DATA, METHODS, difference, fit, metrics, random_items, run_config, weights
from torch import Tensor
from warm_runs import WarmRuns, tiny

from clo.config.choices import Anchor, NllReduction, ReferenceMode
from clo.data.items import Item, replay_items
from clo.data.prompt import Renderer
from clo.data.rows import Row
from clo.errors import UserError
from clo.square.objective import objective_terms
from clo.square.scores import batch_of, groups_of, score, score_items


def replayed(count: int, seed: int = 7) -> list[Item]:
    return [
        replace(item, prompts=(item.prompts[0], None), responses=(item.responses[0], None), replayed=True)
        for item in random_items(count, seed=seed)
    ]


REPLAY = {"anchor": Anchor.replay, "anchor_weight": 2.0, "anchor_share": 0.5}
WITH_ROWS = replace(DATA, replayed=replayed(3))


def log_prob(model: Any, item: Item) -> Tensor:
    prompt, answer = item.prompt(0), item.response(0)
    logits = model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0, len(prompt) - 1 : -1]
    found: Tensor = logits.log_softmax(1).gather(1, torch.tensor(answer)[:, None]).sum()
    return found


@pytest.mark.parametrize(
    "plain", [CLO, CLO_EN_NLL, METHODS["sft"], METHODS["sft_target"]], ids=["clo", "en", "sft", "t"]
)
@pytest.mark.parametrize("max_tokens", [30, 2000])
@pytest.mark.parametrize("unit", list(NllReduction))
def test_the_loss_is_the_methods_own_and_the_rows(plain: Any, max_tokens: int, unit: NllReduction) -> None:
    """Value and gradient: the loss of the step without replayed rows, plus their NLL per token times the weight."""
    plain = replace(plain, nll_reduction=unit)
    objective, own, rows = replace(plain, replay=2.0), random_items(5), replayed(3)
    model = tiny_model().double()
    R = score_items(tiny_model(seed=3).double(), own, [(i, j) for i in range(2) for j in range(2)], 2000).S_BLK
    references = {item.key(): r for item, r in zip(own, R, strict=True)} | {i.key(): torch.zeros(2, 2) for i in rows}

    def terms(some: list[Item], what: Any) -> Any:
        found = score(model, batch_of(model, some, what.cells()))
        return objective_terms(
            what, found.S_BLK, torch.stack([references[i.key()] for i in some]), found.count_BLK, items=some
        )

    nll = -sum(log_prob(model, item) for item in rows) / sum(len(item.response(0)) for item in rows)
    wanted = plain.loss(terms(own, plain), plain.denominators(own)) + 2.0 * nll
    wanted.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    items, total, sums = [*own, *rows], 0.0, torch.zeros(2, dtype=torch.float64)
    for group in groups_of(model, items, objective.cells(), max_tokens):
        part = terms([items[k] for k in group], objective)
        loss = objective.loss(part, objective.denominators(items))
        loss.backward()
        total, sums = total + float(loss.detach()), sums + part.metrics["nll_replay"]
    assert total == pytest.approx(float(wanted.detach()), rel=1e-9)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-6, atol=1e-10)
    assert float(sums[0] / sums[1]) == pytest.approx(float(nll.detach()), rel=1e-9)


@pytest.mark.parametrize("mode", [ReferenceMode.cached, ReferenceMode.swapped])
def test_replayed_rows_are_part_of_a_run(mode: ReferenceMode, tmp_path: Path) -> None:
    """Without them the loss of the first step is less by their part; in the end the rows are likelier."""
    run = run_config(tmp_path, method_changes=REPLAY, reference=mode, log_every=1)
    fit(tmp_path, run, data=WITH_ROWS)
    lines = metrics(tmp_path)
    fit(tmp_path / "plain", run_config(tmp_path / "plain", reference=mode, log_every=1))
    before = metrics(tmp_path / "plain")[0]
    first, last = lines[0], lines[-1]
    assert first["train/anchor"] == pytest.approx(2 * first["train/nll_replay"], rel=1e-6)
    assert first["train/loss"] == pytest.approx(before["train/loss"] + first["train/anchor"], rel=1e-6)
    assert first["train/grad_norm_nll"] == pytest.approx(before["train/grad_norm_nll"], rel=1e-5)
    assert first["train/grad_norm_pref"] == pytest.approx(before["train/grad_norm_pref"], rel=1e-5)
    assert last["train/nll_replay"] < 0.8 * first["train/nll_replay"]


def test_the_split_changes_nothing(tmp_path: Path) -> None:
    found = []
    for tokens in (40, 2000):
        run = run_config(tmp_path / str(tokens), method_changes=REPLAY, max_tokens=tokens)
        found.append(weights(fit(tmp_path / str(tokens), run, data=WITH_ROWS)))
    assert difference(*found)[0] < 5e-4


def test_the_second_stage_alone_replays(tmp_path: Path) -> None:
    fit(tmp_path, run_config(tmp_path, "sft_dpo", method_changes=REPLAY, log_every=1), data=WITH_ROWS)
    with_rows = {line["stage"]: "train/nll_replay" in line for line in metrics(tmp_path)}
    assert with_rows == {"sft": False, "dpo": True}


def test_rows_become_items_like_the_others() -> None:
    renderer = Renderer(byte_level_tokenizer(), "chat")
    rows = [Row(f"r{k}", {"en": "a" * length}, {"en": "b"}) for k, length in enumerate((3, 500, 4, 5))]
    like = Item("x", ((1,), (2,), None), ((1, 0), (2, 0), (3, 0), (4, 0)))
    items = replay_items(rows, like, renderer, 100, 2)
    assert [item.id for item in items] == ["r0", "r2"] and all(item.replayed for item in items)
    assert items[0].prompts[1:] == (None, None) and items[0].responses[1:] == (None, None, None)
    with pytest.raises(UserError, match=r"no row of data\.replay fits model\.max_length=8"):
        replay_items(rows[1:2], like, renderer, 8, 2)


def test_a_run_replays_rows_of_a_file_and_goes_on(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    """A killed run ends with the weights of one that was not; a row that dev or test asks is not replayed."""
    from clo.data.cldr import cldr_rows

    asked = cldr_rows("test", ["en", "sw"])[0]
    rows = [{"prompt": f"What is {k}?", "response": f"It is {k} and no other."} for k in range(9)]
    rows.insert(2, {"prompt": asked.prompts["en"], "response": "It is one of those."})
    file = tmp_path / "english.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["method.anchor=replay", "method.anchor_share=0.5", f"data.replay.path={file}", "trainer.checkpoints=4"]
    assert (ended := warm.run(tiny(tiny_folder, tmp_path / "a", *words), tmp_path)).code == 0, ended.err
    step = {"at": "clo.training.module:CLOModule.training_step", "call": 6}
    assert warm.run(tiny(tiny_folder, tmp_path / "b", *words), tmp_path, kill=step).code == -signal.SIGKILL
    assert (ended := warm.run(tiny(tiny_folder, tmp_path / "b", *words), tmp_path)).code == 0, ended.err
    first, second = (next((tmp_path / name / "outputs" / "runs").iterdir()) for name in "ab")
    results = json.loads((first / "results.json").read_text())
    assert results["train"]["replayed_rows"] == 9 and results["assumed"]["anchor_share"] == 0.5
    assert "replay" in results["content"]["rows"] and "data.replay.path" in results["content"]["files"]
    one, two = (next((run / "model").glob("*.safetensors")).read_bytes() for run in (first, second))
    assert one == two
    file.write_text("{}\n")
    ended = warm.run(tiny(tiny_folder, tmp_path / "c", *words), tmp_path)
    assert ended.code == 1 and "name them with data.replay.prompt= and data.replay.response=" in ended.err


@pytest.mark.parametrize("fold", range(4))
def test_embedded_rows_are_away_from_training_and_tests(fold: int) -> None:
    from clo.data.cldr import cldr_rows, replay_rows

    def relation(row: Row) -> str:
        return row.id.split(".")[0]

    def fact(row: Row) -> str:
        return row.id.rpartition(".")[0]

    rows = replay_rows("en", fold)
    assert len(rows) > 800 and len({row.id for row in rows}) == len(rows)
    assert all([*row.prompts] == [*row.responses] == ["en"] for row in rows)
    trained = {relation(row) for row in cldr_rows("train", ["en", "sw"], fold)}
    asked = {fact(row) for split in ("dev", "test") for row in cldr_rows(split, ["en", "sw"], fold)}
    assert not {relation(row) for row in rows} & trained and not {fact(row) for row in rows} & asked
