"""Mixtures: so many rows of each task in each language, told apart down to the metrics."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from composed import run_of
from tiny_runs import random_items

import clo.study.mixture as mixture
from clo.config.choices import Cells, Prompts
from clo.config.mixture import MixtureConfig
from clo.config.parse import RunConfig
from clo.data.budgets import columns_of, one_language_each, rows_within
from clo.data.cldr import cldr_rows
from clo.data.items import Item
from clo.data.rows import Row
from clo.errors import UserError
from clo.square.objective import Objective, objective_terms
from clo.study.rows import Items, items_of, rows_of, trained_rows
from clo.study.rows import tested_rows as rows_asked
from clo.study.session import renderer_of
from clo.training.keep import kept_of

WORDS = ("mixture=guide_joint", "mixture.tasks=[facts,maths]", "method=sft", "model.max_length=64")
SMALL = ("mixture.source=6", "mixture.others=4", "evaluation.rows=5")
EXACT = "mixture.rows={maths: {ko: 3, sw: 0}}"


@pytest.fixture(autouse=True)
def two_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of two made-up tasks; one of them lacks a language in every second row."""

    def task_rows(run: RunConfig, task: str, split: str) -> list[Row]:
        rows = cldr_rows(split, run.lang.codes())
        own = rows[::2] if task == "facts" else rows[1::2]
        lacking = [c for c in run.lang.codes() if c != "ko"]
        thin = [row.only(lacking) if task == "maths" and k % 2 else row for k, row in enumerate(own)]
        return [replace(row, id=f"{task}.{row.id}", task=task, group=task) for row in thin]

    monkeypatch.setattr(mixture, "_task_rows", task_rows)


def made(*words: str) -> tuple[RunConfig, Items]:
    exact = [] if any(word.startswith("mixture.rows") for word in words) else [EXACT]
    run = run_of(*WORDS, *SMALL, *exact, *words)
    return run, items_of(run, renderer_of(run.model), rows_of(run))


def counted(run: RunConfig, items: Items) -> dict[tuple[str, str], int]:
    codes = run.lang.codes()
    return dict(Counter((item.task, codes[place]) for item in items.train for place in item.languages()))


def test_the_table_is_what_is_trained() -> None:
    run, items = made()
    wanted = {(task, code): n for task, own in run.table().items() for code, n in own.items() if n}
    assert wanted["maths", "ko"] == 3 and ("maths", "sw") not in wanted and wanted["facts", "en"] == 6
    assert counted(run, items) == wanted
    assert all(len(item.languages()) == 1 for item in items.train)  # one row each
    used = trained_rows(run, rows_of(run))
    assert Counter((row.task, code) for row in used for code in row.prompts) == wanted


def test_larger_columns_hold_smaller_ones() -> None:
    def ids(*words: str) -> dict[tuple[str, int], list[str]]:
        _run, items = made(*words)
        found: dict[tuple[str, int], list[str]] = {}
        for item in items.train:
            found.setdefault((item.task, item.languages()[0]), []).append(item.id)
        return found

    small, large = ids(), ids("mixture.others=9")
    assert all(large[column][: len(own)] == own for column, own in small.items())
    drawn = ids("data.resample=true", "seed=1")
    assert drawn["facts", 0] != small["facts", 0]
    more = ids("data.resample=true", "seed=1", "mixture.source=9")
    assert more["facts", 0][:6] == drawn["facts", 0]


def test_what_compares_has_squares_and_the_rest_by_itself() -> None:
    _, items = made("method=clo", "mixture.rows={facts: {en: 2}}")
    assert {len(item.languages()) for item in items.train} >= {1, 4}
    _, apart = made("method=clo", "mixture.rows={facts: {en: 2}}", "data.targets=apart")
    assert {len(item.languages()) for item in apart.train} == {1, 2}
    lone = [item for item in apart.train if item.languages() == [0]]
    assert lone and not any(item.languages() == [0] for item in items.train if item.task == "facts")


