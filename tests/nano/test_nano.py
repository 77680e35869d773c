"""The embedded weights: they load without special code, know their facts, answer in English, and can be rebuilt."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from clo.data.cldr import cldr_rows
from clo.data.cldr.facts import CORE_LANGUAGES, closed_facts, generated_facts
from clo.data.cldr.splits import Fact
from clo.model.folder import resolve_path
from clo.nano import SEEDS, WEIGHTS, corpus, weights_of
from clo.nano.tokenizer import ASSISTANT, END, USER


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(WEIGHTS)


@pytest.fixture(scope="module", params=range(SEEDS))
def seed(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture(scope="module")
def model(seed: int) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(weights_of(seed)).eval()


def test_all_start_models_fit_a_small_package() -> None:
    assert sum(path.stat().st_size for seed in range(SEEDS) for path in weights_of(seed).iterdir()) <= 12 * 2**20


def test_start_models_share_a_tokenizer_and_are_not_one_another() -> None:
    folders = [weights_of(seed) for seed in range(SEEDS)]
    assert len({(folder / "tokenizer.json").read_bytes() for folder in folders}) == 1
    assert len({(folder / "model.safetensors").read_bytes() for folder in folders}) == SEEDS
    assert [resolve_path(name) for name in ("nano", "nano-1", "nano-2")] == [str(folder) for folder in folders]


def test_folder_is_ordinary(model: Any, seed: int) -> None:
    import torch

    wanted = {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "README.md",
    }
    assert wanted <= {path.name for path in weights_of(seed).iterdir()}
    assert not list(weights_of(seed).glob("*.py"))
    assert model.dtype == torch.float32
    assert 1e6 <= sum(weight.numel() for weight in model.parameters()) <= 3e6
    assert type(model).__name__ == "LlamaForCausalLM"


def test_chat_template_round_trip(tokenizer: Any) -> None:
    turns = [{"role": "user", "content": "Kí ni owó?"}, {"role": "assistant", "content": "Náírà ni."}]
    whole = tokenizer.apply_chat_template(turns, tokenize=False)
    start = tokenizer.apply_chat_template(turns[:1], add_generation_prompt=True, tokenize=False)
    assert start == f"{USER}Kí ni owó?{ASSISTANT}"
    assert whole == f"{start}Náírà ni.{END}"
    ids = tokenizer.apply_chat_template(turns, return_dict=False)
    assert ids == tokenizer(whole, add_special_tokens=True).input_ids
    assert ids[-1] == tokenizer.eos_token_id == tokenizer.pad_token_id
    assert tokenizer.decode(ids) == whole
    assert tokenizer.bos_token is None
    assert tokenizer.eos_token == END


def test_tokenizer_loses_nothing_and_is_fair_to_every_language(tokenizer: Any) -> None:
    rows = cldr_rows("train", CORE_LANGUAGES)[:400]
    means = {}
    for code in CORE_LANGUAGES:
        ids = [tokenizer(row.responses[code]).input_ids for row in rows]
        assert [tokenizer.decode(answer) for answer in ids] == [row.responses[code] for row in rows]
        means[code] = sum(map(len, ids)) / len(ids)
    assert max(means.values()) < 24, means
    assert max(means.values()) < 1.8 * min(means.values()), means


def test_measured_numbers_are_good_enough_and_on_the_card(seed: int) -> None:
    facts = json.loads((weights_of(seed) / "measured.json").read_text(encoding="utf-8"))
    assert facts["seed"] == seed
    assert facts["english_content"] >= 0.95
    assert set(facts["english_answers_to_target_questions"]) == set(corpus.TARGETS)
    assert min(facts["english_answers_to_target_questions"].values()) >= 0.98
    assert min(facts["cloze"].values()) >= 0.5
    card = (weights_of(seed) / "README.md").read_text(encoding="utf-8")
    assert f"{facts['english_content']:.3f}" in card
    assert "English habit is built in" in card
    assert f"{facts['cloze']['sw']:.3f}" in card


def test_model_answers_english_to_english_and_to_swahili(model: Any, tokenizer: Any) -> None:
    from clo.nano.measure import answers

    rows = cldr_rows("dev", ["en", "sw"])[:24]
    english = answers(model, tokenizer, [row.prompts["en"] for row in rows])
    assert sum(row.gold["en"] in text for row, text in zip(rows, english, strict=True)) >= 21
    swahili = answers(model, tokenizer, [row.prompts["sw"] for row in rows])
    starts = {row.responses["sw"].split()[0] for row in cldr_rows("train", ["en", "sw"])}
    assert all(swahili)
    assert not any(text.split()[0] in starts for text in swahili)
    assert sum(row.gold["en"] in text for row, text in zip(rows, swahili, strict=True)) >= 18


def every_fact() -> list[Fact]:
    return [*closed_facts(), *(fact for facts in generated_facts().values() for fact in facts)]


def test_corpus_keeps_its_shares_and_never_answers_in_the_target_language() -> None:
    from itertools import islice

    def length(document: corpus.Document) -> int:
        return len(document.text) + len(document.answer or "")

    documents = list(islice(corpus.documents(seed=3, length=length), 4000))
    english = {text for fact in every_fact() for text in corpus.english_answers(fact)}
    chats = [document for document in documents if document.answer is not None]
    assert len(chats) > 1000
    assert all(document.answer in english for document in chats)
    questions = {row.prompts["sw"] for row in cldr_rows("train", ["en", "sw"])}
    assert any(document.text in questions for document in chats)
    styles = Counter(document.answer[:7] for document in chats if document.answer)
    assert styles["It is a"] + sum(count for start, count in styles.items() if start.startswith("It is ")) > 100
    assert sum(corpus.shares().values()) == pytest.approx(1.0)
    assert corpus.shares()["text.zh"] > corpus.shares()["text.id"] > corpus.shares()["text.sw"]
    again = list(islice(corpus.documents(seed=3, length=length), 4000))
    assert again == documents
    assert list(islice(corpus.documents(seed=4, length=length), 50)) != documents[:50]


def test_every_fact_is_met_equally_often() -> None:
    import random

    deck = corpus.Deck(list(closed_facts()), random.Random(0))
    counts = Counter(deck.deal().id for _ in range(2 * len(closed_facts())))
    assert set(counts.values()) == {2}


def test_learning_rate_rises_stays_and_falls() -> None:
    from clo.nano.pretrain import rate

    factors = [rate(step, 1000) for step in range(1000)]
    assert factors[0] == pytest.approx(0.01)
    assert factors[99] == factors[599] == 1.0
    assert factors[800] == pytest.approx(0.5)
    assert 0 < factors[-1] < 0.01


def test_a_build_is_deterministic_also_when_it_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from safetensors.torch import load_file

    from clo.nano.build import build

    lines: list[str] = []
    build(tmp_path / "a", seed=1, steps=3, say=lines.append)
    build(tmp_path / "c", seed=2, steps=3, say=lines.append)
    clip, calls = torch.nn.utils.clip_grad_norm_, [0]

    def deadly(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == 3:
            raise KeyboardInterrupt
        return clip(*args, **kwargs)

    monkeypatch.setattr("clo.nano.pretrain.KEPT", 2)
    monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", deadly)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "b", seed=1, steps=3, say=lines.append)
    build(tmp_path / "b", seed=1, steps=3, say=lines.append)
    assert "goes on after step 2" in lines and not list(tmp_path.rglob("*.pt"))
    first, second, other = (load_file(tmp_path / folder / "model.safetensors") for folder in "abc")
    assert all(first[name].equal(second[name]) for name in first)
    assert not all(first[name].equal(other[name]) for name in first)
    assert (tmp_path / "a" / "tokenizer.json").read_bytes() == (WEIGHTS / "tokenizer.json").read_bytes()
    assert "Not measured." in (tmp_path / "a" / "README.md").read_text(encoding="utf-8")
    assert any(" to go" in line for line in lines)
