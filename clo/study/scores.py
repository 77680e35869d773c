"""What a model is measured by in a run: answers to the test prompts, the held-out square, benchmarks.

The start model's are made once per weights, rows and settings, and kept in the cache for every run that begins with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from clo.data.items import Item, build_items
from clo.data.rows import Row
from clo.evaluation.evaluate import evaluate
from clo.square.reference import weights_key
from clo.square.scores import score_items
from clo.storage.files import write_json
from clo.storage.progress import stage
from clo.study.run_benchmarks import benchmark_scores, start_benchmark_scores
from clo.study.session import Session
from clo.study.versions import versions

FORMAT = 2
"""Raise it when what is measured changes: kept scores of start models are then made again."""


@dataclass(frozen=True)
class Scores:
    """Of one model, before or after training."""

    answers: dict[str, Any]
    """``{"target": {"all": scores, group: scores, …}, "en": {…}}``."""
    samples: Sequence[dict[str, Any]]
    """Every answer with its scores."""
    square: list[list[float]]
    """Per-token log-prob of every cell over held-out items, nats, [prompt][response]."""
    benchmarks: dict[str, Any]
    """Empty where none is asked for."""


def start_scores(session: Session, model: Any, rows: Sequence[Row], held_out: Sequence[Item]) -> Scores:
    """Of the start model.

    Args:
        session: the run.
        model: the start model, on its device.
        rows: test rows.
        held_out: items of the square.
    """
    with session.precision():
        key = weights_key(model, session.run.trainer.precision)
        answers, samples = _kept(
            session, rows, key, partial(answer_scores, session, model, rows, "evaluate start model")
        )
        square = mean_square(session, model, held_out)
        return Scores(answers, samples, square, start_benchmark_scores(session, model, key))


def end_scores(session: Session, model: Any, rows: Sequence[Row], held_out: Sequence[Item]) -> Scores:
    """Of the trained model; arguments as of `start_scores`."""
    with session.precision():
        answers, samples = answer_scores(session, model, rows, "evaluate")
        square = mean_square(session, model, held_out)
        return Scores(answers, samples, square, benchmark_scores(session, model))


def answer_scores(
    session: Session, model: Any, rows: Sequence[Row], name: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Answers to the test prompts of both languages: (scores, samples as dicts)."""
    run = session.run
    with stage(session.folder, name) as tick:
        nll = partial(_reference_nll, session, model)
        scores, samples = evaluate(session.subject(model), rows, run.lang, run.evaluation, nll, tick)
    return scores, [asdict(sample) for sample in samples]


def _reference_nll(session: Session, model: Any, rows: list[Row], lang: str) -> list[float]:
    """NLL per token of every row's own response in one language, nats."""
    items, _ = build_items(rows, [lang], session.renderer, max_length=1 << 30)
    scores = score_items(model, items, [(0, 0)], session.run.trainer.max_tokens)
    return [float(nll) for nll in -(scores.S_BLL / scores.count_BLL)[:, 0, 0]]


def _kept(session: Session, rows: Sequence[Row], key: str, make: Callable[[], Any]) -> Any:
    """Scores and samples from the cache, or made and kept."""
    run = session.run
    asked = [run.lang.code, run.lang.source, run.evaluation.max_new_tokens, run.model.template]
    content = [FORMAT, key, asked, versions(), [(row.id, row.prompts, row.responses) for row in rows]]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
    cache = Path(run.cache_dir) / "start" / f"{digest}.json"
    try:
        found = json.loads(cache.read_text(encoding="utf-8"))
        return found["scores"], found["samples"]
    except (FileNotFoundError, ValueError, KeyError):
        scores, samples = make()
        write_json(cache, {"scores": scores, "samples": samples})
        return scores, samples


def mean_square(session: Session, model: Any, items: Sequence[Item]) -> list[list[float]]:
    """Per-token log-prob of every cell over held-out items, nats, [prompt][response]."""
    languages = len(items[0].prompts)
    cells = [(i, j) for i in range(languages) for j in range(languages)]
    scores = score_items(model, items, cells, session.run.trainer.max_tokens)
    mean = scores.S_BLL.double().sum(0) / scores.count_BLL.double().sum(0)
    return [[float(value) for value in row] for row in mean]