def test_rows_are_listed_by_id_and_hash(tmp_path: Path) -> None:
    run, items = made()
    rows = rows_of(run)
    digest = mixture.list_rows(tmp_path, run, rows.train, items.train)
    lines = list(csv.DictReader((tmp_path / mixture.LIST).open(encoding="utf-8")))
    assert len(lines) == len(items.train) and Counter((x["task"], x["lang"]) for x in lines) == counted(run, items)
    other = [replace(row, responses=row.responses | {"zh": "x"}) for row in rows.train]
    assert mixture.list_rows(tmp_path, run, other, items.train) != digest
    assert mixture.list_rows(tmp_path, run, rows.train, items.train[::-1]) == digest  # an order is no content


def test_every_task_is_asked_alike() -> None:
    run, items = made()
    asked = rows_asked(run, rows_of(run))
    told = Counter((row.task, code) for row in asked for code in row.prompts)
    assert told == {(task, code): 5 for task in ("facts", "maths") for code in run.lang.codes()}
    assert {item.task for item in items.val} == {"facts", "maths"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mixture.others=1000000"], "there are"),
        (["mixture.rows={maths: {ko: 100000}}"], "rows of maths in ko"),
        (["model.max_length=8"], "no item fits"),
        (["model.max_length=32", "mixture.others=900"], "fit model.max_length=32"),
        (["mixture.source=0", "mixture.others=0", "mixture.rows=null"], "holds no row"),
        (["mixture.tasks=[]"], "each once"),
        (["mixture.rows={sums: {en: 3}}"], "by task"),
        (["mixture.rows={maths: {en: -3}}"], "at least 0"),
        (["mixture.total=10"], "belong together"),
    ],
)
def test_what_cannot_be_mixed_is_said(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        made(*words)


def test_shares_fill_the_total() -> None:
    shares = {"facts": {"en": 3, "sw": 1}, "maths": {"en": 1}}
    table = MixtureConfig(name="m", tasks=["facts", "maths"], total=101, shares=shares).table(["en", "sw"])
    assert table == {"facts": {"en": 61, "sw": 20}, "maths": {"en": 20, "sw": 0}}


def test_columns_are_drawn_by_temperature() -> None:
    items = [replace(item, task=task) for item, task in zip(random_items(6), "aabbbb", strict=True)]
    singles = one_language_each(items[:1]) + items[1:]
    assert columns_of(singles) == [0, 2, 1, 3, 3, 3, 3]


def test_rows_within_sizes_of_every_language() -> None:
    kept, counts = rows_within(random_items(5, languages=3), [1, 0, 3])
    assert counts == [1, 0, 3] and [item.languages() for item in kept] == [[0, 2], [2], [2]]


@pytest.mark.parametrize("token_mean", [True, False])
def test_a_lone_source_row_counts_by_its_nll(token_mean: bool) -> None:
    """Against sums by hand: CLO has NLL on target answers, and on English ones that stand alone."""
    from clo.config.choices import NllReduction

    square, *_ = random_items(1)
    alone = one_language_each(random_items(2, seed=5))
    items: list[Item] = [square, *alone]  # whole, en, target, en, target
    unit = NllReduction.token_mean if token_mean else NllReduction.token_sum
    objective = Objective(2, Cells.target, Prompts.both, 1.0, 0.1, unit, lone=True)
    S = -torch.rand(5, 2, 2, dtype=torch.float64)
    for b, item in enumerate(items[1:], 1):  # absent cells hold 0
        S[b] *= torch.tensor([[float(item.languages() == [i] and i == j) for j in range(2)] for i in range(2)])
    terms = objective_terms(objective, S, torch.zeros_like(S), torch.ones_like(S), None, items)
    wanted = -(S[0, 1, 1] + S[1, 0, 0] + S[2, 1, 1] + S[3, 0, 0] + S[4, 1, 1])
    assert torch.isclose(terms.nll_sum, wanted)
    tokens = [len(ids) for ids in (square.response(1), *(item.response(item.languages()[0]) for item in alone))]
    assert objective.denominators(items)[0] == (sum(tokens) if token_mean else 5)
    assert objective.denominators(items)[1] == 2  # comparisons: the square's own
    assert not objective.parts()["pref"].lone and objective.parts()["nll"].lone


def test_a_mixture_keeps_its_own_lowest_nll() -> None:
    lines = [
        {"step": k, "val/nll_mixture": nll, "val/nll_en": 1.0, "val/nll_target": -k}
        for k, nll in enumerate([3, 2, 1, 2.5])
    ]
    kept = kept_of(lines, 0.02)
    assert kept.step == 2 and "of what is trained" in kept.rule
