"""What is measured at the end of a run; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from clo.config.choices import Split
from clo.errors import UserError, check

CHOICES = ("belebele", "mmmlu", "cmmlu", "xcopa", "sib200", "kornli")
"""Benchmarks whose questions have options to choose from."""
BENCHMARKS = (*CHOICES, "mgsm", "msvamp", "xquad", "afriqa")

RIVALS = ("prompted", "averaged", "chat_vector")
"""What a user could try in place of training, or after it, at no cost."""

ROWS = 200
"""Rows that answers are generated for where nothing else is asked: those of the embedded data."""


@dataclass
class BenchmarksConfig:
    """Benchmarks, each in the target and in the source language, for the start model and the trained one."""

    names: list[str] = field(default_factory=list, metadata={"values": BENCHMARKS})
    """Any of ``BENCHMARKS``; mmmlu in English is MMLU."""
    data: str | None = None
    """Folder of ``<benchmark>/<lang>.jsonl`` (or .parquet, .csv); null reads belebele and mmmlu from the hub."""
    revision: str | None = None
    """Revision of the hub's dataset."""
    shots: int = 0
    """Examples before each question; assumed, the paper does not say."""
    scoring: list[str] = field(default_factory=lambda: ["letters"])
    """``letters``, ``answers`` (the options' own text) or both; assumed, the paper does not say."""
    limit: int | None = None
    """Rows of each benchmark; null is all of them."""
    template: bool = False
    """Questions as turns of the model's chat template instead of plain text; assumed."""
    harness: list[str] = field(default_factory=list)
    """Tasks for lm-evaluation-harness itself (`pip install clo[lm_eval]`): belebele, mmmlu, or names of its own; with
    ``data``, any benchmark with options, as task files made of those rows."""
    harness_folder: str | None = None
    """Folder of task files for the harness; null is its own tasks."""

    def __post_init__(self) -> None:
        known = ("letters", "answers")
        check(bool(self.scoring), "evaluation.benchmarks.scoring", f"a list of {', '.join(known)}", self.scoring)
        for scoring in self.scoring:
            check(scoring in known, "evaluation.benchmarks.scoring", f"a list of {', '.join(known)}", scoring)
        check(self.shots >= 0, "evaluation.benchmarks.shots", "a count of at least 0", self.shots)
        ok = self.limit is None or self.limit >= 1
        check(ok, "evaluation.benchmarks.limit", "a count of at least 1, or null", self.limit)
        for name in self.names:
            check(name in BENCHMARKS, "evaluation.benchmarks.names", f"a list of {', '.join(BENCHMARKS)}", name)
        if len(set(self.names)) != len(self.names):
            raise UserError(f"evaluation.benchmarks.names={self.names} names one twice")
        if self.data is not None and not Path(self.data).is_dir():
            raise UserError(f"evaluation.benchmarks.data={self.data} is no folder; it holds <benchmark>/<lang>.jsonl")


TRANSLATED = {
    "de": "Antworte auf Deutsch.",
    "id": "Jawablah dalam bahasa Indonesia.",
    "ko": "한국어로 답하세요.",
    "sw": "Jibu kwa Kiswahili.",
    "yo": "Dáhùn ní èdè Yorùbá.",
    "zh": "请用中文回答。",
}
"""Instruction to answer in the language that it is written in, by code."""


@dataclass
class RivalsConfig:
    """Cheap rivals, scored on the same test prompts as the trained model (docs/evaluation.md)."""

    names: list[str] = field(default_factory=list, metadata={"values": RIVALS})
    """Any of ``RIVALS``: the start model told the language; start and trained weights averaged; the chat-vector sum."""
    instruction: str = "Answer in {language}."
    """prompted: text before a prompt, ``{language}`` being the English name of the prompt's language."""
    translated: dict[str, str] = field(default_factory=lambda: dict(TRANSLATED))
    """prompted: the same in the target language, by its code; where there is one, it is asked so too."""
    shares: list[float] = field(default_factory=lambda: [0.1, 0.3, 0.5, 0.7, 0.9])
    """averaged: shares of the trained weights."""
    base: str | None = None
    """chat_vector: the base that the start model was tuned from; a folder or hub id."""
    adapted: str | None = None
    """chat_vector: that base after more pretraining in the target language, which ``start - base`` is added to."""

    def __post_init__(self) -> None:
        names = "evaluation.rivals.names"
        for name in self.names:
            check(name in RIVALS, names, f"a list of {', '.join(RIVALS)}", name)
        if len(set(self.names)) != len(self.names):
            raise UserError(f"{names}={self.names} names one twice")
        check(bool(self.instruction.strip()), "evaluation.rivals.instruction", "a text before a prompt", "nothing")
        for code, text in self.translated.items():
            check(bool(str(text).strip()), f"evaluation.rivals.translated.{code}", "a text before a prompt", "nothing")
        ok = bool(self.shares) and all(0 < share < 1 for share in self.shares)
        check(ok, "evaluation.rivals.shares", "a list of shares between 0 and 1, both excluded", self.shares)
        if len(set(self.shares)) != len(self.shares):
            raise UserError(f"evaluation.rivals.shares={self.shares} names one twice")
        for key in ("base", "adapted") if "chat_vector" in self.names else ():
            if not getattr(self, key):
                raise UserError(
                    f"{names}=[chat_vector] needs evaluation.rivals.{key}=<hub id or folder>: it adds the start model "
                    "less its base to the base adapted to the target language"
                )


@dataclass
class EvaluationConfig:
    """What is measured at the end of a run."""

    name: str = "answers"
    """Name of the choice."""
    max_new_tokens: int = 64
    """Longest generated answer, tokens."""
    max_tokens: int = 16384
    """Tokens of a generation batch, prompts and new ones together."""
    rows: int | None = None
    """Rows to generate for; null is the first 200 (``ROWS``), or all where there are fewer: generating for more takes
    longer than most trainings. A count beyond the rows that are there is all of them."""
    split: Split = Split.test
    """``dev`` for choosing hyperparameters, ``test`` for results."""
    val_items: int = 64
    """Held-out items whose square is scored at every validation."""
    validations: int = 4
    """Validations over a stage, evenly spaced, the last at its end; step 0 comes on top."""
    watch: int = 4
    """Held-out prompts per language that are answered at every validation (``watched.jsonl``); 0 for none."""
    benchmarks: BenchmarksConfig = field(default_factory=BenchmarksConfig)
    """Benchmarks on top of the run's own test rows."""
    rivals: RivalsConfig = field(default_factory=RivalsConfig)
    """Cheap rivals on the same test rows."""

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "max_tokens", "val_items", "validations"):
            check(getattr(self, name) >= 1, f"evaluation.{name}", "a count of at least 1", getattr(self, name))
        check(self.watch >= 0, "evaluation.watch", "a count of at least 0", self.watch)
        check(self.rows is None or self.rows >= 1, "evaluation.rows", "a count of at least 1, or null", self.rows)
