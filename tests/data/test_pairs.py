"""Quality pairs: files in both forms, what is refused of them, sources with ranks and scores, translation, items."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from composed import run_of
from conftest import byte_level_tokenizer

from clo.config.sources import SourceConfig
from clo.data.instructions import instructions
from clo.data.instructions.example import Counts, Instruction
from clo.data.pairs import with_pairs
from clo.data.prompt import Renderer
from clo.errors import UserError
from clo.study.content import rows_digest
from clo.study.rows import items_of, rows_of
from clo.translate.cache import SentenceCache
from clo.translate.ensure import rows_path
from clo.translate.estimate import planned_splits
from clo.translate.pipeline import Means, dropped_path, translate_examples

CRPO = ("method=crpo", "method.lr=1e-3")


def paired(k: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": str(k), "lang": "sw", "prompt_en": f"question {k}", "response_en": f"a good answer {k}",
        "rejected_en": f"a bad one {k}", "prompt": f"swali {k}", "response": f"jibu zuri {k}", "rejected": f"baya {k}",
        **changes,
    }  # fmt: skip


def long(k: int, **changes: Any) -> list[dict[str, Any]]:
    row = paired(k, **changes)
    english = {
        "id": str(k),
        "lang": "en",
        **{name: row.get(f"{name}_en") for name in ("prompt", "response", "rejected")},
    }
    return [english, {name: value for name, value in row.items() if not name.endswith("_en")}]


def written(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


def run(path: str, *more: str) -> Any:
    method = () if any(word.startswith("method") for word in more) else CRPO
    return run_of(*method, "data=files", f"data.train={path}", "data.held_out=2", "data_size=4", *more)


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["paired", "long"])
def test_both_forms_make_items_of_four_candidates(form: str, tmp_path: Path) -> None:
    records = [paired(k) for k in range(10)] if form == "paired" else [one for k in range(10) for one in long(k)]
    cell = run(written(tmp_path / "rows.jsonl", records))
    rows, renderer = rows_of(cell), Renderer(byte_level_tokenizer(), "chat")
    for item in items_of(cell, renderer, rows).train:
        wanted = [f"a good answer {item.id}", f"jibu zuri {item.id}", f"a bad one {item.id}", f"baya {item.id}"]
        assert item.responses == tuple(tuple(renderer.response_ids(text)) for text in wanted)
        assert len(item.prompts) == 2


def test_what_is_not_compared_is_no_part_of_a_run(tmp_path: Path) -> None:
    """Neither the items nor the content of a run without quality pairs know them, and nothing of them is checked."""
    bad = [paired(k, rejected_en=None if k % 2 else f"a good answer {k}") for k in range(10)]
    with_them = run(written(tmp_path / "a.jsonl", bad), "method=clo")
    plain = [{name: value for name, value in one.items() if "rejected" not in name} for one in bad]
    without = run(written(tmp_path / "b.jsonl", plain), "method=clo")
    both = [rows_of(cell) for cell in (with_them, without)]
    reach = {"train": {"": 4}}
    digests = [rows_digest(with_them, rows, reach) for rows in both]
    assert digests[0] == digests[1] and both[0].train == both[1].train
    assert not any(row.rejected for row in (*both[0].train, *both[0].test))
    whole = run(written(tmp_path / "c.jsonl", [paired(k) for k in range(10)]))
    assert rows_digest(whole, rows_of(whole), reach)["train"] != digests[0]["train"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rejected": ""}, r"one side of a quality pair: a 'rejected' response in en, none in 'sw'"),
        ({"rejected_en": None}, r"one side of a quality pair: a 'rejected' response in sw, none in 'en'"),
        ({"rejected": None, "rejected_en": None}, r"has no 'rejected' response, and the method compares quality pairs"),
        ({"rejected": "Jibu  ZURI 7"}, r"equal candidates: 'rejected' is 'response' in 'sw'; give two different"),
    ],
)
def test_bad_pairs_are_refused_in_one_sentence_or_skipped(changes: Any, said: str, tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", [paired(k, **(changes if k == 7 else {})) for k in range(12)])
    with pytest.raises(UserError, match=rf"rows\.jsonl, line \d+: id '7' (has )?{said}".replace("(has )?has", "has")):
        rows_of(run(path))
    found = rows_of(run(path, *CRPO, "data.bad_rows=skip"))
    kept = {row.id for row in (*found.train, *found.dev)}
    (source,) = found.sources
    assert "7" not in kept and source.bad.count == 1 and source.rows == 11
    none = written(tmp_path / "none.jsonl", [paired(k, **changes, response="jibu zuri 7") for k in range(12)])
    with pytest.raises(UserError, match="no training row holds a quality pair, and each was skipped; one of them: "):
        rows_of(run(none, *CRPO, "data.bad_rows=skip", "data.poor_rows=say"))


def test_a_test_row_needs_no_pair(tmp_path: Path) -> None:
    rows = written(tmp_path / "rows.jsonl", [paired(k) for k in range(10)])
    test = [{name: value for name, value in paired(k).items() if "rejected" not in name} for k in (30, 31)]
    assert len(rows_of(run(rows, *CRPO, f"data.test={written(tmp_path / 'test.jsonl', test)}")).test) == 2


# Sources --------------------------------------------------------------------------------------------------------------


def read(path: str, **changes: Any) -> tuple[list[Instruction], Counts]:
    config = SourceConfig(**{"kind": "table", "path": path, "pairs": True, **changes})
    found, counts = instructions(config, lambda texts: [True] * len(texts))
    return list(found), counts


def chat(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


@pytest.mark.parametrize(
    ("record", "changes"),
    [
        ({"prompt": "Name it.", "chosen": "A cat.", "rejected": "A dog."}, {}),
        ({"prompt": "Name it.", "response": "A cat.", "rejected": "A dog."}, {}),
        ({"prompt": "Name it.", "chosen": chat("Name it.", "A cat."), "rejected": chat("Name it.", "A dog.")}, {}),
        ({"chosen": chat("Name it.", "A cat."), "rejected": chat("Name it.", "A dog.")}, {}),
        ({"q": "Name it.", "good": "A cat.", "bad": "A dog."}, {"prompt": "q", "response": "good", "rejected": "bad"}),
        (
            {
                "instruction": "Name it.",
                "completions": [
                    {"response": "A cow.", "overall_score": 3.5},
                    {"response": "A dog.", "overall_score": 1},
                    {"response": "A cat.", "overall_score": "9.0"},
                ],
            },
            {},
        ),
    ],
)
def test_tables_of_pairs(record: dict[str, Any], changes: dict[str, Any], tmp_path: Path) -> None:
    found, _ = read(written(tmp_path / "rows.jsonl", [record]), **changes)
    assert found == [Instruction("0", "Name it.", "A cat.", "A dog.")]


def test_bad_pairs_of_a_table(tmp_path: Path) -> None:
    def table(**record: Any) -> str:
        return written(tmp_path / "rows.jsonl", [{"prompt": "Name it.", **record}, {"prompt": "x", "response": "y"}])

    with pytest.raises(
        UserError, match=r"rows\.jsonl, .* one side of a quality pair is missing, the column 'rejected'"
    ):
        read(table(chosen="A cat."))
    with pytest.raises(UserError, match=r"'completions' is no list of answers with 'response' and a number"):
        read(table(completions=[{"response": "A cat."}]))
    whole = [{"prompt": f"Name {k}.", "chosen": "A cat.", "rejected": "A dog."} for k in range(2)]
    same = [{"prompt": "Name it.", "chosen": "A cat.", "rejected": "a  CAT."}]
    same += [{"prompt": "Say it.", "completions": [{"response": text, "overall_score": 2} for text in ("Yes.", "No.")]}]
    found, counts = read(written(tmp_path / "rows.jsonl", whole + same))
    assert len(found) == 2 and counts.removed == {"both responses of a quality pair are the same": 2}


def test_oasst_takes_the_best_and_the_worst_rank(tmp_path: Path) -> None:
    def message(name: str, parent: str | None, rank: int | None = None) -> dict[str, Any]:
        role = "prompter" if parent is None else "assistant"
        more = {"lang": "en", "deleted": False, "review_result": True, "rank": rank, "labels": None}
        return {"message_id": name, "parent_id": parent, "text": f"What is {name} about?", "role": role, **more}

    records = [message("A", None), message("A1", "A", 1), message("A2", "A", 2), message("A0", "A", 0)]
    records += [message("B", None), message("B0", "B", 0), message("C", None), message("C1", "C")]
    path = written(tmp_path / "oasst.jsonl", records)
    (found,), counts = read(path, kind="oasst")
    assert (found.id, found.response, found.rejected) == ("A", "What is A0 about?", "What is A2 about?")
    assert counts.removed["no worse ranked reply beside the best one"] == 2
    assert [one.rejected for one in read(path, kind="oasst", pairs=False)[0]] == [None] * 3


# Translation ----------------------------------------------------------------------------------------------------------


class Upper:
    """Upper-cases; two words become one."""

    def translate(self, sentences: Any, attempt: int) -> list[str]:
        return [sentence.upper().replace("DUCK", "GOOSE") for sentence in sentences]


def test_both_responses_are_translated(tmp_path: Path) -> None:
    examples = [Instruction("1", "Name one.", "A cat.", "A dog."), Instruction("2", "Name two.", "A duck.", "A goose.")]
    means = Means(("en", "sw"), Upper, SentenceCache(tmp_path, "upper"), lambda _: "target")
    path = tmp_path / "sw.jsonl"
    assert translate_examples(examples, path, 5, means).rows == 1
    (row,) = map(json.loads, path.read_text().splitlines())
    assert row["rejected_en"] == "A dog." and row["rejected"] == "A DOG." and row["response"] == "A CAT."
    assert "both responses of a quality pair became the same" in dropped_path(path).read_text()


def test_pairs_are_other_rows_and_old_ones_are_found(tmp_path: Path) -> None:
    def at(*more: str) -> Path:
        cell = run_of("data=oasst", "lang=zh", *more)
        return rows_path(cell.data, cell.lang, ".cache")

    assert at() != at("data.source.pairs=true")
    assert at().parent.name == "b157082e5ae4c9a5"  # where they were kept before pairs came


def test_a_plan_stretches_both_responses(tmp_path: Path) -> None:
    lines = [
        {"prompt": f"Tell of animal {k}.", "chosen": "It is a cat.", "rejected": "It is a dog."} for k in range(30)
    ]
    words = ("data=table", f"data.source.path={written(tmp_path / 'e.jsonl', lines)}", "data.held_out=2", "data_size=5")
    cell = run_of(*CRPO, *words, "data.source.pairs=true", f"cache_dir={tmp_path}")
    planned = with_pairs(planned_splits(cell), ["en", "sw"])
    assert planned.train[0].rejected == {"en": "It is a dog.", "sw": "It is a dog. It is"}
    with pytest.raises(UserError, match=r"needs quality pairs of data=table; set data\.source\.pairs=true"):
        run_of(*CRPO, *words)
