"""A task that is trained on its own rows and asked on those of another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from composed import run_of

from clo.errors import UserError
from clo.study.rows import rows_of
from clo.study.rows import tested_rows as rows_asked

WORDS = ("data=tasks", "lang=[sw,zh,ko]", "mixture.name=mine", "mixture.tasks=[mcot_maths]", "mixture.seen=[sw]")
SIZES = ("mixture.source=4", "mixture.others=3", "evaluation.rows=5", "method=sft")


def written(folder: Path) -> list[str]:
    """Worked problems in one file, and MGSM's by language; Korean is in the first alone."""
    worked = [
        {"question": f"{lang} how many {k}?", "answer": f"{k} and {k} is {2 * k}.", "lang": lang}
        for lang in ("en", "sw", "zh", "ko")
        for k in range(110)
    ]
    (folder / "worked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in worked), encoding="utf-8")
    for lang in ("en", "sw", "zh"):
        asked = [{"question": f"{lang} MGSM {k}?", "answer": None, "answer_number": k} for k in range(6)]
        (folder / f"{lang}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked), encoding="utf-8")
    return [
        f"tasks.mcot_maths.path={folder}/worked.jsonl",
        f"tasks.mgsm.path='{folder}/{{lang}}.jsonl'",
        "tasks.mgsm.splits.train=null",
        "+tasks.mcot_maths.languages.ko=ko",
    ]


def test_it_is_trained_on_its_own_rows_and_asked_on_the_others(tmp_path: Path) -> None:
    """Under its own name, and in the languages that the other one has."""
    run = run_of("task=mcot_maths", *WORDS, *SIZES, *written(tmp_path))
    rows = rows_of(run)
    asked = rows_asked(run, rows)
    assert {row.task for part in (rows.train, rows.dev, asked) for row in part} == {"mcot_maths"}
    assert all("how many" in text for part in (rows.train, rows.dev) for row in part for text in row.prompts.values())
    assert {text for row in asked for text in row.prompts.values()} == {
        f"{lang} MGSM {k}?" for lang in ("en", "sw", "zh") for k in range(5)
    }
    assert [row.gold["sw"] for row in asked] == ["0", "1", "2", "3", "4"]
    assert run.evaluation.max_new_tokens == 512


def test_the_other_one_must_be_there() -> None:
    with pytest.raises(UserError, match=r"tasks\.mcot_maths\.tested_by=gsm is no task of this run; choose it too"):
        run_of("task=mcot_maths", *WORDS, *SIZES, "tasks.mcot_maths.tested_by=gsm")
