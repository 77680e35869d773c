"""Decoding with rows that leave and enter: the tokens of one-by-one decoding, for every kind of model."""

from __future__ import annotations

import inspect
import json
import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import tiny_model

from clo.evaluation import generate as generation
from clo.evaluation.decode import Limits, _likeliest, decode, decodes
from clo.evaluation.generate import generate
from clo.evaluation.loops import REPEATS, TOKENS, go_round, loop_of, looped
from clo.evaluation.subject import Subject

STEPWISE = (
    *("llama", "mistral", "qwen3", "gemma2", "gemma3_text", "gpt2", "gpt_neox"),
    *("olmo2", "cohere2", "smollm3", "mixtral", "exaone4"),
)
OWN = ("mamba", "bloom", "mpt", "llama4_text", "phi3")
ENDS = [*range(0, 60, 2)]
ROOM = 9


class Ids:
    """A text is the list of its tokens."""

    def decode(self, ids: list[int], **_: Any) -> str:
        return json.dumps(ids)


def subject(model: Any, forward: int = 8192) -> Subject:
    renderer = SimpleNamespace(tokenizer=Ids(), ends=lambda own: ENDS)
    return Subject(model, renderer, forward)  # type: ignore[arg-type]


def some_prompts(count: int = 17, longest: int = 14) -> list[list[int]]:
    draw = random.Random(0)
    return [[draw.randrange(300) for _ in range(draw.randint(1, longest))] for _ in range(count)]


def lively(family: str, **settings: Any) -> Any:
    """A tiny model whose next token hangs on all that it has read; some of its answers end, and some do not."""
    from transformers import AutoModelForCausalLM

    config = tiny_model(family).config
    for name, value in settings.items():
        setattr(config, name, value)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.copy_(torch.randn_like(weight) * (0.05 if "emb" in name or "wte" in name else 0.4))
    return model


def alone(model: Any, prompt: list[int], room: int = ROOM) -> list[int]:
    """Argmax without cache, padding or company."""
    ids = list(prompt)
    while len(ids) < len(prompt) + room:
        with torch.no_grad():
            token = int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        if token in ENDS:
            break
        ids.append(token)
    return ids[len(prompt) :]


@pytest.mark.parametrize("family", [*STEPWISE, *OWN])
def test_every_family_answers_as_one_by_one_in_the_way_that_its_kind_allows(family: str) -> None:
    model, prompts = lively(family), some_prompts(9)
    assert decodes(model) is (family in STEPWISE)
    wanted = [alone(model, prompt) for prompt in prompts]
    assert len(set(map(tuple, wanted))) > 3
    for budget, forward in ((70, 20), (16384, 8192)):
        answers = generate(subject(model, forward), prompts, ROOM, budget)
        assert [json.loads(answer.text) for answer in answers] == wanted


@pytest.mark.parametrize("window", [2, 3, 6, 12])
def test_windows_of_any_size_keep_their_rows_apart(window: int) -> None:
    """Rows shorter and longer than the window enter, leave, and cross it while they are in the batch."""
    model = lively("gemma3_text", sliding_window=window, layer_types=["sliding_attention", "full_attention"])
    assert [layer.self_attn.sliding_window for layer in model.model.layers] == [window, None]
    prompts = some_prompts(12, 20)
    assert decodes(model)
    wanted = [alone(model, prompt, 14) for prompt in prompts]
    for budget in (60, 120, 16384):
        answers = generate(subject(model, 24), prompts, 14, budget)
        assert [json.loads(answer.text) for answer in answers] == wanted


