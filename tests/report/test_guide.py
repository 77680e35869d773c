"""A study of mixtures whose truth is planted: what the report must find in it, and what it must leave open."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from guide_fixture import (
    AMOUNTS,
    GAP,
    JOINT,
    JOINT_COST,
    MODELS,
    SCRIPT,
    SCRIPTS,
    SMALL,
    TASKS,
    Grid,
    Mixture,
    guide_of,
    level,
    write_guide,
)

from clo.report.claim_results import ClaimResult
from clo.report.collect import collect
from clo.report.guide.claims import GUIDE_CLAIMS
from clo.report.guide.curves import level_text
from clo.report.guide.find import Guide
from clo.report.guide.joint import BOTH, ROWS, STEPS
from clo.report.guide.runs import Arm, read_mixtures
from clo.report.guide.variance import PAIRS, REST


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Guide:
    """Three sizes, every task alone and all together, and Latin rows alone; two seeds that hardly differ."""
    grid = Grid(seeds=2, prompts=10, noise=0.002)
    grid = replace(grid, mixtures=(*grid.mixtures, *(one for one in SCRIPTS if one.name == "latin_only")))
    return guide_of(write_guide(tmp_path_factory.mktemp("planted") / "guide", grid))


def arm(model: str, task: str, name: str = "guide_single") -> Arm:
    return Arm(model, "sft", name, (task,))


def test_curves_are_the_planted_ones(planted: Guide) -> None:
    """Every mean of every curve: by language, those that train (also at no rows), those that never do, and English."""
    assert planted.mixtures.models == list(MODELS) and planted.mixtures.left_out == []
    curves = {(c.arm, c.task, c.group): c for c in planted.curves}
    assert len(curves) == 3 * (3 + 3 + 3) * 3
    for model in MODELS:
        for task in TASKS:
            for group, langs in (("seen", ["de", "sw", "zh"]), ("unseen", ["id", "ko", "yo"]), ("source", ["en"])):
                one = curves[arm(model, task), task, group]
                assert (one.langs, one.amounts, one.seeds) == (langs, list(AMOUNTS), [2] * 5)
                assert one.start == pytest.approx(5.0, abs=1e-9)
                for amount, point in zip(one.amounts, one.points, strict=True):
                    true = sum(level(model, Mixture(tasks=(task,)), task, lang, amount) for lang in langs) / len(langs)
                    assert point.value == pytest.approx(true, abs=0.02)
                    assert point.low is not None and point.low < point.value < (point.high or 0)


def test_points_of_95_percent_are_the_planted_ones(planted: Guide) -> None:
    """Maths from 20 to 40 over log2(rows + 1), flat from 400 on: 38 at nine tenths of the way; words flat at once."""
    curves = {(c.arm, c.task, c.group): c for c in planted.curves}
    maths = curves[arm("tasks_s", "maths"), "maths", "seen"]
    assert maths.level.rows.value == pytest.approx(401**0.9 - 1, rel=0.02) and maths.level.state == "reached"
    english = curves[arm("tasks_s", "facts"), "facts", "source"]
    assert english.level.rows.value == pytest.approx(26 ** ((47.5 - 30) / 20) - 1, rel=0.02)
    large = curves[arm("tasks_l", "facts"), "facts", "seen"]
    assert level_text(large).startswith("0 (0 to ") and level_text(large).endswith("at the first point")


def test_gaps_are_the_planted_ones(planted: Guide) -> None:
    """Constant at every size but the largest, where the unseen fall by as much as the seen rise: 1 point in all."""
    gaps = {(gap.arm, gap.task): gap for gap in planted.gaps}
    for model in ("tasks_s", "tasks_m"):
        gap = gaps[arm(model, "maths"), "maths"]
        assert [point.value for point in gap.points] == pytest.approx([GAP[model]] * 5, abs=0.02)
        assert gap.change is not None and gap.change.value == pytest.approx(0, abs=0.03)
        assert gap.slope is not None and gap.slope.value == pytest.approx(0, abs=0.01)
        assert gap.correlation.value > 0.999
    large = gaps[arm("tasks_l", "maths"), "maths"]
    fall = 2 * 0.5 * (1 - math.log2(26) / math.log2(401))
    assert large.change is not None and large.change.value == pytest.approx(fall, abs=0.03)
    assert large.correlation.value < -0.99
    facts = gaps[arm("tasks_l", "facts"), "facts"]
    assert facts.points[-1].value - facts.points[0].value == pytest.approx(1.0, abs=0.1)


def test_single_against_joint_at_equal_rows_and_steps(planted: Guide) -> None:
    """At equal rows maths loses 8 % at the smallest size, nothing else does; at equal steps the task alone has more."""
    for pair in planted.pairs:
        if pair.basis == ROWS:
            alone = level(pair.single.model, Mixture(tasks=(pair.task,)), pair.task, "de", pair.joint_amount)
            true = -JOINT_COST * alone if (pair.single.model, pair.task) == ("tasks_s", "maths") else 0.0
            if pair.group == "seen":
                assert pair.gap.interval.value == pytest.approx(true, abs=0.6 if true else 0.02)
            assert pair.single_amount == pair.joint_amount and pair.steps[1] == pytest.approx(
                3 * (pair.steps[0] or 0), abs=3
            )
    steps = [
        pair for pair in planted.pairs if pair.basis == STEPS and pair.task == "summaries" and pair.group == "seen"
    ]
    none = next(pair for pair in steps if pair.single.model == "tasks_s" and pair.joint_amount == 0)
    assert none.steps == (75.0, 75.0) and 100 < none.single_amount < 400, "1,200 rows alone: between 100 and 400 each"
    assert none.gap.interval.value == pytest.approx(-22.0, abs=0.1), "20, and 6 for one of three languages"
    assert {pair.joint_amount for pair in steps} == {0, 25, 100, 400}, "no run alone has the steps of 1,600 rows each"
    assert len([pair for pair in planted.pairs if pair.basis == ROWS]) == 3 * 3 * 2 * 5


def test_shares_of_the_variance(planted: Guide) -> None:
    """They sum to 100, the seed explains nothing, and the size of the model all that there is of the gap."""
    by = {one.outcome: one for one in planted.explained}
    assert set(by) == {"score", "transfer", "gap"}
    for one in by.values():
        assert sum(share.value for share in one.shares.values()) == pytest.approx(100)
        assert set(one.shares) == {"task", "model", "mixture", "rows", "seed", PAIRS, REST}
        assert one.shares["seed"].value < 0.01 and one.results == 3 * 9 * 5 * 2
    assert by["gap"].shares["model"].value > 80
    assert by["transfer"].shares["model"].value > by["transfer"].shares["task"].value > 5


def verdicts(found: Sequence[ClaimResult]) -> dict[str, ClaimResult]:
    return {one.claim.test: one for one in found}


def test_the_planted_sentences_have_their_verdicts(planted: Guide) -> None:
    found = verdicts(planted.claims)
    told = {test: one.verdict for test, one in found.items()}
    assert told == {
        "peaks": "held", "flat_words": "held", "flat_large": "held", "gap_stays": "held", "gap_shrinks": "held",
        "together": "held", "less_together": "held", "joint": "held", "script_words": "held", "script_maths": "held",
        "variables": "held", "english": "held",
    }  # fmt: skip
    assert [effect.lang for effect in found["peaks"].effects] == ["facts", "summaries"] * 2
    (joint,) = found["joint"].effects
    assert (joint.model, joint.gap) == ("tasks_s", pytest.approx(-8, abs=0.1)) and str(joint).endswith("%)") is False
    assert str(joint).startswith("tasks_s maths \N{MINUS SIGN}8.0 % (")
    maths, words = (found[f"script_{which}"].effects[0] for which in ("maths", "words"))
    assert maths.what == "1,600 rows, latin_only (3,600 rows in all) less guide_single (5,200 rows in all), in ko, yo"
    assert words.what.endswith("in ko") and (maths.gap, words.gap) == pytest.approx((SCRIPT / 2, SCRIPT), abs=0.02)
    assert found["less_together"].effects[0].gap == pytest.approx(-2, abs=0.02)


def test_what_the_runs_lack_is_said(tmp_path: Path) -> None:
    """One task at one size: hardly anything is tested, each with its reason; one seed decides nothing."""
    found = verdicts(guide_of(write_guide(tmp_path / "s", SMALL)).claims)
    reasons = {test: one.reason for test, one in found.items() if one.verdict == "not tested"}
    assert reasons["peaks"] == "no run of tasks_s trains maths alone"
    assert reasons["flat_words"] == "no runs at 400 rows and above"
    assert reasons["gap_shrinks"] == reasons["english"] == "one size of model alone"
    assert reasons["script_words"] == "no run of tasks_s trains facts with rows in Latin script alone"
    assert reasons["variables"] == "runs with unseen languages do not differ in task and model"
    assert reasons["joint"] == "no run trains the tasks that it speaks of"
    assert found["gap_stays"].verdict == "held"
    alone = verdicts(guide_of(write_guide(tmp_path / "one", replace(SMALL, seeds=1))).claims)
    assert (alone["gap_stays"].verdict, alone["gap_stays"].reason) == ("undecided", "one seed")


def test_the_opposite_truth_has_the_opposite_verdicts(tmp_path: Path) -> None:
    """A gap that opens with rows; English answers that others do not follow."""
    grid = replace(SMALL, amounts=(0, 100, 400), seeds=3)
    folder = write_guide(tmp_path / "s", grid)
    for path in folder.glob("*-400-*/tasks.csv"):
        lines = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
        for line in lines[1:]:
            line[4] = str(float(line[4]) + 0.2 * (line[2] in ("zh", "de", "sw")))
        path.write_text("\n".join(",".join(f'"{cell}"' for cell in line) for line in lines), encoding="utf-8")
    found = verdicts(guide_of(folder).claims)
    (stays,) = found["gap_stays"].effects
    assert found["gap_stays"].verdict == "did not hold" and stays.gap == pytest.approx(20, abs=1)


def test_every_sentence_has_a_test_a_mark_and_a_bound() -> None:
    assert len({claim.test for claim in GUIDE_CLAIMS}) == len(GUIDE_CLAIMS) == 12
    assert all(("[S]" in claim.paper) != ("[V]" in claim.paper) and claim.claimed for claim in GUIDE_CLAIMS)


def test_missing_cells_leave_the_rest(tmp_path: Path) -> None:
    """A seed that lacks an amount, and an amount that lacks a language's answers: means over what there is."""
    folder = write_guide(tmp_path / "s", replace(SMALL, noise=0.0))
    lost = next(folder.glob("*-25-s1-*"))
    (lost / "status.json").write_text(json.dumps({"state": "failed", "error": "x"}))
    guide = guide_of(folder)
    seen = next(c for c in guide.curves if c.group == "seen")
    assert seen.seeds == [2, 1, 2]
    true = [level("tasks_s", Mixture(), "facts", "de", amount) for amount in seen.amounts]
    assert [p.value for p in seen.points] == pytest.approx(
        [t + (2 if a else 0) for t, a in zip(true, seen.amounts, strict=True)]
    )


