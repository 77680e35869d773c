"""Comparisons of a study: who is compared with whom, on which prompts, and what may be said."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from report_fixture import write_study

from clo.report.collect import Study, collect
from clo.report.comparisons import chrf_of, compare_study, summary, to_csv
from clo.report.formats import DAGGER, DASH
from clo.report.make import make_report

CLO, DPO = "CLO, attention", "SFT+DPO, all weights"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Swahili only: sft, sft_dpo and clo at 100, 200 and 400 items, three seeds; clo 20 points better."""
    folder = write_study(tmp_path / "s", {"sw": 3}, unfinished=False)
    for path in folder.iterdir():
        method, seed, chance = path.name.split("-")[0], int(path.name.split("-s")[2][0]), random.Random(path.name)
        lines = []
        for k in range(60):
            for side in ("target", "en"):
                gain = 20 * (method == "clo") * (1 if side == "target" else -1)
                chrf = 50 + random.Random(k).gauss(0, 10) + gain + chance.gauss(0, 4) + 0.3 * seed
                lines.append({"id": f"p{k}", "side": side, "chrf": chrf})
        (path / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return collect("s", tmp_path)


def test_equal_data_and_half_of_it(study: Study) -> None:
    found = compare_study(study, "sft")
    cells = {(c.label, c.size, c.against_size) for c in found if c.side == "target"}
    assert cells == {(m, *s) for m in (CLO, DPO) for s in ((100, 100), (100, 200), (200, 200), (200, 400), (400, 400))}
    for c in found:
        assert (c.items, c.seeds) == (60, 3) and c.low <= c.gap <= c.high
        expected = "not told" if c.label == DPO else "better" if c.side == "target" else "worse"
        assert c.verdict == expected, c
        if c.label == CLO:
            assert abs(c.gap) == pytest.approx(20, abs=1.5)
    said = summary(found)
    assert said[0].startswith(
        "In the target language, of 10 comparisons with SFT, all weights: 5 better, 0 worse, 5 not to be told"
    )
    assert said[1].startswith("In English, of 10 comparisons with SFT, all weights: 0 better, 5 worse")


def test_only_shared_prompts_and_seeds_count(study: Study) -> None:
    """A seed that one method lacks is left out on both sides, and so are in their seed prompts that one run lacks."""
    for run in study.runs:
        if run.method == "sft" and run.size == 100 and run.seed == 1:
            lines = (run.folder / "samples.jsonl").read_text().splitlines(keepends=True)
            (run.folder / "samples.jsonl").write_text("".join(lines[20:]))
    kept = [run for run in study.runs if (run.method, run.size, run.seed) != ("clo", 100, 2)]
    found = compare_study(Study(study.name, study.folder, kept), "sft")
    (c,) = (c for c in found if (c.label, c.size, c.against_size, c.side) == (CLO, 100, 100, "target"))
    assert (c.items, c.seeds) == (60, 2)
    by = {
        (run.method, run.seed): chrf_of(run, "target")
        for run in kept
        if run.size == 100 and run.method in ("clo", "sft")
    }
    gaps = [[by["clo", s][i] - score for i, score in by["sft", s].items()] for s in (0, 1)]
    assert [len(own) for own in gaps] == [60, 50]
    assert c.gap == pytest.approx(sum(sum(own) / len(own) for own in gaps) / 2)


def test_where_nothing_varies_nothing_is_detectable(study: Study) -> None:
    """Equal answers: a difference of 0, told by nothing, and a dash for what could be found."""
    for run in study.runs:
        lines = [{"id": f"p{k}", "side": "target", "chrf": 50.0 + k} for k in range(60)]
        (run.folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = compare_study(study, "sft")
    assert {(c.gap, c.p, c.detectable, c.verdict) for c in found} == {(0.0, 1.0, None, "not told")}
    assert found[0].numbers() == ["0.0", "0.0 to 0.0", "1.000", DASH]
    assert to_csv(found).splitlines()[1].endswith(",,60,3,not told")


def test_a_single_prompt_detects_nothing(study: Study) -> None:
    """One prompt has no spread; no infinity stands in the table."""
    for run in study.runs:
        (run.folder / "samples.jsonl").write_text(json.dumps({"id": "p", "side": "target", "chrf": 50.0 + run.seed}))
    assert {c.numbers()[-1] for c in compare_study(study, "sft")} == {DASH}


def test_verdicts_of_few_seeds_do_not_stand_out(study: Study) -> None:
    """Three seeds may be bold; two have a dagger at their interval, one has neither."""
    for seeds, firm, dagger in ((3, True, False), (2, False, True), (1, False, False)):
        kept = [run for run in study.runs if run.seed < seeds]
        found = compare_study(Study(study.name, study.folder, kept), "sft")
        clo = next(c for c in found if c.label == CLO)
        assert (replace(clo, p=0.01).firm, DAGGER in clo.numbers()[1]) == (firm, dagger)
        assert not replace(clo, p=0.06).firm


def test_the_page_and_the_table_tell_it(study: Study) -> None:
    page = make_report("s", study.folder.parent).read_text()
    assert "More than chance?" in page and "with half of the baseline" in page
    lines = (study.folder / "report" / "comparisons.csv").read_text().splitlines()
    assert len(lines) == 21 and lines[0].startswith("lang,size,label,against") and lines[0].endswith("verdict")
    assert make_report("s", study.folder.parent, "sft").read_text() == page
    assert 'id="compared"' in page and summary([]) == [] and to_csv([]).count("\n") == 1
