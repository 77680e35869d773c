"""CLO against SFT at equal terms, and the verdicts on the paper's claims, on made-up runs."""

from __future__ import annotations

import csv
import io
import json
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from report_fixture import edit, write_lines, write_run

from clo.report.claim_results import ClaimResult, claim_results, to_csv, verdict_of
from clo.report.claim_tests import Effect
from clo.report.claims import CLAIMS, Claim
from clo.report.collect import Study, collect
from clo.report.equal import NONE, equal_rows
from clo.report.make import make_report

ATTENTION = {"tuning.name": "attention", "tuning.trains": "attention"}
FULL = {"tuning.name": "full", "tuning.trains": "full"}


def made(folder: Path, method: str, target: float, english: float = 0.95, **more: Any) -> None:
    """Three runs (``seeds``) of a method whose answers have this chrF and share of right English content, give or take.

    ``lang``, ``size``, ``steps``, ``changes``, ``memory`` and ``tier`` are what they say.
    """
    lang, size, changes = more.get("lang", "sw"), more.get("size", 400), more.get("changes", ATTENTION)
    tier = {"sw": "low", "ko": "medium"}[lang]
    for seed in range(more.get("seeds", 3)):
        path = write_run(
            folder, lang, method, size, seed, {**changes, "lang.tier": tier}, zlib.crc32(str(more).encode())
        )
        chance = random.Random(f"{lang} {method} {size} {seed} {changes}")
        lines: list[dict[str, Any]] = []
        for k in range(80):
            chrf = target + random.Random(k).gauss(0, 5) + chance.gauss(0, 1)
            lines.append({"id": f"p{k}", "side": "target", "chrf": chrf, "verdict": "target"})
            lines.append({"id": f"p{k}", "side": "en", "chrf": 90.0, "verdict": "en", "content": k < 80 * english})
        write_lines(path / "samples.jsonl", lines)
        write_lines(path / "start_samples.jsonl", [{**line, "content": int(line["id"][1:]) < 76} for line in lines])
        results = json.loads((path / "results.json").read_text())
        train = results["train"] | {"steps": more.get("steps", 70)}
        train |= {"peak_memory_gb": more["memory"] + 0.001 * seed} if "memory" in more else {}
        edit(path / "results.json", train=train)


def verdicts(study: Study) -> dict[str, ClaimResult]:
    return {one.claim.words: one for one in claim_results(study)}


def one(found: dict[str, ClaimResult], words: str) -> ClaimResult:
    (told,) = (tested for claim, tested in found.items() if words in claim)
    return told


def test_equal_terms_come_first_and_take_the_rival_of_equal_weights_and_steps(tmp_path: Path) -> None:
    """SFT on all weights is better here, SFT for more steps too: neither stands beside CLO."""
    made(tmp_path / "s", "clo", 60)
    made(tmp_path / "s", "sft", 50, 0.9)
    made(tmp_path / "s", "sft", 90, changes=FULL)
    made(tmp_path / "s", "sft", 80, steps=140, changes={**ATTENTION, "method.steps": 140})
    (row,) = equal_rows(collect("s", tmp_path))
    assert (row.label, row.against) == ("CLO (steps by epochs), attention", "SFT (steps by epochs), attention")
    assert (row.lang, row.size, row.steps, row.seeds) == ("sw", 400, 70, 3)
    chrf, right, english = row.cells.values()
    assert list(row.cells) == ["target chrF", "target right language (%)", "English content (%)"]
    assert chrf.gap == pytest.approx(10, abs=0.6) and chrf.low <= chrf.gap <= chrf.high and chrf.p < 0.05
    assert (right.gap, english.gap) == (0.0, pytest.approx(5.0))
    page = make_report("s", tmp_path).read_text(encoding="utf-8")
    first = page.index('<section id="')
    assert page[first:].startswith('<section id="equal"><h2>CLO against SFT on the same weights, items and steps')
    text = (tmp_path / "s" / "report" / "table.md").read_text(encoding="utf-8")
    assert text.index("## CLO against SFT") < text.index("## All runs") < text.index("## The paper's claims")
    (line, *_) = csv.DictReader((tmp_path / "s" / "report" / "equal.csv").read_text(encoding="utf-8").splitlines())
    assert float(line["difference"]) == chrf.gap and line["against"] == row.against


