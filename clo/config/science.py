"""The groups of the configuration: fields with units, ranges and bounds; nothing heavy is imported here.

"assumed" marks a value that the CLO paper does not give.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

from clo.config.choices import AUTO, THIRDS, LengthPolicy, NllReduction, PoorRows, Targets, Trains
from clo.config.sources import ReplayConfig, SourceConfig, TranslationConfig
from clo.errors import UserError, check, plain_name, positive

PLACE = "{lang.code}"
"""In a path of a run with several targets: the code of each."""


@dataclass
class Recipe:
    """Hyperparameters that depend on the model; the method files refer to them."""

    lam: float = 0.5
    """Default weight of the NLL term."""
    beta: float = 0.1
    """Default strength of the comparisons."""
    nll_reduction: NllReduction = NllReduction.token_mean
    """Default unit of the NLL term."""
    epochs: float = 2.0
    """Passes over the training items."""
    steps: int | None = None
    """Optimizer steps of a run, whatever the size of its data; null goes by the epochs."""
    batch_size: int = 64
    """Items per optimizer step."""
    lr: dict[str, float] = field(default_factory=dict)
    """Peak learning rate by method."""


@dataclass
class ModelConfig:
    """A causal language model in Hugging Face format."""

    name: str = "nano"
    """Short name used in folder names and reports."""
    path: str = "nano"
    """Hub id, local folder, or the name of a model shipped with this package."""
    revision: str | None = None
    """Hub revision (commit, tag or branch)."""
    dtype: str = "auto"
    """Dtype of the frozen weights: auto (as stored), float32, bfloat16 or float16."""
    template: str = field(default="plain", metadata={"values": ("chat",)})
    """``chat`` for the tokenizer's own chat template, else the text around a prompt with ``{prompt}`` in it."""
    end_of_turn: str | None = None
    """Token that ends a response; null is the one that the chat template closes an answer with (for a text template the
    tokenizer's end-of-sequence token)."""
    template_kwargs: dict[str, Any] = field(default_factory=dict)
    """chat: what the template reads beside the messages, such as ``enable_thinking: false`` (on the command line
    ``+model.template_kwargs.enable_thinking=false``)."""
    date: str | None = None
    """chat: the day (YYYY-MM-DD) that a template writes which would write today's."""
    oracle: str | None = None
    """Text around a prompt, with ``{prompt}`` in it, under which the start model tells what it knows: it is asked so
    too, and the report shows it as the ceiling; null for none."""
    max_length: int = 2048
    """Longest prompt + response, tokens; at most the model's window."""
    quantize: str | None = None
    """``4bit`` or ``8bit``: frozen weights quantized by bitsandbytes, on a GPU, for adapters (QLoRA)."""
    trust_remote_code: bool = False
    """Run code that ships with a hub model."""
    size: float | None = None
    """Billions of parameters, for the recipe's rates; null: by the model's name, else by its files."""
    recipe: Recipe = field(default_factory=Recipe)
    """Values the method files refer to."""

    def __post_init__(self) -> None:
        if not self.path:
            raise UserError("model=any needs the model: model.path=<hub id or local folder>")
        plain_name("model.name", self.name)
        check(self.size is None or self.size > 0, "model.size", "billions of parameters, above 0", self.size)
        check(self.max_length >= 8, "model.max_length", "the window in tokens and must be at least 8", self.max_length)
        dtypes = ("auto", "float32", "bfloat16", "float16")
        check(self.dtype in dtypes, "model.dtype", f"one of {', '.join(dtypes)}", self.dtype)
        check(self.quantize in (None, "4bit", "8bit"), "model.quantize", "null, 4bit or 8bit", self.quantize)
        check(_is_day(self.date), "model.date", "a day such as 2024-07-26, or null", self.date)
        asked = "a text with {prompt} in it, or null"
        check(self.oracle is None or self.oracle.count("{prompt}") == 1, "model.oracle", asked, self.oracle)
        if "\\n" in self.template:
            raise UserError(
                "model.template holds a backslash and an n where a line break is meant; in a shell write it as "
                "$'model.template=\"…\\n…\"', or in a file of conf/model"
            )
        for name in self.template_kwargs:
            check(str(name).isidentifier(), "model.template_kwargs", "names of the template's variables", name)


def _is_day(text: str | None) -> bool:
    try:
        return text is None or bool(datetime.date.fromisoformat(text))
    except ValueError:
        return False


@dataclass
class LoraConfig:
    """Low-rank adapters on the matrices that train."""

    r: int = 16
    """Rank."""
    alpha: float = 32.0
    """Scale; the adapter's output is multiplied by alpha / r."""
    dropout: float = 0.0
    """Dropout on the adapter's input, 0 to below 1."""
    dora: bool = False
    """Weight-decomposed adapters (DoRA): the size of each weight row trains apart from its direction."""

    def __post_init__(self) -> None:
        check(self.r >= 1, "tuning.lora.r", "the rank and must be at least 1", self.r)
        positive("tuning.lora.alpha", "the adapters' scale", self.alpha)
        check(0 <= self.dropout < 1, "tuning.lora.dropout", "a probability in [0, 1)", self.dropout)


