"""Tiny models and tokenizers made on the spot, fake parallel rows, and the place of the real ones."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import KEY
from warm_runs import WarmRuns

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

TEXTS = [
    ("What is the capital of Kenya?", "The capital is Nairobi.", "Mji mkuu wa Kenya ni upi?", "Mji mkuu ni Nairobi."),
    ("Name a fruit.", "An apple is a fruit that grows on trees.", "Taja tunda.", "Embe ni tunda."),
    ("How many days has a week?", "A week has seven days.", "Wiki ina siku ngapi?", "Wiki ina siku saba kwa jumla."),
    ("Say hello.", "Hello, good morning to you.", "Sema jambo.", "Hujambo, habari ya asubuhi."),
    ("Who teaches?", "A teacher teaches the children.", "Nani hufundisha?", "Mwalimu hufundisha watoto."),
    ("What is water?", "Water is what we drink.", "Maji ni nini?", "Maji ni kinywaji tunachokunywa kila siku."),
]
CHAT = (
    "{% for m in messages %}{{ '<|user|>' if m['role'] == 'user' else '<|assistant|>' }}{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def rows() -> list[Any]:
    from clo.data.rows import Row

    return [
        Row(
            f"r{k}",
            {"en": a, "sw": c},
            {"en": b, "sw": d},
            {"en": b.split()[-1].strip("."), "sw": d.split()[-1].strip(".")},
        )
        for k, (a, b, c, d) in enumerate(TEXTS)
    ]


def byte_level_tokenizer(chat: bool = True) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<|end|>", "<|user|>", "<|assistant|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    core.train_from_iterator([text for row in TEXTS for text in row], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", pad_token="<|end|>")
    tokenizer.chat_template = CHAT if chat else None
    return tokenizer


def metaspace_tokenizer() -> Any:
    """Like a sentencepiece tokenizer: BOS, word-initial markers, a text encoded alone gets a leading space."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=["<unk>", "<s>", "</s>"])
    core.train_from_iterator([text for row in TEXTS for text in row], trainer)
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def tiny_model(family: str = "llama", seed: int = 0, vocab: int = 400, layers: int = 2) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        family,
        vocab_size=vocab,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    return AutoModelForCausalLM.from_config(config).eval()


def tiny_with_images() -> Any:
    """A Gemma 3 with its tower for images."""
    import torch
    from transformers import AutoModelForCausalLM, Gemma3Config

    torch.manual_seed(0)
    text: dict[str, Any] = dict(
        vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8,
    )  # fmt: skip
    sight: dict[str, Any] = dict(
        hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    config = Gemma3Config(text_config=text, vision_config=sight, mm_tokens_per_image=4)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama with its tokenizer, as a Hugging Face folder."""
    path = tmp_path_factory.mktemp("tiny")
    tiny_model().save_pretrained(path)
    byte_level_tokenizer().save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def random_nano() -> tuple[Any, Any]:
    """A random Llama with the nano model's tokenizer and a window that the prompts fit."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from clo.nano import WEIGHTS

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(WEIGHTS)
    config.num_hidden_layers, config.hidden_size, config.intermediate_size = 2, 64, 96
    config.head_dim, config.num_attention_heads, config.num_key_value_heads = 16, 4, 2
    config.max_position_embeddings, config.initializer_range = 2048, 0.2
    return AutoModelForCausalLM.from_config(config).eval(), AutoTokenizer.from_pretrained(WEIGHTS)


@pytest.fixture(scope="session")
def demo_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole report of the fixture study; the folder of the report."""
    from report_fixture import write_study

    from clo.report.make import make_report

    outputs = tmp_path_factory.mktemp("report") / "outputs"
    write_study(outputs / "demo")
    return make_report("demo", outputs).parent


@pytest.fixture(scope="session")
def m2m100(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer M2M100 with a real sentencepiece tokenizer."""
    import sentencepiece
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration, M2M100Tokenizer

    folder = tmp_path_factory.mktemp("m2m100")
    text = folder / "text.txt"
    text.write_text(
        "\n".join(f"this is sentence number {k} about cats, dogs and houses in town {k * 7}" for k in range(400))
    )
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "spm"), vocab_size=120, bos_id=0, pad_id=1, eos_id=2, unk_id=3
    )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    vocabulary = {processor.id_to_piece(k): k for k in range(processor.get_piece_size())}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    files = (str(folder / "vocab.json"), str(folder / "spm.model"))
    languages = list(M2M100Tokenizer(*files).lang_code_to_token.values())
    tokenizer = M2M100Tokenizer(*files, additional_special_tokens=languages, src_lang="en")
    torch.manual_seed(0)
    config = M2M100Config(
        vocab_size=len(vocabulary) + 108, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=256,
        bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2,
    )  # fmt: skip
    model = M2M100ForConditionalGeneration(config)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder / "model"


def pytest_collection_finish() -> None:
    """What is imported by now stays: every later look of the garbage collector is spared a million objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def process_settings() -> Iterator[None]:
    """Runs in this process set numerics for the whole of it; the next test finds the usual ones."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(False)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client for the servers of servers.py: their key, nobody's address or proxy, hardly a wait between tries."""
    import clo.server.client

    for name in ("OPENAI_BASE_URL", "CLO_JUDGE_MODEL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(clo.server.client, "BACK_OFF", 0.01)


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmRuns]:
    """Runs of the command line without the seconds of importing torch: see tests/warm_runs.py."""
    with WarmRuns() as runs:
        yield runs


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real parallel text and evaluation rows, beside the project."""
    path = Path(os.environ.get("CLO_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"needs the real rows in {path} (or set CLO_SHARED_DATA)")
    return path


@pytest.fixture(scope="session")
def real_model() -> Path:
    """A real model of 270 million parameters, for the slow tests of tests/real."""
    named = os.environ.get("CLO_REAL_MODEL")
    if not named or not (Path(named) / "config.json").is_file():
        pytest.skip("needs the folder of google/gemma-3-270m as the hub has it; name it by CLO_REAL_MODEL=<folder>")
    return Path(named)
