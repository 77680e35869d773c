"""What a chat template closes an answer with, the settings that it reads, and the day that it writes."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import CHAT, byte_level_tokenizer

from clo.data.prompt import Renderer
from clo.errors import UserError

GEMMA = (
    "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else 'user') }}"
    "{{ '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
QWEN3 = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{% endif %}"
)
LLAMA3 = (
    "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "{{ 'Today is ' + date_string }}"
) + CHAT


def tokenizer_with(template: str, *tokens: str) -> Any:
    tokenizer = byte_level_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(tokens)})
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize(
    ("template", "settings", "end"),
    [
        (CHAT, {}, "<|end|>"),
        (GEMMA, {}, "<end_of_turn>"),
        (QWEN3, {"enable_thinking": False}, "<|im_end|>"),
        (CHAT.replace("<|end|>", "<|end|><|user|>"), {}, "<|end|>"),  # the first of several
        (CHAT.replace("{{ '<|end|>' }}", " \n{{ eos_token }}"), {}, "<|end|>"),
    ],
)
def test_the_end_is_what_the_template_closes_an_answer_with(template: str, settings: Any, end: str) -> None:
    tokenizer = tokenizer_with(template, "<start_of_turn>", "<end_of_turn>", "<|im_start|>", "<|im_end|>")
    render = Renderer(tokenizer, "chat", settings=settings)
    assert tokenizer.convert_ids_to_tokens(render.end_id) == end
    assert render.response_ids("Embe.")[-1] == render.end_id
    assert Renderer(tokenizer, "{prompt}").end_id == tokenizer.eos_token_id  # a text template knows no other


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (CHAT.replace("<|end|>", ""), r"closes an answer with '', .*; set model\.end_of_turn"),
        (CHAT.replace("<|end|>", "\n###"), r"closes an answer with '###', .*; set model\.end_of_turn"),
        (
            CHAT.replace("{{ m['content'] }}", "{{ messages[0]['content'] }}"),
            r"loses the answer; set model\.end_of_turn",
        ),
        (QWEN3, r"writes one after .*</think>.*\+model\.template_kwargs\.enable_thinking=false"),
        (
            CHAT.replace("'<|assistant|>' }}{% endif", "'<|assistant|><think>' }}{% endif"),
            "asks for an answer with .*<think>",
        ),
    ],
)
def test_an_end_that_cannot_be_told_is_refused(template: str, said: str) -> None:
    tokenizer = tokenizer_with(template, "<|im_start|>", "<|im_end|>")
    with pytest.raises(UserError, match=said) as caught:
        Renderer(tokenizer, "chat")
    assert "\n" not in str(caught.value)
    assert Renderer(tokenizer, "chat", "<|user|>").end_id == tokenizer.convert_tokens_to_ids("<|user|>")  # the way out


def test_a_thinking_template_asks_with_an_empty_thought() -> None:
    render = Renderer(tokenizer_with(QWEN3, "<|im_start|>", "<|im_end|>"), "chat", settings={"enable_thinking": False})
    assert render.tokenizer.decode(render.prompt_ids("Taja tunda.")).endswith("assistant\n<think>\n\n</think>\n\n")
    other = Renderer(render.tokenizer, "chat", "<|im_end|>", {"enable_thinking": True})
    assert render.identity() != other.identity()


def test_the_day_is_pinned_or_refused() -> None:
    tokenizer = tokenizer_with(LLAMA3)
    with pytest.raises(UserError, match=r"writes today's date.*model\.date=YYYY-MM-DD"):
        Renderer(tokenizer, "chat")
    render = Renderer(tokenizer, "chat", date="2024-07-26")
    assert render.tokenizer.decode(render.prompt_ids("a")).startswith("Today is 26 Jul 2024<|user|>a")
    assert render.identity() != Renderer(tokenizer, "chat", date="2024-07-27").identity()
    given = Renderer(tokenizer, "chat", settings={"date_string": "1 Jan 2020"})  # asks for no day then
    assert given.tokenizer.decode(given.prompt_ids("a")).startswith("Today is 1 Jan 2020")
    tokenizer.chat_template = render.chat.text  # as an exported folder keeps it
    assert Renderer(tokenizer, "chat").prompt_ids("a") == render.prompt_ids("a")
    tokenizer.chat_template = LLAMA3.replace("strftime_now('%d %b %Y')", "strftime_now('%d' ~ ' %b')")
    with pytest.raises(UserError, match="computes the form of its date"):
        Renderer(tokenizer, "chat", date="2024-07-26")


def test_an_end_that_the_model_does_not_know_is_said() -> None:
    tokenizer = tokenizer_with(GEMMA, "<start_of_turn>", "<end_of_turn>")
    render = Renderer(tokenizer, "chat")
    assert render.said_of_ends([0, render.end_id]) is None and render.said_of_ends(render.end_id) is None
    for own in (None, 0, [0]):
        said = render.said_of_ends(own)
        assert said is not None and "ends with <end_of_turn>" in said and said.endswith("end with <|end|>")
    assert Renderer(tokenizer, "{prompt}").said_of_ends(None) is None


def test_marks_of_turns_that_cannot_be_split_are_refused_in_texts() -> None:
    """Some tokenizers do not call the tokens of their turns special: those of a text cannot be told from them."""
    from tokenizers import AddedToken

    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens([AddedToken("<|U|>", special=False), AddedToken("<think>", special=False)])
    tokenizer.chat_template = CHAT.replace("<|user|>", "<|U|>")
    render = Renderer(tokenizer, "chat")
    for made in (render.prompt_ids, render.response_ids):
        with pytest.raises(
            UserError, match=r"holds the control token '<\|U\|>', which this tokenizer cannot read as text"
        ):
            made("Taja <|U|> tunda.")
        assert made("a <think> b")  # no turn


def test_an_answer_ends_where_the_template_ends_it() -> None:
    """A model that has learnt whole dialogues by heart writes a new turn after its answer, and no end of a sequence."""
    import torch
    from conftest import tiny_model

    from clo.evaluation.answer_log import Answer
    from clo.evaluation.generate import generate
    from clo.evaluation.subject import Subject

    tokenizer = tokenizer_with(GEMMA.replace("{{ bos_token }}", ""), "<start_of_turn>", "<end_of_turn>")
    render, eos = Renderer(tokenizer, "chat"), Renderer(tokenizer, "chat", "<|end|>")
    prompt = render.prompt_ids("Taja tunda.")
    dialogue = [*prompt, *render.response_ids("Embe ni tunda."), *tokenizer.encode("\n"), *prompt]
    model, ids = tiny_model(), torch.tensor([dialogue])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(60):
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    assert generate(Subject(model, render), [prompt], 40) == [Answer("Embe ni tunda.", False, False)]
    (on,) = generate(Subject(model, eos), [prompt], 40)
    assert on.text.startswith("Embe ni tunda.") and "Taja" in on.text  # what the end of a sequence alone would give
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, render.end_id]
    assert generate(Subject(model, eos), [prompt], 40) == [
        Answer("Embe ni tunda.", False, False)
    ]  # as servers that read its settings