def test_runs_that_differ_otherwise_are_never_pooled(tmp_path: Path) -> None:
    """The same cell and seed at two rates: two methods, told by the rate; seeds stay two."""
    folder = write_guide(tmp_path / "s", SMALL)
    for path in write_guide(tmp_path / "t", SMALL).iterdir():
        config = yaml.safe_load((path / "config.yaml").read_text())
        config["method"]["lr"] = 0.01
        (path / "config.yaml").write_text(yaml.safe_dump(config))
        path.rename(folder / f"other-{path.name}")
    guide = guide_of(folder)
    assert guide.mixtures.methods == ["sft (method.lr=0.001)", "sft (method.lr=0.01)"]
    assert all(curve.seeds == [2, 2, 2] for curve in guide.curves)


def test_mixtures_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Other languages, other English, other steps, counts of their own: mixtures by themselves, at no rows too."""
    grid = replace(SMALL, amounts=(0, 25), seeds=1)
    folder = write_guide(tmp_path / "s", grid)

    def more(place: str, change: Any, seen: tuple[str, ...] = ("zh", "de", "sw")) -> None:
        for path in write_guide(tmp_path / place, replace(grid, mixtures=(Mixture(seen=seen),))).iterdir():
            config, results = (
                yaml.safe_load((path / "config.yaml").read_text()),
                json.loads((path / "results.json").read_text()),
            )
            change(config, results)
            (path / "config.yaml").write_text(yaml.safe_dump(config))
            (path / "results.json").write_text(json.dumps(results))
            path.rename(folder / f"{place}-{path.name}")

    def english(config: Any, results: Any) -> None:
        results["mixture"]["rows"]["facts"]["en"] = 100

    def given(config: Any, results: Any) -> None:
        results["mixture"]["rows"]["facts"]["sw"] = 77

    more("latin", lambda config, results: None, ("de", "id"))
    more("english", english)
    more("steps", lambda config, results: config["method"].update(steps=360))
    more("given", given)
    mixtures = read_mixtures(collect("s", tmp_path))
    assert mixtures.methods == ["sft"] and len(mixtures.runs) == 10
    plain = "guide_single, de sw zh, 400 rows of en, steps by epochs"
    names = {run.name for run in mixtures.runs}
    assert {
        plain,
        plain.replace("de sw zh", "de id"),
        plain.replace("400", "100"),
        plain.replace("steps by epochs", "360 steps"),
    } <= names
    assert f"{plain}, facts: en 400, zh de 25 each, sw 77" in names
    assert mixtures.seen(Arm("tasks_s", "sft", plain.replace("de sw zh", "de id"), ("facts",)), "facts") == ["de", "id"]


def test_equal_steps_are_told_from_equal_passes(tmp_path: Path) -> None:
    """The same rows for as many steps, and for three times as many: two comparisons; the sentence takes the latter."""
    grid = Grid(("tasks_s",), (Mixture(tasks=("maths",)), JOINT), (0, 400), 3, prompts=8, noise=0.01)
    folder = write_guide(tmp_path / "s", grid)
    for place, steps in (("s", 120), ("t", 360)):
        where = write_guide(tmp_path / place, replace(grid, mixtures=(JOINT,))) if place == "t" else folder
        for path in where.iterdir():
            config, results = (
                yaml.safe_load((path / "config.yaml").read_text()),
                json.loads((path / "results.json").read_text()),
            )
            config["method"]["steps"] = results["train"]["steps"] = steps
            (path / "config.yaml").write_text(yaml.safe_dump(config))
            (path / "results.json").write_text(json.dumps(results))
            if place == "t":
                path.rename(folder / f"long-{path.name}")
    guide = guide_of(folder)
    own = [pair for pair in guide.pairs if pair.group == "seen"]
    assert {(pair.basis, pair.steps, pair.joint_amount) for pair in own} == {
        (BOTH, (120, 120), 0), (BOTH, (120, 120), 400), (ROWS, (120, 360), 0), (ROWS, (120, 360), 400)
    }  # fmt: skip
    (effect,) = verdicts(guide.claims)["joint"].effects
    assert effect.what == "400 rows, 360 against 120 steps" and effect.gap == pytest.approx(-8, abs=0.1)
