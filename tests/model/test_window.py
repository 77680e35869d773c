"""How long a text a model reads: windows, rotary embeddings that switch for a whole batch, tokens it lacks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import byte_level_tokenizer, rows, tiny_model

from clo.config import ModelConfig
from clo.data.prompt import Renderer
from clo.errors import UserError
from clo.evaluation.evaluate import reference_nll
from clo.evaluation.generate import generate
from clo.evaluation.subject import Subject
from clo.model.load import load_model
from clo.model.window import check_max_length, longest_of, steady_length, window_of


def config(**values: Any) -> Any:
    return SimpleNamespace(**{"max_position_embeddings": 4096, **values})


@pytest.mark.parametrize(
    ("values", "steady"),
    [
        ({}, None),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, None),
        ({"rope_parameters": {"rope_type": "llama3", "original_max_position_embeddings": 1024}}, None),
        ({"rope_parameters": {"rope_type": "longrope", "original_max_position_embeddings": 1024}}, 1024),
        ({"rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 512}, 512),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, 4096),
        ({"rope_parameters": {"a": {"rope_type": "default"}, "b": {"rope_type": "dynamic", "factor": 2.0}}}, 4096),
    ],
)
def test_positions_that_mean_the_same_in_any_company(values: dict[str, Any], steady: int | None) -> None:
    made = config(**values)
    assert steady_length(made) == steady and longest_of(made) == (steady or 4096)
    check_max_length("x", made, steady or 4096)
    with pytest.raises(UserError, match=rf"model\.max_length=4097.*set it to at most {steady or 4096}$"):
        check_max_length("x", made, 4097)
    if steady is not None and steady < 4096:
        with pytest.raises(UserError, match=rf"others for every text in the batch.*set it to at most {steady}$"):
            check_max_length("x", made, steady + 1)


def test_a_longrope_model_is_refused_beyond_its_safe_length(tmp_path: Path) -> None:
    """The kind: one long item in a micro-batch changes the scores of the short ones beside it."""
    from transformers import Phi3Config, Phi3ForCausalLM

    torch.manual_seed(0)
    rope: Any = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 64}
    rope |= {"short_factor": [1.0] * 4, "long_factor": [40.0] * 4}
    model = Phi3ForCausalLM(
        Phi3Config(
            vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, original_max_position_embeddings=64,
            rope_parameters=rope,
            initializer_range=0.3, pad_token_id=0, eos_token_id=0,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        ids, longer = torch.randint(1, 400, (1, 20)), torch.randint(1, 400, (1, 80))
        alone = model(input_ids=ids).logits[0]
        beside = model(input_ids=torch.cat([torch.nn.functional.pad(ids, (0, 60)), longer])).logits[0, :20]
    assert float((alone - beside).abs().max()) > 0.1  # this is why
    model.save_pretrained(tmp_path)
    assert load_model(ModelConfig(path=str(tmp_path), max_length=64))
    with pytest.raises(UserError, match=r"set it to at most 64$"):
        load_model(ModelConfig(path=str(tmp_path), max_length=65))


def gpt2(positions: int = 60) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=400, n_positions=positions, n_embd=16, n_layer=2, n_head=2, bos_token_id=None, eos_token_id=0
    )
    return GPT2LMHeadModel(config).eval()


def subject(model: Any) -> Subject:
    return Subject(model, Renderer(byte_level_tokenizer(), "chat", "<|user|>"))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_an_answer_ends_where_the_window_does(family: str) -> None:
    """GPT-2 has no position beyond it, and a Llama answers on, in positions that it never learnt."""
    model = gpt2() if family == "gpt2" else tiny_model()
    model.config.max_position_embeddings = 60
    assert window_of(model.config) == 60
    under = subject(model)
    under.renderer.ends = lambda own: [399]  # type: ignore[method-assign]  # an answer that never ends
    ids = under.renderer.prompt_ids("Taja tunda.")
    (said,) = generate(under, [ids], 500)  # a tokenizer of 320 tokens gives nothing for the rest of 400
    assert len(under.renderer.tokenizer.encode(said.text)) < 120
    with pytest.raises(UserError, match=r"prompt 2 \('.+' …\) has 61 tokens, more than the 60 that the model"):
        generate(under, [ids, [*ids, *[5] * (60 - len(ids))]], 4)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_test_rows_that_the_model_cannot_read_are_told(family: str) -> None:
    model = gpt2(12) if family == "gpt2" else tiny_model()
    model.config.max_position_embeddings = 12
    with pytest.raises(UserError, match=r"test row \S+ \(sw\) has \d+ tokens, more than the 12 that the model reads"):
        reference_nll(subject(model), rows(), "sw")
    with pytest.raises(UserError, match=r"test row \S+ \(sw\) holds token \d+, but the model has 100 embeddings"):
        reference_nll(subject(tiny_model(vocab=100)), rows(), "sw")


@pytest.mark.parametrize("tied", [True, False])
def test_an_adapter_with_more_embeddings_is_a_start_model(tmp_path: Path, tied: bool) -> None:
    from peft import LoraConfig, get_peft_model

    base = tiny_model()
    base.config.tie_word_embeddings = tied
    base.tie_weights()
    base.save_pretrained(tmp_path / "base")
    base.config._name_or_path = base.name_or_path = str(tmp_path / "base")
    base.resize_token_embeddings(408, mean_resizing=False)
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False))
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=True)
    loaded = load_model(ModelConfig(path=str(tmp_path / "adapter"), max_length=200))
    ids = torch.tensor([[3, 405, 9]])
    with torch.no_grad():
        torch.testing.assert_close(loaded(input_ids=ids).logits, model.eval()(input_ids=ids).logits)
