"""The start models of three tasks: their sizes, what they can do in English, and what their text does not hold."""

from __future__ import annotations

import json
import random
import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from clo.config import ModelConfig
from clo.config.effect import check_recipe
from clo.data.tasks import LANGUAGES, TASKS, maths, summaries, task_rows
from clo.errors import UserError
from clo.model.folder import check_place, resolve_path
from clo.nano import corpus, tasks, weights_of
from clo.nano.measure_tasks import RIGHT, is_english
from clo.nano.starts import STARTS

SIZES = {"tasks_s": (0.35e6, 0.5e6), "tasks_m": (1.2e6, 1.5e6), "tasks_l": (4.5e6, 5.5e6)}
LEAST = {
    "tasks_s": {"facts": 0.7, "maths": 0.55, "summaries": 0.85},
    "tasks_m": {"facts": 0.85, "maths": 0.7, "summaries": 0.9},
    "tasks_l": {"facts": 0.95, "maths": 0.9, "summaries": 0.92},
}
"""What a start model does right in English, at least: below what was measured."""
PACKAGED = [name for name in SIZES if (weights_of(0, name) / "model.safetensors").is_file()]


def length(document: corpus.Document) -> int:
    return len(document.text) + len(document.answer or "")


@pytest.fixture(scope="module")
def documents() -> list[corpus.Document]:
    return list(islice(tasks.documents(3, length), 3000))


def test_all_sizes_are_in_the_package() -> None:
    assert list(SIZES) == PACKAGED
    assert len({(weights_of(0, name) / "tokenizer.json").read_bytes() for name in PACKAGED}) == 1


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_those_of_the_table(name: str) -> None:
    from transformers import AutoTokenizer

    from clo.nano.pretrain import new_model

    tokenizer = AutoTokenizer.from_pretrained(weights_of(0, PACKAGED[0]))
    least, most = SIZES[name]
    assert least <= sum(weight.numel() for weight in new_model(tokenizer, STARTS[name]).parameters()) <= most


@pytest.mark.parametrize("name", PACKAGED)
def test_what_was_measured_is_told(name: str) -> None:
    folder = weights_of(0, name)
    assert resolve_path(name) == str(folder)
    facts: dict[str, Any] = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    card = (folder / "README.md").read_text(encoding="utf-8")
    for task in TASKS:
        assert facts["english_content"][task] >= LEAST[name][task]
        assert min(facts["english_answers_to_target_questions"][task].values()) >= 0.9
        assert f"| {task} | 100 | {facts['english_content'][task]:.3f} |" in card
    assert facts["steps"] == STARTS[name].steps and "English habit is built in" in card
    assert f"| `{name}` |" in Path("docs/tasks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PACKAGED)
def test_a_start_model_does_the_tasks_in_english(name: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from clo.nano.measure import answers

    model = AutoModelForCausalLM.from_pretrained(weights_of(0, name)).eval()
    tokenizer = AutoTokenizer.from_pretrained(weights_of(0, name))
    for task in TASKS:
        rows = task_rows(task, "dev", ["en", "sw"])[:16]
        asked = [row.prompts[code] for code in ("en", "sw") for row in rows]
        texts = answers(model, tokenizer, asked)
        right = [RIGHT[task](row, text) for row, text in zip(rows, texts, strict=False)]
        assert sum(right) / len(rows) >= LEAST[name][task] - 0.2, task
        english = [is_english(task, text, row) for row, text in zip(rows, texts[16:], strict=True)]
        assert sum(english) >= 14, task


def test_a_model_that_is_not_built_names_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_path("tasks_l-7") == "tasks_l-7"
    with pytest.raises(UserError, match=r"not in the package; build them: python -m clo\.nano\.build tasks_l --seed 7"):
        check_place("tasks_l-7", resolve_path("tasks_l-7"))
    with pytest.raises(UserError, match="recipe of tasks_s"):
        check_recipe("tasks_s", ModelConfig("mine", "some/model"))


def test_the_text_holds_nothing_that_dev_and_test_ask_of_maths_and_summaries(documents: list[corpus.Document]) -> None:
    rng = random.Random(5)
    assert not {tasks.some_problem(rng).key for _ in range(3000)} & maths.held_out()
    assert not {tasks.some_list(rng).key for _ in range(1500)} & summaries.held_out_lists()
    said = " ".join(f"{document.text} {document.answer}" for document in documents)
    for task in ("maths", "summaries"):
        for split in ("dev", "test"):
            assert not [row.id for row in task_rows(task, split, ["en"]) if row.prompts["en"] in said]


def test_every_chat_answer_is_english_and_all_tasks_have_some(documents: list[corpus.Document]) -> None:
    chats = [document for document in documents if document.answer is not None]
    assert len(chats) > 1000
    foreign = re.compile(r"[\u0300-\u036f\u4e00-\u9fff\uac00-\ud7a3„]")
    assert not [document for document in chats if foreign.search(str(document.answer))]
    asked = {re.sub(r"[\d.,]+", "#", document.text) for document in chats}
    for code in LANGUAGES:
        for task in TASKS:
            prompts = {re.sub(r"[\d.,]+", "#", row.prompts[code]) for row in task_rows(task, "train", [code])}
            assert task == "summaries" or asked & prompts, (task, code)
    assert sum(tasks.shares().values()) == pytest.approx(1.0)
    assert list(islice(tasks.documents(3, length), 3000)) == documents


def test_the_command_builds_one_again(tmp_path: Path) -> None:
    import torch

    from clo.nano.build import build

    lines: list[str] = []
    build(tmp_path, "tasks_s", steps=2, say=lines.append)
    assert torch.get_float32_matmul_precision() == "highest"  # what a build sets for itself
    packaged = weights_of(0, PACKAGED[0]) / "tokenizer.json"
    assert (tmp_path / "tokenizer.json").read_bytes() == packaged.read_bytes()
    assert "Not measured." in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "measured.json").read_text(encoding="utf-8"))["steps"] == 2
    assert lines[0].startswith("413,120 parameters, 4,096 tokens, 2 steps of 6,144 tokens")


def test_text_made_ahead_is_the_text_of_every_stream_in_turn() -> None:
    import torch
    from transformers import AutoTokenizer

    from clo.nano.pretrain import APART, Encoder, Text, batches, made_ahead

    tokenizer, start = AutoTokenizer.from_pretrained(weights_of(0, PACKAGED[0])), STARTS["tasks_s"]
    encoder = Encoder(tokenizer)
    streams = [batches(encoder, start, 5 + APART * stream) for stream in range(start.streams)]
    expected = [next(streams[k % start.streams]) for k in range(2 * start.streams)]
    for device in ("cpu", "cuda"):  # where it makes them, not where they go
        found = made_ahead(Text(encoder, start, 5), torch.device(device))
        for batch, other in zip(expected, found, strict=False):
            assert torch.equal(batch[0], other[0]) and torch.equal(batch[1], other[1])
