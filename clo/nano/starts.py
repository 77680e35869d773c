"""The start models that this project builds: how large each is, what it reads, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from clo.nano import corpus, tasks
from clo.nano.corpus import Document


@dataclass(frozen=True, slots=True)
class Corpus:
    """A pretraining corpus."""

    documents: Callable[[int, Callable[[Document], int]], Iterator[Document]]
    """(seed, length of a document in tokens) -> documents without end."""
    tokenizer_texts: Callable[[], list[str]]


@dataclass(frozen=True, slots=True)
class Start:
    """A start model."""

    corpus: Corpus
    width: int
    layers: int
    heads: int
    mlp: int
    """Width inside a feed-forward layer."""
    steps: int
    rows: int = 16
    length: int = 128
    """Rows of one step and tokens of a row, which holds whole documents: every row begins like a real prompt."""
    streams: int = 1
    """Corpora of seeds of their own that the steps take turns by; beside a GPU each is made by a process of its own."""
    quick: bool = False
    """Whether attention is multiplied out and products are in bfloat16 where a processor is faster at that."""


FACTS = Corpus(corpus.documents, corpus.tokenizer_texts)
THREE_TASKS = Corpus(tasks.documents, tasks.tokenizer_texts)


def _of_tasks(width: int, layers: int, mlp: int, steps: int) -> Start:
    return Start(THREE_TASKS, width, layers, 4, mlp, steps, rows=48, streams=3, quick=True)


STARTS = {
    "nano": Start(FACTS, width=128, layers=4, heads=4, mlp=336, steps=4600),
    "tasks_s": _of_tasks(width=64, layers=3, mlp=176, steps=3000),
    "tasks_m": _of_tasks(width=128, layers=4, mlp=336, steps=3000),
    "tasks_l": _of_tasks(width=256, layers=5, mlp=672, steps=3000),
}
"""Name, as in ``model.path`` -> what is built: 1.3 million parameters; 0.4, 1.3 and 4.9 million for the three tasks."""