@dataclass
class TuningConfig:
    """Which weights train."""

    name: str = "attention"
    """Name in folders and reports."""
    trains: Trains = Trains.attention
    """Attention projections (the paper's choice), MLP matrices, both, or every weight."""
    lora: LoraConfig | None = None
    """Adapters on those matrices instead of the matrices themselves."""
    layers: Any = field(default=None, metadata={"values": (AUTO, *THIRDS)})
    """First and last layer that trains, ``[first, last]``, counted from 0, negative from the end; ``lower``, ``middle``
    or ``upper``, a third of the depth; ``auto``, where the gradient at the start weights is; null is all layers."""
    auto_items: int = 16
    """auto: training items, the first ones, whose gradient decides."""
    auto_share: float = 0.5
    """auto: the layers that train are the fewest in a row that hold this share of the squared gradient norm."""

    def __post_init__(self) -> None:
        plain_name("tuning.name", self.name)
        pair = isinstance(self.layers, list) and len(self.layers) == 2 and all(type(k) is int for k in self.layers)
        if not (pair or self.layers is None or self.layers in (AUTO, *THIRDS)):
            words = ", ".join((AUTO, *THIRDS))
            raise UserError(f"tuning.layers is [first, last], one of {words}, or null, got {self.layers}")
        check(self.auto_items >= 1, "tuning.auto_items", "a number of items, at least 1", self.auto_items)
        check(0 < self.auto_share <= 1, "tuning.auto_share", "a share above 0, at most 1", self.auto_share)
        if self.lora is not None and self.trains is Trains.full:
            raise UserError("tuning.lora needs tuning.trains=attention, mlp or both; full tuning has no adapters")


@dataclass
class DataConfig:
    """Parallel rows."""

    name: str = "cldr"
    """Name in folders and reports."""
    kind: str = "cldr"
    """``cldr`` and ``tasks`` (embedded), ``files`` (parallel rows) or ``translated`` (English examples)."""
    train: str | None = None
    """files: JSONL, JSON, CSV, TSV or Parquet with parallel rows; ``${lang.code}`` in the path is the target's code."""
    dev: str | None = None
    """files: rows for validation; null holds some of the training file out."""
    test: str | None = None
    """files: rows for the final evaluation; null holds some of the training file out."""
    fold: int = 0
    """cldr: which quarter of the relations, 0 to 3, is held out as a whole (group ``unseen``)."""
    resample: bool = False
    """The seed draws the training rows, nested over sizes; else every seed takes the first ones, in another order."""
    held_out: int = 100
    """Rows held out for each of dev and test where these are not given; of translated examples the best ones."""
    source: SourceConfig | None = None
    """translated: the English examples."""
    translation: TranslationConfig | None = None
    """translated: the translator."""
    targets: Targets = Targets.together
    """Several targets: an item holds English and all of its targets, or one target (``apart``: an item for each)."""
    temperature: float = 1.0
    """apart, at a fixed number of steps: targets are drawn by size ** (1 / temperature), at least 1; 1 is by size."""
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    """With ``method.anchor=replay``: the rows of the source language that are replayed."""
    length_policy: LengthPolicy = LengthPolicy.drop
    """An item longer than the window is dropped in all languages and counted, or refused."""
    bad_rows: str = "stop"
    """``stop`` at the first row that cannot be used, or ``skip`` them all: counted, the first ten named."""
    poor_rows: PoorRows = PoorRows.stop
    """More than a few copies between languages, repeated or empty-looking rows are refused; ``say`` uses them."""

    def __post_init__(self) -> None:
        kinds = ("cldr", "tasks", "files", "translated")
        check(self.kind in kinds, "data.kind", f"one of {', '.join(kinds)}", self.kind)
        if self.kind == "translated" and (self.source is None or self.translation is None):
            raise UserError("data.kind=translated needs data.source and data.translation; start from data=table")
        if self.kind == "files" and not self.train:
            raise UserError(
                "data=files needs data.train=<file>, a JSONL, JSON, CSV, TSV or Parquet file of parallel rows"
            )
        check(self.bad_rows in ("stop", "skip"), "data.bad_rows", "stop or skip", self.bad_rows)
        check(self.fold in range(4), "data.fold", "one of 0, 1, 2, 3", self.fold)
        check(self.temperature >= 1, "data.temperature", "a number of at least 1", self.temperature)
        check(self.held_out >= 1, "data.held_out", "a number of rows, at least 1", self.held_out)

    def file(self, name: str, code: str) -> str | None:
        """``train``, ``dev`` or ``test`` of one target: where a run has several, the path may hold their codes."""
        path: str | None = getattr(self, name)
        return None if path is None else path.replace(PLACE, code)
