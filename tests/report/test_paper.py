"""The papers' numbers: as data, beside ours cell by cell, and as gains."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from report_extras import add_verdicts, summary_of
from report_fixture import edit, write_lines, write_run

from clo.errors import UserError
from clo.report.benchmarks import collect_benchmarks
from clo.report.claim_tests import benches_of
from clo.report.claims import CLAIMS, Claim
from clo.report.collect import Study, collect
from clo.report.judged import collect_verdicts
from clo.report.paper import PaperValue, read_paper, the_paper
from clo.report.paper_cells import Cell, paper_cells
from clo.report.paper_gains import QUESTIONS, GainRow, gain_rows, paper_gains
from clo.report.paper_lines import cells_csv, counted, gain_lines, gains_csv, there

TREE = yaml.safe_load((ROOT / "clo" / "report" / "paper.yaml").read_text(encoding="utf-8"))


def value(**wanted: object) -> PaperValue:
    (found,) = (v for v in the_paper().values if all(getattr(v, key) == told for key, told in wanted.items()))
    return found


def test_the_numbers_are_those_of_the_papers() -> None:
    """Spot checks of every kind, and how sure they are."""
    gain = value(measure="win_rate", gain=True, model="mistral_7b", lang="yo")
    assert (gain.value, gain.confidence, gain.against, gain.size) == (0.2, "secondary", "sft_dpo", 6400)
    told = value(measure="mmmlu", model="llama3_8b", lang="sw", method="clo", size=6400)
    assert (told.value, told.confidence) == (33.38, "secondary")
    again = value(measure="win_rate", model="llama3_8b", lang="bn", method="clo", side="target")
    assert (again.value, again.confidence, again.source.judge) == (33.29, "verified", "gpt-5-chat")
    assert not value(measure="win_rate", model="qwen2_5_3b", lang="sw", method="clo", gain=False).sure
    assert {v.source.arxiv for v in the_paper().values} == {"2505.14297", "2608.23149"}
    assert all(v.confidence == "verified" for v in the_paper().values if v.source.key == "re-run")
    assert sum(v.gain and v.measure == "win_rate" for v in the_paper().values) == 30


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.words)
def test_the_claims_quote_the_same_numbers(claim: Claim) -> None:
    """What a claim says of the paper stands in the data, or in a note of it."""
    known = [v.value for v in the_paper().values]
    known += [float(number) for v in the_paper().values for number in re.findall(r"\d+\.\d", v.note)]
    for number in re.findall(r"\d+\.\d", claim.paper.replace("2.5-3B", "")):
        assert any(abs(float(number) - one) < 0.0501 for one in known), number


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"confidence": "sure"}, "confidence is 'sure', expected one of verified, secondary, doubtful"),
        ({"measure": "bleu"}, "measure is 'bleu'"),
        ({"against": "dpo"}, "against is 'dpo'"),
        ({"against": ""}, "a win rate or a gain is against something"),
        ({"certain": True}, "has certain, which nothing reads"),
        ({"values": {"gpt2": {"zh": 1.0}}}, "model 'gpt2' is not among"),
        ({"values": {"llama3_8b": {"zh": "11"}}}, "llama3_8b, zh is '11'"),
        ({"values": {"llama3_8b": {"zh": 1130}}}, "expected a number of -100 to 100"),
        ({"side": None}, "side is None"),
    ],
)
def test_a_file_that_is_wrong_is_refused(change: dict[str, Any], words: str) -> None:
    tree = copy.deepcopy(TREE)
    tree["tables"][0] |= change
    with pytest.raises(UserError, match=r"paper\.yaml: AlpacaEval, gain of CLO over SFT\+DPO") as told:
        read_paper(tree, "paper.yaml")
    assert words in str(told.value)


def test_a_cell_comes_once() -> None:
    tree = copy.deepcopy(TREE)
    tree["tables"].append(tree["tables"][0])
    with pytest.raises(UserError, match="has a cell that"):
        read_paper(tree, "paper.yaml")
    del tree["models"]
    with pytest.raises(UserError, match="expected the keys sources, models and tables"):
        read_paper(tree, "paper.yaml")


def like(folder: Path, method: str, right: list[int], size: int = 6400, **more: Any) -> list[Path]:
    """Runs of Llama-3-8B on OpenAssistant's rows, one per entry, with so many of 100 rows of MMMLU right."""
    source = {"dataset": "OpenAssistant/oasst2"} | more.get("source", {})
    config = {"data.source": source, "data.translation": {"model": more.get("translator", "facebook/m2m100_1.2B")}}
    paths = []
    for seed, count in enumerate(right):
        path = write_run(folder, more.get("lang", "sw"), method, size, seed, config)
        rows = [k < count for k in range(100)]
        scores = {"mmmlu": {"target": {"letters": summary_of("letters", "Q", rows)}}}
        asked = {"scores": scores, "start": {}, "left_out": {}}
        edit(path / "results.json", model="llama3_8b", data=more.get("data", "oasst"), benchmarks=asked)
        paths.append(path)
    return paths