def test_without_such_a_rival_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path / "s", "clo", 60, seeds=1)
    made(tmp_path / "s", "sft", 50, seeds=1, changes=FULL)
    assert equal_rows(collect("s", tmp_path)) == []
    page = make_report("s", tmp_path).read_text(encoding="utf-8")
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(NONE) and "tuning=attention" in page and not (tmp_path / "s/report/equal.csv").exists()


def test_verdicts_by_hand(tmp_path: Path) -> None:
    """Two languages: CLO ahead of SFT in both, of SFT+DPO in one, English kept within 2 points in neither."""
    for lang, dpo in (("sw", 70), ("ko", 50)):
        made(tmp_path / "s", "clo", 60, 0.85, lang=lang, memory=7.0)
        made(tmp_path / "s", "sft", 55, 0.95, lang=lang)
        made(tmp_path / "s", "sft_dpo", dpo, lang=lang, changes=FULL, memory=10.0)
        made(tmp_path / "s", "clo", 60.1, lang=lang, changes=FULL)
        made(tmp_path / "s", "sft_target", 40, lang=lang)
    study = collect("s", tmp_path)
    found = verdicts(study)
    better = one(found, "better than SFT in the target")
    assert (better.verdict, [e.lang for e in better.effects], better.arm) == ("held", ["ko", "sw"], "CLO, attention")
    assert all(e.gap == pytest.approx(5, abs=0.6) and e.seeds == 3 and e.what == "400 items" for e in better.effects)
    dpo_told = one(found, "better than SFT+DPO")
    assert dpo_told.verdict == "did not hold" and "weights differ (all weights)" in dpo_told.effects[0].what
    assert one(found, "start model's English").verdict == "did not hold"
    assert one(found, "as much English as SFT").verdict == "did not hold"
    assert one(found, "target's NLL alone").verdict == "held"
    assert one(found, "as good as all weights").verdict == "held"
    assert [e.lang for e in one(found, "as good as all weights").effects] == ["ko"]
    assert one(found, "All weights are better").verdict in ("undecided", "did not hold")
    memory = one(found, "less memory")
    assert memory.verdict == "held" and memory.effects[0].gap == pytest.approx(-30, abs=0.1)
    assert (one(found, "twice the items").verdict, one(found, "twice the items").reason) == (
        "not tested", "no size with its double"
    )  # fmt: skip
    assert one(found, "gains more").reason == "one size alone"
    lines = list(csv.DictReader(io.StringIO(to_csv(claim_results(study)))))
    assert {line["claim"] for line in lines} == {claim.words for claim in CLAIMS}
    assert float(lines[0]["difference"]) == better.effects[0].gap and lines[0]["paper"] == CLAIMS[0].paper


@pytest.mark.parametrize("equal", [True, False])
def test_half_the_data_takes_equal_steps(tmp_path: Path, equal: bool) -> None:
    """By construction: where more items mean more steps, neither data claim can be tested."""
    for size in (100, 200):
        made(tmp_path / "s", "clo", 60, size=size, steps=70 if equal else size)
        made(tmp_path / "s", "sft", 40 + size / 20, size=size, steps=70 if equal else size)
    found = verdicts(collect("s", tmp_path))
    half, more = one(found, "twice the items"), one(found, "gains more")
    if equal:
        assert (half.verdict, more.verdict) == ("held", "held")
        assert half.effects[0].gap == pytest.approx(10, abs=0.6) and half.effects[0].what == "100 against 200 items"
        assert more.effects[0].gap == pytest.approx(5, abs=0.8)
    else:
        assert (half.verdict, half.reason) == ("not tested", "steps differ by size (100 against 200)")
        assert (more.verdict, more.reason) == ("not tested", "steps differ by size or method (100 and 200)")


def test_a_study_without_clo_tests_nothing(tmp_path: Path) -> None:
    made(tmp_path / "s", "sft", 50, lang="ko", seeds=1)
    assert {(t.verdict, t.reason) for t in claim_results(collect("s", tmp_path))} == {("not tested", "no run of CLO")}
    made(tmp_path / "s", "clo", 60, lang="ko", seeds=1)
    found = verdicts(collect("s", tmp_path))
    assert one(found, "twice the items").reason == "no language of low resource"
    told = one(found, "better than SFT in the target")
    assert (told.verdict, told.reason, told.effects[0].seeds) == ("undecided", "one seed", 1)