def test_a_finished_row_leaves_and_a_waiting_one_enters(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively("llama")
    prompts = sorted(some_prompts(20), key=len, reverse=True)
    wanted = [alone(model, prompt) for prompt in prompts]
    assert 5 < sum(len(ids) < ROOM for ids in wanted) < 18
    forward, sizes = model.forward, []

    def seen(*args: Any, **kwargs: Any) -> Any:
        sizes.append(tuple(kwargs["input_ids"].shape))
        return forward(*args, **kwargs)

    seen.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    monkeypatch.setattr(model, "forward", seen)
    told: list[int] = []
    budget = 8 * (len(prompts[0]) + ROOM)
    with torch.no_grad():
        said = decode(model, prompts, Limits(ENDS, [ROOM] * 20, budget, 8192), told.append)
    assert [one.ids for one in said] == wanted
    assert told == sorted(set(told)) and told[-1] == 20
    entered = [rows for rows, width in sizes if width > 1]
    steps = [rows for rows, width in sizes if width == 1]
    assert len(entered) > 3 and len(set(steps)) > 3  # the batch shrinks and grows
    assert sum(entered) + sum(steps) <= sum(map(len, wanted)) + 20  # no row is computed after its end


def test_the_first_of_equal_logits_is_taken() -> None:
    torch.manual_seed(0)
    for words in (48, 300, 4096, 128256):
        logits = torch.randint(0, 50, (5, words)).to(torch.bfloat16)
        wanted = [row.index(max(row)) for row in logits.tolist()]
        assert _likeliest(logits) == wanted


def test_what_counts_as_a_loop() -> None:
    assert loop_of([7] * TOKENS) == 1 and loop_of([7] * (TOKENS - 1)) == 0
    block = list(range(20, 31))
    assert loop_of([1, 2, *block * REPEATS]) == 11
    assert loop_of([1, 2, *block * (REPEATS - 1), *block[:-1]]) == 0
    assert loop_of([*block * REPEATS, 99]) == 0 and looped([*block * REPEATS, 99])
    assert go_round([1, *[5, 6] * 16], 36) == [1, *[5, 6] * 17, 5]


LEGITIMATE = (
    "1. Apples\n2. Pears\n3. Plums\n4. Cherries\n5. Grapes\n6. Figs\n7. Dates\n8. Kiwis\n9. Limes\n10. Mangoes\n",
    "| Name | Age | Town |\n|---|---|---|\n| Ann | 31 | Bonn |\n| Bob | 31 | Bonn |\n| Cem | 31 | Bonn |\n",
    "- yes\n- no\n- yes\n- no\n- yes\n- no\n",
    "A septillion is 1000000000000000000000000.",
    "ha ha ha ha ha ha ha",
    "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily, life is but a dream.",
    "for i in range(3):\n    for j in range(3):\n        for k in range(3):\n            print(i, j, k)\n",
    "2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46, 48, 50",
    "=" * 30,
)


@pytest.mark.parametrize("text", LEGITIMATE)
def test_lists_tables_and_rhymes_are_no_loops(text: str) -> None:
    """By characters, the finest tokens that there are, and by the embedded model's own."""
    from clo.config import ModelConfig
    from clo.model.load import load_tokenizer

    assert not looped(list(text.encode()))
    assert not looped(load_tokenizer(ModelConfig("nano", "nano")).encode(text))


@pytest.mark.parametrize("stepwise", [True, False])
def test_an_answer_in_a_loop_is_not_computed_to_its_end(stepwise: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is that of the model's own generate, of as many tokens as were asked for."""
    model = tiny_model("llama").float()
    with torch.no_grad():
        for weight in (layer.self_attn.o_proj.weight for layer in model.model.layers):
            weight.zero_()  # the next token hangs on the last one alone: every answer ends in a loop
    monkeypatch.setattr("clo.evaluation.decode.decodes", lambda _: stepwise)
    counted: list[int] = []
    model.register_forward_hook(lambda *_: counted.append(1))
    renderer = SimpleNamespace(tokenizer=Ids(), ends=lambda own: [399])
    (answer,) = generate(Subject(model, renderer), [[4, 8]], 200)  # type: ignore[arg-type]
    ids, passes = json.loads(answer.text), len(counted)
    assert len(ids) == 200 and answer.looped
    assert ids[2:] == [int(model(torch.tensor([[token]])).logits[0, -1].argmax()) for token in ids[1:-1]]
    assert (passes < 200) is stepwise


def test_adapters_take_part(monkeypatch: pytest.MonkeyPatch) -> None:
    from peft import LoraConfig, get_peft_model

    model, prompts = lively("gemma3_text"), some_prompts(6)
    adapted = get_peft_model(model, LoraConfig(target_modules=["q_proj"], r=4, init_lora_weights=False)).eval()
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            weight.mul_(5 if "lora_" in name else 1)
    assert decodes(adapted)
    stepwise = generate(subject(adapted), prompts, ROOM)
    monkeypatch.setattr("clo.evaluation.decode.decodes", lambda _: False)
    assert generate(subject(adapted), prompts, ROOM) == stepwise
    with adapted.disable_adapter():
        assert generate(subject(adapted), prompts, ROOM) != stepwise


def test_a_part_that_is_kept_is_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompts = lively("llama"), some_prompts(20, 4)
    parts: list[int] = []

    class Log:
        def known(self) -> dict[int, Any]:
            return {}

        def add(self, answers: dict[int, Any]) -> None:
            parts.append(len(answers))

    generate(subject(model), prompts, ROOM, 2 * (4 + ROOM), None, Log())  # type: ignore[arg-type]
    assert sum(parts) == 20 and parts[0] == 2 * generation.KEPT


def test_other_memories_than_keys_and_values_are_left_to_the_model() -> None:
    """A hybrid of recurrent layers and attention; a tower for images beside the decoder."""
    from conftest import tiny_with_images

    assert not decodes(tiny_model("recurrent_gemma", layers=3))
    assert not decodes(tiny_with_images())