def cells_of(study: Study) -> list[Cell]:
    return there(paper_cells(study, collect_benchmarks(study, "sft"), collect_verdicts(study)[0], the_paper()))


def mmmlu(study: Study, source: str = "paper") -> dict[str, Cell]:
    found = [c for c in cells_of(study) if c.paper.measure == "mmmlu" and c.paper.source.key == source]
    return {cell.paper.method: cell for cell in found}


@pytest.mark.parametrize(
    ("right", "verdict"),
    [
        ([32, 34, 33], "agrees"),
        ([40, 41, 42], "higher"),
        ([20, 21, 22], "lower"),
        ([20, 40, 33], "agrees"),
        ([40, 42], "undecided (2 seeds)"),
        ([34], "agrees (one seed)"),
        ([60], "higher (one seed)"),
    ],
)
def test_the_verdict_of_a_cell_is_where_its_interval_lies(tmp_path: Path, right: list[int], verdict: str) -> None:
    """The paper has 33.38 for CLO in Swahili."""
    like(tmp_path / "s", "clo", right)
    cell = mmmlu(collect("s", tmp_path))["clo"]
    assert (cell.verdict, cell.paper.value, cell.seeds, cell.why) == (verdict, 33.38, len(right), "")
    assert cell.ours == pytest.approx(sum(right) / len(right)) and len(cell.runs) == len(right) and not cell.nearest


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"size": 3200}, "nearest: 3,200 items for 6,400"),
        ({"data": "files"}, "other rows (files)"),
        ({"source": {"dataset": "yahma/alpaca"}}, "other rows (oasst)"),
        ({"translator": "gpt-4o"}, "translated by gpt-4o, the paper's by facebook/m2m100_1.2B"),
    ],
)
def test_what_is_known_to_differ_is_named_and_gets_no_verdict(tmp_path: Path, more: dict[str, Any], why: str) -> None:
    like(tmp_path / "s", "clo", [33, 34, 35], **more)
    cell = mmmlu(collect("s", tmp_path))["clo"]
    assert (cell.verdict, cell.why, cell.nearest) == ("not comparable", why, "nearest" in why)
    assert cell.ours is not None and "not comparable" in cells_csv([cell])


