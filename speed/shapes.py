"""What is measured: three shapes of Llama with random weights, and items with the lengths of real parallel text."""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from clo.data.items import Item

LONGEST = 1024
"""Tokens of the longest prompt + response that is kept."""

BYTES_PER_TOKEN = {"en": 4.0, "de": 3.3, "id": 3.3, "ko": 3.3, "sw": 2.8, "yo": 2.2, "zh": 3.2}
"""Assumed UTF-8 bytes per token of a byte-level BPE with 128k entries; they only turn text into lengths."""

HEAD, TAIL, END = (1, 2, 3, 4, 5), (6, 7, 8, 9, 10), 11
"""Ids of a chat frame around every prompt (as long as Llama 3's) and of the end of a turn; 0 is padding."""

FIRST_CONTENT_ID = 12

LENGTH_TABLE = {"x_en": (60, 89, 139), "x_t": (74, 111, 175), "y_en": (84, 150, 264), "y_t": (101, 185, 328)}
"""p10, p50, p90 in tokens, frame included: used when there is no text (English and target lengths move together)."""


@dataclass(frozen=True)
class Shape:
    """Proportions of a model."""

    name: str
    layers: int
    hidden: int
    mlp: int
    heads: int
    kv_heads: int
    vocab: int

    def config(self) -> LlamaConfig:
        """A Llama of this shape: no dropout, head not tied to the embeddings."""
        return LlamaConfig(
            num_hidden_layers=self.layers,
            hidden_size=self.hidden,
            intermediate_size=self.mlp,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            vocab_size=self.vocab,
            max_position_embeddings=2 * LONGEST,
            rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
            attention_dropout=0.0,
            tie_word_embeddings=False,
            bos_token_id=HEAD[0],
            eos_token_id=END,
            pad_token_id=0,
        )


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("tiny", layers=2, hidden=64, mlp=176, heads=4, kv_heads=2, vocab=512),  # for checks, never for numbers
        Shape("S32", layers=8, hidden=256, mlp=688, heads=4, kv_heads=4, vocab=32_000),
        Shape("S128", layers=8, hidden=256, mlp=688, heads=4, kv_heads=4, vocab=128_256),
        Shape("L8B4", layers=4, hidden=4096, mlp=14336, heads=32, kv_heads=8, vocab=128_256),  # four layers of it
        Shape("L8B", layers=32, hidden=4096, mlp=14336, heads=32, kv_heads=8, vocab=128_256),  # Llama-3-8B itself
        Shape("R8B", layers=12, hidden=512, mlp=1792, heads=8, kv_heads=2, vocab=6_000),  # as Llama-3-8B
    )
}


def build(
    shape: str | Shape, seed: int = 0, device: str | torch.device = "cpu", frozen: torch.dtype = torch.float32
) -> LlamaForCausalLM:
    """A model with random weights of which only the attention projections train, in float32; equal for equal seeds."""
    shape = SHAPES[shape] if isinstance(shape, str) else shape
    torch.manual_seed(seed)
    with torch.device(device):
        model = LlamaForCausalLM._from_config(shape.config(), attn_implementation="sdpa", dtype=torch.float32)
    for name, parameter in model.named_parameters():
        attention = ".self_attn." in name
        parameter.requires_grad_(attention)
        parameter.data = parameter.data.to(torch.float32 if attention else frozen)
    return model.to(device)