def test_two_seeds_decide_nothing(tmp_path: Path) -> None:
    """Two that happen to agree have as narrow an interval as one likes; it has a dagger, and three decide."""
    for method, target in (("clo", 60), ("sft", 50)):
        made(tmp_path / "s", method, target, lang="ko", seeds=2)
    told = one(verdicts(collect("s", tmp_path)), "better than SFT in the target")
    assert (told.verdict, told.reason) == ("undecided", "2 seeds") and told.effects[0].low > 0
    assert str(told.effects[0]).endswith("\N{DAGGER})")
    for method, target in (("clo", 60), ("sft", 50)):
        made(tmp_path / "s", method, target, lang="ko", seeds=3)
    told = one(verdicts(collect("s", tmp_path)), "better than SFT in the target")
    assert told.verdict == "held" and "\N{DAGGER}" not in str(told.effects[0])


def test_every_variant_of_clo_is_an_arm_of_its_own_and_the_papers_lambda_counts(tmp_path: Path) -> None:
    """λ .9 stands aside where there is λ .5; two units of the NLL are two arms."""
    made(tmp_path / "s", "sft", 50)
    for lam, unit in ((0.5, "token_mean"), (0.5, "token_sum"), (0.9, "token_mean")):
        made(tmp_path / "s", "clo", 60, changes={**ATTENTION, "method.lam": lam, "method.nll_reduction": unit})
    arms = dict.fromkeys(told.arm for told in claim_results(collect("s", tmp_path)))
    assert list(arms) == ["CLO (λ .5, NLL per answer)", "CLO (λ .5, NLL per token)"]


@pytest.mark.parametrize(
    ("bounds", "intervals", "verdict"),
    [
        ((0, 9), [(1, 2), (0.1, 5)], "held"),
        ((0, 9), [(1, 2), (-0.1, 5)], "undecided"),
        ((0, 9), [(1, 2), (-5, -0.1)], "did not hold"),
        ((0, 9), [(-1, 2)], "undecided"),
        ((-2, 2), [(-1.9, 1.9)], "held"),
        ((-2, 2), [(-2.1, 1.9)], "undecided"),
        ((-2, 2), [(2.1, 4)], "did not hold"),
    ],
)
def test_the_rule(bounds: tuple[float, float], intervals: list[tuple[float, float]], verdict: str) -> None:
    claim = Claim("c", "against", "", low=bounds[0], high=bounds[1])
    effects = [Effect("m", "sw", "", (low + high) / 2, low, high, 3) for low, high in intervals]
    assert verdict_of(claim, effects)[0] == verdict


def test_every_claim_says_where_its_numbers_are_from() -> None:
    """A mark, or that there are none; no test without a name, and no two sentences alike."""
    assert all("[V]" in claim.paper or "[S]" in claim.paper or "no number" in claim.paper for claim in CLAIMS)
    assert len({claim.words for claim in CLAIMS}) == len(CLAIMS) and all(claim.claimed for claim in CLAIMS)


def test_right_objects_count_first_where_the_data_have_them(tmp_path: Path) -> None:
    """chrF rewards the wording of a wrong answer; where right objects are known, arms are compared by those."""
    for method, wrong, chrf in (("sft", 20, 90.0), ("clo", 40, 95.0)):
        made(tmp_path / "s", method, chrf)
        for path in (tmp_path / "s").glob(f"*{method}*"):
            lines = [json.loads(line) for line in (path / "samples.jsonl").read_text().splitlines()]
            for line in lines:
                if line["side"] == "target":
                    place = int(line["id"][1:])
                    line |= {"content": None} if place >= 70 else {"content": place >= wrong // 2}
                    line |= {"verdict": "en"} if wrong // 2 <= place < wrong else {}
            write_lines(path / "samples.jsonl", lines)
            scores = json.loads((path / "results.json").read_text())["scores"]
            scores["target"]["all"]["right"] = (70 - wrong) / 70
            edit(path / "results.json", scores=scores)
    (row,) = equal_rows(collect("s", tmp_path))
    gap = row.cells["target right (%)"].gap
    assert gap == pytest.approx(100 * (30 - 50) / 70)