def test_the_same_size_is_taken_where_there_is_one_and_other_models_have_no_cell(tmp_path: Path) -> None:
    for size in (3200, 6400):
        like(tmp_path / "s", "clo", [33, 34, 35], size)
    like(tmp_path / "s", "sft", [28, 29, 30], lang="ko")
    study = collect("s", tmp_path)
    found = mmmlu(study)
    assert (found["clo"].size, found["sft"].size, found["sft"].paper.lang) == (6400, 6400, "ko")
    assert {cell.size for cell in mmmlu(study, "re-run").values()} == {3200}, "2,700 is nearer to it"
    every = paper_cells(study, collect_benchmarks(study, "sft"), [], the_paper())
    lines = list(csv.DictReader(io.StringIO(cells_csv(every))))
    assert {line["verdict"] for line in lines} == {"agrees", "higher", "not comparable", "no such cell"}
    assert len(lines) >= len(the_paper().values) and counted(every).startswith(f"Of {len(the_paper().values)} numbers")
    for path in (tmp_path / "s").iterdir():
        edit(path / "results.json", model="nano")
    assert cells_of(collect("s", tmp_path)) == []


def judged(path: Path, against: Path, rate: float, judge: str, answers: str = "alpaca_sw") -> None:
    file = add_verdicts(path, against, win_rate=rate, interval=[rate - 0.04, rate + 0.04])
    told = json.loads(file.read_text(encoding="utf-8"))
    told["judge"]["model"] = judge
    file.with_name(f"{file.stem}-{answers}.json" if answers else file.name).write_text(json.dumps(told))
    if answers:
        file.unlink()


def test_win_rates_want_the_papers_judge_and_prompts(tmp_path: Path) -> None:
    """The re-run names its judge, the paper does not; of the re-run CLO has 44.93 in Swahili."""
    uf = {"source": {"dataset": "HuggingFaceH4/ultrafeedback_binarized"}, "translator": "gpt-5-chat", "data": "table"}
    (clo,), (sft,) = (like(tmp_path / "s", method, [30], 2700, **uf) for method in ("clo", "sft"))
    for judge, answers, verdict, why in (
        ("gpt-5-chat", "alpaca_sw", "agrees (one seed)", ""),
        ("gpt-5-chat", "", "not comparable", "test prompts, not AlpacaEval's"),
        ("llama", "alpaca_sw", "not comparable", "judge llama, the paper gpt-5-chat"),
    ):
        judged(clo, sft, 0.45, judge, answers)
        rates = [c for c in cells_of(collect("s", tmp_path)) if c.paper.measure == "win_rate"]
        assert {c.paper.side for c in rates} == {"target"}, "of English there is no rate"
        (again,) = (c for c in rates if c.paper.source.key == "re-run")
        assert (again.verdict, again.why, again.ours) == (verdict, why, pytest.approx(45))
        assert all("judge is not known" in c.why for c in rates if c.paper.source.key == "paper")
        for file in clo.glob("judge-*"):
            file.unlink()


def test_a_gain_is_the_difference_of_two_win_rates(tmp_path: Path) -> None:
    """Against the same SFT run, seed by seed; the paper's judge is not known, so there is no verdict."""
    for method, rates in (("clo", (0.8, 0.9, 0.7)), ("sft_dpo", (0.6, 0.6, 0.6))):
        paths = like(tmp_path / "s", method, [30, 30, 30])
        rivals = (
            like(tmp_path / "s", "sft", [30, 30, 30]) if method == "clo" else sorted((tmp_path / "s").glob("sft-*"))
        )
        for path, rival, rate in zip(paths, rivals, rates, strict=True):
            judged(path, rival, rate, "llama")
    (gain,) = (c for c in cells_of(collect("s", tmp_path)) if c.paper.gain)
    assert gain.ours == pytest.approx(20) and gain.seeds == 3 and len(gain.runs) == 6
    assert gain.low is not None and gain.high is not None and gain.low < 20 < gain.high
    assert (gain.verdict, gain.paper.value) == ("not comparable", 17.6) and "not known" in gain.why


def answered(folder: Path, method: str, right: float, lang: str, tier: str, model: str = "nano") -> None:
    """Three runs whose answers have this chrF in the target language, and 90 in English."""
    for seed in range(3):
        tuning = {"tuning.name": "attention", "tuning.trains": "attention", "lang.tier": tier}
        path = write_run(folder, lang, method, 400, seed, tuning)
        lines = []
        for k in range(30):
            lines.append({"id": f"p{k}", "side": "target", "chrf": right + k % 3 + seed / 10, "verdict": "target"})
            lines.append({"id": f"p{k}", "side": "en", "chrf": 90.0, "content": k < 27, "verdict": "en"})
        write_lines(path / "samples.jsonl", lines)
        edit(path / "results.json", model=model)