def trained(model: Any) -> dict[str, torch.nn.Parameter]:
    """The parameters that train, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def data_folder() -> Path:
    """CLO_SHARED_DATA, else ``shared/data`` beside the repository."""
    named = os.environ.get("CLO_SHARED_DATA")
    return Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"


def real_items(
    folder: Path | None, n: int, vocab: int, seed: int = 0, lang: str = "zh", longest: int = LONGEST
) -> tuple[list[Item], str]:
    """Items of random ids whose lengths are those of real instruction rows.

    Args:
        folder: holds ``parallel/<lang>.jsonl`` with prompt_en, response_en, prompt, response; None is the default one.
        n: items.
        vocab: ids are drawn below it.
        seed: chooses rows and ids.
        lang: target language, or ``table`` for the length table.
        longest: items with a longer cell are left out, so they stay as long as clo's window allows.

    Returns:
        The items and a sentence on where their lengths come from.
    """
    path = (folder or data_folder()) / "parallel" / f"{lang}.jsonl"
    draw = random.Random(seed)
    if path.is_file():
        lengths = _text_lengths(path, lang, draw)
        source = f"lengths of {lang} instruction rows ({path.parent.name}/{path.name}), {_estimate(lang)}"
    else:
        lengths = _table_lengths(draw)
        why = "asked for" if lang == "table" else f"{path.parent.name}/{path.name} not found"
        source = f"length table, log-normal from p10/p50/p90 ({why})"
    items: list[Item] = []
    for x_en, x_t, y_en, y_t in lengths:
        if len(items) == n:
            break
        if max(x_en, x_t) + max(y_en, y_t) <= longest:
            prompts = tuple(_prompt(draw, size, vocab) for size in (x_en, x_t))
            responses = tuple((*_content(draw, size - 1, vocab), END) for size in (y_en, y_t))
            items.append(Item(f"{lang}-{len(items)}", prompts, responses))
    if len(items) < n:
        raise ValueError(f"only {len(items)} of {n} items within {longest} tokens: {source}")
    return items, source


def _estimate(lang: str) -> str:
    return f"tokens = bytes / {BYTES_PER_TOKEN['en']} (en), bytes / {BYTES_PER_TOKEN[lang]} ({lang}), plus chat frame"


def _text_lengths(path: Path, lang: str, draw: random.Random) -> Iterable[tuple[int, int, int, int]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    draw.shuffle(lines)
    frame = len(HEAD) + len(TAIL)
    for line in lines:
        row = json.loads(line)
        x_en, y_en = (_tokens(row[key], "en") for key in ("prompt_en", "response_en"))
        x_t, y_t = (_tokens(row[key], lang) for key in ("prompt", "response"))
        yield x_en + frame, x_t + frame, y_en + 1, y_t + 1


def _tokens(text: str, lang: str) -> int:
    return max(1, math.ceil(len(text.encode()) / BYTES_PER_TOKEN[lang]))


def _table_lengths(draw: random.Random) -> Iterable[tuple[int, int, int, int]]:
    def at(name: str, z: float) -> int:
        low, middle, high = LENGTH_TABLE[name]
        return max(len(HEAD) + len(TAIL) + 1, round(middle * math.exp(z * math.log(high / low) / (2 * 1.2816))))

    while True:
        x, y = draw.gauss(0, 1), draw.gauss(0, 1)
        yield at("x_en", x), at("x_t", x), at("y_en", y), at("y_t", y)


def _content(draw: random.Random, size: int, vocab: int) -> tuple[int, ...]:
    return tuple(draw.randrange(FIRST_CONTENT_ID, vocab) for _ in range(size))


def _prompt(draw: random.Random, size: int, vocab: int) -> tuple[int, ...]:
    return (*HEAD, *_content(draw, size - len(HEAD) - len(TAIL), vocab), *TAIL)


def cut(items: Sequence[Item], size: int) -> list[list[Item]]:
    """Batches of ``size`` items in the given order; a last smaller one is kept."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def length_sorted(batches: Sequence[Sequence[Item]]) -> list[list[Item]]:
    """The same items cut anew into as many items per batch, sorted by their longest cell: least padding."""
    items = iter(sorted((item for batch in batches for item in batch), key=Item.longest))
    return [[next(items) for _ in batch] for batch in batches]


def lengths_of(items: Sequence[Item]) -> dict[str, dict[str, float]]:
    """Mean, p10, p50, p90 of the four lengths, for the header of a result."""
    parts = {f"{kind}_{lang}": (kind, place) for kind in "xy" for place, lang in enumerate(("en", "t"))}
    table: dict[str, dict[str, float]] = {}
    for name, (kind, place) in parts.items():
        sizes = sorted(len((item.prompts if kind == "x" else item.responses)[place]) for item in items)
        at = {f"p{p}": float(sizes[round(p / 100 * (len(sizes) - 1))]) for p in (10, 50, 90)}
        table[name] = {"mean": round(sum(sizes) / len(sizes), 1), **at}
    return table
