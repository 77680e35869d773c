"""What several ranks measure together: threads stand in for processes, each with a model of its own."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import byte_level_tokenizer, rows, tiny_model
from tiny_runs import random_items

from clo.data.prompt import Renderer
from clo.evaluation.answer_log import AnswerLog
from clo.evaluation.benchmarks.options import BenchmarkOptions
from clo.evaluation.benchmarks.run import Store, evaluate_benchmarks
from clo.evaluation.divergence import divergences, likely_along
from clo.evaluation.generate import generate
from clo.evaluation.subject import Subject
from clo.square.scores import score_items
from clo.storage.ranks import Ranks


class Threads(Ranks):
    """Ranks of one process; ``group`` is (what each has said, where they meet)."""

    def together(self, found: Mapping[Any, Any]) -> dict[Any, Any]:
        said, met = self.group
        said[self.rank] = dict(found)
        met.wait(60)
        whole = {key: value for part in said for key, value in part.items()}
        met.wait(60)
        return whole


def shared(work: Callable[[Subject], Any], count: int) -> tuple[list[Any], list[int]]:
    """What ``work`` gives on each of so many ranks, and passes that each made."""
    group = [{}] * count, threading.Barrier(count)
    passes = [0] * count

    def on(rank: int) -> Any:
        model = copy.deepcopy(MODEL)

        def count_pass(*_: Any) -> None:
            passes[rank] += 1

        model.model.register_forward_pre_hook(count_pass)
        return work(Subject(model, RENDERER, 60, ranks=Threads(rank, count, group)))

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(on, range(count))), passes


torch.set_num_threads(1)
MODEL, RENDERER = tiny_model(), Renderer(byte_level_tokenizer(), "chat")
PROMPTS = [[random.Random(k).randrange(3, 300) for _ in range(3 + k % 7)] for k in range(20)]
ITEMS = random_items(12)


def answers(log: Path | None, subject: Subject) -> Any:
    return generate(subject, PROMPTS, 5, 16, log=None if log is None else AnswerLog(log, "k"))


def scores(subject: Subject) -> Any:
    found = score_items(subject.model, ITEMS, [(0, 0), (1, 1)], 40, subject.ranks)
    return found.S_BLK.tolist(), found.count_BLK.tolist()


def moved(subject: Subject) -> Any:
    start = likely_along(subject, rows(), "en")
    with torch.no_grad():
        for weight in subject.model.parameters():
            weight.mul_(1.01)
    return divergences(subject, rows(), "en", start)


def asked(data: Path, store: Path, subject: Subject) -> Any:
    options = BenchmarkOptions(str(data), 0, ["answers"], max_new_tokens=4)
    return evaluate_benchmarks(subject, ["belebele", "mgsm"], ("en", "de"), options, Store(store, "w"))


@pytest.fixture
def benchmarks(tmp_path: Path) -> Callable[[Subject], Any]:
    from test_benchmarks import UNIFIED, write_rows

    for lang in ("en", "de"):
        own = [{**UNIFIED, "id": str(k), "context": lang, "question": f"{k}?"} for k in range(3)]
        write_rows(tmp_path / "data", "belebele", lang, own)
        write_rows(tmp_path / "data", "mgsm", lang, [{"id": "1", "question": lang, "answer": "1"}])
    return lambda subject: asked(tmp_path / "data", tmp_path / f"store{subject.ranks.ranks}", subject)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("kind", ["answers", "scores", "moved", "benchmarks"])
def test_they_are_those_of_one_rank(kind: str, count: int, benchmarks: Callable[[Subject], Any]) -> None:
    """To the last bit, and no rank makes most of the passes."""
    work = {"answers": partial(answers, None), "scores": scores, "moved": moved, "benchmarks": benchmarks}[kind]
    (alone,), (whole,) = shared(work, 1)
    found, passes = shared(work, count)
    assert all(one == alone for one in found)
    assert max(passes) < 0.75 * whole and sum(passes) < whole + 10, (passes, whole)


def test_a_log_of_two_ranks_is_gone_on_with_by_one(tmp_path: Path) -> None:
    (expected,), _ = shared(partial(answers, None), 1)
    log = tmp_path / "log.jsonl"
    shared(partial(answers, log), 2)
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[: len(lines) // 2]))
    (found,), (passes,) = shared(partial(answers, log), 1)
    assert found == expected and passes
    (again,), (none,) = shared(partial(answers, log), 1)
    assert again == expected and not none


def test_a_rank_alone_meets_nobody() -> None:
    ranks = Ranks()
    assert ranks.together({1: "a"}) == {1: "a"} and ranks.mains(lambda: 3) == 3
    assert replace(ranks, rank=1, ranks=2).of([0, 1, 2, 3]) == [1, 3]