def rows_of(study: Study, words: str, langs: tuple[str, ...], source: str = "paper") -> dict[str, GainRow]:
    found = gain_rows(benches_of(study), the_paper())
    rows = [r for r in found if (r.question.words, r.langs, r.gains[0].source.key) == (words, langs, source)]
    return {row.gains[0].measure: row for row in rows}


def test_gains_are_compared_by_direction(tmp_path: Path) -> None:
    """Ahead in Swahili, behind in Korean; the two together where both are of one tier, half-way between."""
    for lang, gap in (("sw", 10.0), ("ko", -4.0)):
        answered(tmp_path / "s", "clo", 50 + gap, lang, "low")
        answered(tmp_path / "s", "sft", 50, lang, "low")
    study, words = collect("s", tmp_path), "CLO less SFT, target language"
    sw = rows_of(study, words, ("sw",))
    assert sw["mmmlu"].verdict == "same direction" and sw["mmmlu"].ours.gap == pytest.approx(10)
    assert sw["mmmlu"].mean == pytest.approx((33.38 - 27.59 + 29.80 - 26.22) / 2) and not sw["mmmlu"].same_model
    assert rows_of(study, words, ("ko",))["mmmlu"].verdict == "other direction"
    assert rows_of(study, words, ("sw",), "re-run")["win_rate"].verdict == "other direction"
    assert rows_of(study, words, ("ko",), "re-run")["win_rate"].verdict == "undecided (theirs differ)"
    both = rows_of(study, words, ("ko", "sw"))["mmmlu"]
    assert both.ours.gap == pytest.approx(3) and len(both.gains) == 4 and len(both.ours.runs) == 12
    assert both.ours.low < 3 < both.ours.high, "relations and languages are not pooled into one prompt"
    english = rows_of(study, "CLO less SFT, English", ("sw",))["mmmlu"]
    assert english.verdict == "undecided" and {gain.lang for gain in english.gains} == {"unknown"}
    rows = gain_rows(benches_of(study), the_paper())
    assert len(list(csv.DictReader(io.StringIO(gains_csv(rows))))) == len(gain_lines(rows)) == len(rows)


def test_of_the_papers_own_model_its_own_gain_counts(tmp_path: Path) -> None:
    answered(tmp_path / "s", "clo", 60, "sw", "low", "qwen2_5_3b")
    answered(tmp_path / "s", "sft", 50, "sw", "low", "qwen2_5_3b")
    row = rows_of(collect("s", tmp_path), "CLO less SFT, target language", ("sw",))["mmmlu"]
    assert row.same_model and row.mean == pytest.approx(29.80 - 26.22) and "the same" in gain_lines([row])[0]


def test_gains_follow_from_the_numbers_and_doubtful_ones_stay_out() -> None:
    by = {question.words: paper_gains(the_paper(), question) for question in QUESTIONS}
    dpo = [g.value for g in by["CLO less SFT+DPO, target language"] if g.source.key == "paper"]
    assert len(dpo) == 30 and max(dpo) == 23.8
    (nll,) = by["NLL on the target alone less on English too, target language"]
    assert nll.value == pytest.approx(8.5)
    assert by["NLL on the target alone less on English too, English"] == [], "65.4 is doubtful"
    sft = [g for g in by["CLO less SFT, target language"] if g.measure == "win_rate" and g.lang == "sw"]
    assert {round(g.value, 2) for g in sft} == {33.0, -6.03, -5.07, -14.6}
    assert [g.value for g in by["CLO less SFT+DPO, peak memory (%)"]] == [-30]
