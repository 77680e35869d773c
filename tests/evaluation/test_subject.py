"""Everything that a score or an answer depends on is part of the one key that every cache goes by."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import CHAT, byte_level_tokenizer, tiny_model

from clo.data.prompt import Renderer
from clo.evaluation.subject import Subject
from clo.square.reference import weights_key


def key(model: Any, precision: str = "32-true", template: str = CHAT, **given: Any) -> str:
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = template
    return Subject(model, Renderer(tokenizer, "chat", **given)).key(precision)


def changed(**values: Any) -> Any:
    model = tiny_model()
    for name, value in values.items():
        setattr(model.config, name, value)
    return model


def test_the_same_model_has_the_same_key_wherever_it_lies() -> None:
    assert key(tiny_model()) == key(tiny_model())
    assert key(changed(_name_or_path="elsewhere", transformers_version="9", use_cache=False)) == key(tiny_model())
    tokenizer = byte_level_tokenizer()
    render = Renderer(tokenizer, "chat")
    before = render.identity()
    tokenizer(["a", "a b c"], padding=True, truncation=True, max_length=2)  # leaves its settings in the tokenizer
    assert Renderer(tokenizer, "chat").identity() == before


@pytest.mark.parametrize(
    "values",
    [
        {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
        {"rms_norm_eps": 1e-3},
        {"sliding_window": 8},
        {"final_logit_softcapping": 30.0},
    ],
)
def test_the_configuration_decides(values: dict[str, Any]) -> None:
    assert key(changed(**values)) != key(tiny_model())
    assert weights_key(changed(**values), "32-true") != weights_key(tiny_model(), "32-true")


def test_the_rendering_decides() -> None:
    keys = {
        key(tiny_model()),
        key(tiny_model(seed=1)),
        key(tiny_model(), "bf16-mixed"),
        key(tiny_model(), end_of_turn="<|user|>"),
        key(tiny_model(), settings={"enable_thinking": False}),
        key(tiny_model(), template=CHAT.replace("{{ m['content'] }}", " {{ m['content'] }}")),
        key(tiny_model(), template=CHAT + "{{ strftime_now('%d') }}", date="2024-07-26", end_of_turn="<|end|>"),
        key(tiny_model(), template=CHAT + "{{ strftime_now('%d') }}", date="2024-07-27", end_of_turn="<|end|>"),
    }
    assert len(keys) == 8


def test_the_libraries_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(tiny_model())
    monkeypatch.setattr("clo.square.reference.version", lambda name: "0" if name == "transformers" else "1")
    assert key(tiny_model()) != before
