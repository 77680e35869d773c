"""Batched greedy decoding against one-by-one decoding, on tiny random models."""

from __future__ import annotations

import random
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from clo.evaluation.generate import _batches
from clo.evaluation.generate import generate as answers_of
from clo.evaluation.subject import Subject

END = 3
VOCAB = 48


class Letters:
    """Token id -> one character; id 0 is special."""

    def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        return "".join(chr(200 + i) for i in ids if not (skip_special_tokens and i == 0))


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        initializer_range=0.5,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config).float()


@pytest.fixture
def prompts() -> list[list[int]]:
    """23 prompts of 1 to 12 tokens, some of which contain the end token."""
    generator = random.Random(0)
    return [[generator.randrange(VOCAB) for _ in range(generator.randint(1, 12))] for _ in range(23)]


def subject(model: Any, tokenizer: Any) -> Subject:
    return Subject(model, SimpleNamespace(tokenizer=tokenizer, ends=lambda own: [END]))  # type: ignore[arg-type]


def generate(*asked: Any) -> list[str]:
    """Texts alone."""
    return [answer.text for answer in answers_of(*asked)]


def naive(model: Any, prompt: list[int], max_new_tokens: int) -> str:
    """Argmax without cache, padding or ``generate``."""
    ids, new = list(prompt), []
    for _ in range(max_new_tokens):
        token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
        if token == END:
            break
        ids.append(token)
        new.append(token)
    return Letters().decode(new, skip_special_tokens=True)


@pytest.mark.parametrize("max_tokens", [1, 60, 200, 16384])
def test_equals_one_by_one(model: LlamaForCausalLM, prompts: list[list[int]], max_tokens: int) -> None:
    model.eval()
    with torch.no_grad():
        wanted = [naive(model, prompt, 9) for prompt in prompts]
    assert len(set(map(len, wanted))) > 2  # some stop early, some run to the limit
    assert generate(subject(model, Letters()), prompts, 9, max_tokens) == wanted


def test_settings_of_the_checkpoint_do_not_matter(
    model: LlamaForCausalLM, prompts: list[list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    plain = generate(subject(model, Letters()), prompts, 9)
    shipped = model.generation_config
    shipped.update(do_sample=True, temperature=0.2, top_p=0.5, repetition_penalty=3.0, min_new_tokens=9, max_length=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert generate(subject(model, Letters()), prompts, 9) == plain
    assert not caplog.records
    assert model.generation_config is shipped


@pytest.mark.parametrize("training", [True, False])
def test_leaves_the_model_as_it_was(model: LlamaForCausalLM, prompts: list[list[int]], training: bool) -> None:
    model.train(training)
    model.model.layers[0].train(not training)
    generate(subject(model, Letters()), prompts[:2], 3)
    assert model.training is training
    assert model.model.layers[0].training is not training
    assert model.model.layers[1].training is training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    loss = model(torch.tensor([prompts[0]])).logits.sum()
    loss.backward()  # nothing of inference is left behind in buffers


def test_restores_after_an_error(model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: Any) -> None:
        raise RuntimeError("out of memory")

    config = model.generation_config
    model.train()
    monkeypatch.setattr(model, "forward", broken)
    with pytest.raises(RuntimeError):
        generate(subject(model, Letters()), [[5]], 3)
    assert model.training
    assert model.generation_config is config


def test_dropout_is_off(model: LlamaForCausalLM, prompts: list[list[int]]) -> None:
    wanted = generate(subject(model, Letters()), prompts, 6)
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    model.train()
    assert generate(subject(model, Letters()), prompts, 6) == wanted


def test_peft_model(model: LlamaForCausalLM, prompts: list[list[int]]) -> None:
    from peft import LoraConfig, get_peft_model

    base = generate(subject(model, Letters()), prompts, 6)
    config = LoraConfig(target_modules=["q_proj", "v_proj"], r=4, lora_dropout=0.5, init_lora_weights=False)
    adapted = get_peft_model(model, config).train()
    answers = generate(subject(adapted, Letters()), prompts, 6)
    adapted.eval()
    with torch.no_grad():
        assert answers == [naive(adapted, prompt, 6) for prompt in prompts]
    assert answers != base
    with adapted.disable_adapter():
        assert generate(subject(adapted, Letters()), prompts, 6) == base


def test_progress_ends_at_the_total(model: LlamaForCausalLM, prompts: list[list[int]]) -> None:
    calls: list[tuple[int, int]] = []
    generate(subject(model, Letters()), prompts, 3, 60, lambda done, total: calls.append((done, total)))
    assert [total for _, total in calls] == [23] * len(calls)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert calls[-1] == (23, 23)
    assert len(calls) > 3


def test_batches_keep_the_budget_and_every_prompt() -> None:
    lengths = [random.Random(k).randint(1, 40) for k in range(100)]
    batches = _batches(lengths, 10, 200)
    assert sorted(k for batch in batches for k in batch) == list(range(100))
    assert all(len(batch) * (max(lengths[k] for k in batch) + 10) <= 200 for batch in batches)
    assert len(batches) <= 1.2 * sum(length + 10 for length in lengths) / 200 + 2
    assert _batches([500, 1], 10, 200) == [[0], [1]]
    assert _batches([], 10, 200) == []


def test_empty_prompt_is_refused(model: LlamaForCausalLM) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        generate(subject(model, Letters()), [[5], []], 3)
    assert generate(subject(model, Letters()), [], 3) == []


@pytest.mark.slow
def test_speed_is_at_least_that_of_the_models_own_batched_generate() -> None:
    """Prompts of uneven lengths, equal answers; the model's own generate takes them in file order, 16 at a time."""
    import time

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=400, hidden_size=128, intermediate_size=256, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, bos_token_id=None, eos_token_id=END, pad_token_id=END,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    draw = random.Random(0)
    asked = [[draw.randrange(1, 400) for _ in range(draw.choice((8, 20, 60, 200)))] for _ in range(64)]

    def own() -> list[list[int]]:
        found = []
        for start in range(0, len(asked), 16):
            batch = asked[start : start + 16]
            width = max(map(len, batch))
            ids = torch.tensor([[END] * (width - len(p)) + p for p in batch])
            mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in batch])
            with torch.no_grad():
                out = model.generate(
                    input_ids=ids, attention_mask=mask, max_new_tokens=24, do_sample=False, pad_token_id=END
                )
            found += [row[width:] for row in out.tolist()]
        return found

    class Ids:
        def decode(self, ids: list[int], **_: object) -> str:
            return " ".join(map(str, ids))

    ratios = []
    for _ in range(4):
        began = time.perf_counter()
        theirs = own()
        middle = time.perf_counter()
        ours = generate(subject(model, Ids()), asked, 24, 16 * 224)
        ratios.append((middle - began) / (time.perf_counter() - middle))
        cut = [row[: row.index(END)] if END in row else row for row in theirs]
        assert ours == [" ".join(map(str, row)) for row in cut]
    print(f"generation against the model's own batched generate: {sorted(ratios)[len(ratios) // 2]:.2f}")
    assert max(ratios) >= 1.0
