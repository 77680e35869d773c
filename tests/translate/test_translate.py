"""Runs that translate what they need, and the command ahead of them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from called import program
from stand_ins import Swahili

from clo.data.rows import read_rows
from clo.errors import UserError
from clo.translate.segments import numbers

translate = program("translate")


def test_a_run_translates_what_it_needs(
    tiny_folder: Path,
    m2m100: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first run translates, a larger one translates the rest, and so does the command ahead of a run."""
    from composed import run_of
    from warm_runs import tiny

    from clo.study.plan_table import show_plans
    from clo.study.run import run_cell
    from clo.translate.ensure import rows_path

    monkeypatch.setattr(Swahili, "made", 0)
    monkeypatch.setattr("clo.translate.engines.load_engine", lambda *_: Swahili())
    lines = [
        {"instruction": f"Please tell me about animal {k}.", "output": f"The animal {k} is a cat."} for k in range(90)
    ]
    (tmp_path / "english.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = ["data=table", f"data.source.path={tmp_path}/english.jsonl", "data.held_out=4"]
    run = run_of(*tiny(tiny_folder, tmp_path, *asked, "model.max_length=256"))
    planned = run_of(*tiny(tiny_folder, tmp_path, *asked, "model.max_length=256", "plan=true"))
    translator = f"data.translation.model={m2m100}"
    path = rows_path(run.data, run.lang, run.cache_dir)
    capsys.readouterr()
    assert show_plans([planned, run_of(*tiny(tiny_folder, tmp_path, *asked, "plan=true", translator))])
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("target texts count as 1.5 times") == 2  # two translators, two translations
    assert "time not known" in said and re.search(r"jsonl: \d+ s, once", said)
    assert not path.exists() and Swahili.made == 0
    maori = ["lang=any", "lang.code=mi", "lang.name=Maori", "lang.identify=none", "plan=true"]
    with pytest.raises(UserError, match="has no language 'mi'; choose nllb"):
        show_plans([run_of(*tiny(tiny_folder, tmp_path, *asked, *maori))])
    run_cell(run)
    first = Swahili.made
    rows = read_rows(path, "en", "sw")
    assert len(rows) == 2 * 4 + 16 + 1 + 8 and first <= 2 * 90
    said = capsys.readouterr().out
    assert "rows in" in said and "kept" in said
    assert show_plans([planned]) and "target texts count" not in capsys.readouterr().out
    results = json.loads(next(tmp_path.glob("outputs/runs/*/results.json")).read_text())
    assert results["data"] == "table" and results["scores"]["target"]["all"]["n"] == 4
    run_cell(run_of(*tiny(tiny_folder, tmp_path, *asked, "model.max_length=256", "seed=1")))
    assert Swahili.made == first
    translate([*tiny(tiny_folder, tmp_path, *asked), "data_size=40"])
    assert len(read_rows(path, "en", "sw")) == 2 * 4 + 40 + 2 + 8
    card = path.with_suffix(".md").read_text()
    assert "| read | 90 |" in card and "| sw |" in card and "→ Hii ni" in card
    (fertility,) = (float(line.split("|")[-2]) for line in card.splitlines() if line.startswith("| sw |"))
    assert 0.1 < fertility < 1.5  # tokens of the tiny model per character


@pytest.mark.parametrize("made", ["", "Hii ni paka \u2028 namba {}"])
def test_nothing_kept_is_told_with_its_reasons_and_odd_line_breaks_are_text(
    made: str, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from composed import run_of
    from warm_runs import tiny

    from clo.translate.ensure import rows_path, translated_rows

    class Engine:
        def translate(self, sentences: Sequence[str], attempt: int) -> list[str]:
            return [made.format(" ".join(numbers(sentence))) for sentence in sentences]

    monkeypatch.setattr("clo.translate.engines.load_engine", lambda *_: Engine())
    lines = [{"instruction": f"Tell of animal {k}.", "output": f"Animal \u2028 {k} is a cat."} for k in range(40)]
    (tmp_path / "english.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    run = run_of(*tiny(tiny_folder, tmp_path, "data=table", f"data.source.path={tmp_path}/english.jsonl"))
    if made:
        translated_rows(run, lambda _: None)
        assert "40 rows." in rows_path(run.data, run.lang, run.cache_dir).with_suffix(".md").read_text()
    else:
        with pytest.raises(
            UserError,
            match=r"^0 of 40 examples are left .*40 read; 40 kept; 40 in translation: empty.; choose",
        ):
            translated_rows(run, lambda _: None)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["data=cldr"], "is parallel already"),
        (["data=table", "data.source.path=nowhere.jsonl"], "data.source.path=nowhere.jsonl does not exist"),
        (["data=table", "lang=xx"], "xx"),
        (["data=table", "data.translation.engine=deepl"], "data.translation.engine"),
        (["data=table", "data.source.nothing=1"], "nothing"),
    ],
)
def test_bad_commands(arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        translate([*arguments, f"cache_dir={tmp_path}/cache"])
    message = str(end.value.code)
    assert message.startswith("error: ") and says in message and "\n" not in message
    assert not list(tmp_path.glob("**/*.jsonl"))
