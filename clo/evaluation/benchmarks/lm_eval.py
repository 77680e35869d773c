"""lm-evaluation-harness itself on a model in memory: slower, and the number that others can compare with."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from clo.errors import UserError
from clo.evaluation.subject import Subject

FEWSHOT_SEED = 1234
"""Of each task's own stream of examples, lm-eval's default; it touches no global one."""


def harness_tasks(names: Sequence[str], languages: tuple[str, str]) -> list[str]:
    """The harness's own names of belebele and mmmlu in the target and the source language; other names as they are.

    Raises:
        UserError: the benchmark lacks a language.
    """
    from clo.evaluation.benchmarks.sources import hub_source

    source, target = languages
    tasks: list[str] = []
    for name in names:
        if name in ("belebele", "mmmlu"):
            for lang in (target, source):
                config = hub_source(name, lang)[1]
                tasks.append(
                    "mmlu" if config == "all" else f"{name}_{config if name == 'belebele' else config.lower()}"
                )
        else:
            tasks.append(name)
    return tasks


def evaluate_lm_eval(
    subject: Subject,
    tasks: Sequence[str],
    shots: int | None = None,
    limit: int | None = None,
    include_path: str | Path | None = None,
    batch_size: int = 8,
) -> dict[str, Any]:
    """Evaluate with lm-eval's ``simple_evaluate``.

    It seeds the streams of Python, numpy and torch unless told not to, moves Python's even then (seen in 0.4.13), and
    leaves a model in evaluation mode; here the streams and the modes are afterwards what they were. A caveat is printed
    for tasks that take their examples from the split they are tested on.

    Args:
        subject: of its renderer only the tokenizer is used.
        tasks: names of tasks, or paths of task files.
        shots: examples; None is each task's own number.
        limit: the first documents of each task only.
        include_path: folder of task files; only those are known then, which spares the seconds of listing all others.
        batch_size: sequences of a forward pass.

    Returns:
        ``{"harness": "lm-eval 0.4.13", "results": {task: {metric: value}}, "shots": {task: n}, "shots_from": {task:
        split}, "versions": {task: version}, "caveats": [sentences]}``.

    Raises:
        UserError: lm-eval is not installed, a task is unknown, or its data cannot be had.
    """
    try:
        import lm_eval
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise UserError(f"lm-eval is not installed ({error}); install clo[lm_eval], or use clo's own scorer") from error
    model, tokenizer = subject.model, subject.renderer.tokenizer
    place = str(include_path) if include_path is not None else None
    device = str(next(model.parameters()).device)
    try:
        with _left_as_it_was(model):
            found = lm_eval.simple_evaluate(
                model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, device=device),
                tasks=list(tasks),
                num_fewshot=shots,
                limit=limit,
                task_manager=TaskManager(include_path=place, include_defaults=place is None),
                log_samples=False,
                random_seed=None,
                numpy_random_seed=None,
                torch_random_seed=None,
                fewshot_random_seed=FEWSHOT_SEED,
            )
    except (KeyError, ValueError, OSError, ConnectionError) as error:
        raise UserError(
            f"lm-eval could not evaluate {', '.join(tasks)} ({type(error).__name__}: {error!s:.200}); check the names "
            "of the tasks and that their data are at hand"
        ) from error
    return _result(found)


@contextmanager
def _left_as_it_was(model: Any) -> Iterator[None]:
    """Put back the modules' modes and the global random streams of Python, numpy and torch on all devices."""
    import numpy as np
    import torch

    modes = [(module, module.training) for module in model.modules()]
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        for module, training in modes:
            module.training = training


def _result(found: dict[str, Any]) -> dict[str, Any]:
    shots = {name: n for name, n in found["n-shot"].items() if isinstance(n, int)}
    places = {name: _splits(config) for name, config in found["configs"].items() if shots.get(name)}
    caveats = [
        f"{name}: its {shots[name]} examples come from {own!r}, the split it is tested on, the row that is asked aside"
        for name, (own, tested) in places.items()
        if own == tested
    ]
    for caveat in caveats:
        print(f"caveat: {caveat}")
    return {
        "harness": f"lm-eval {version('lm_eval')}",
        "results": {name: _numbers(values) for name, values in found["results"].items()},
        "shots": shots,
        "shots_from": {name: own for name, (own, _) in places.items()},
        "versions": dict(found["versions"]),
        "caveats": caveats,
    }


def _splits(config: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The splits that a task takes its examples from and is tested on, by lm-eval 0.4.13's own order of preference."""
    tested = config.get("test_split") or config.get("validation_split")
    listed = config.get("fewshot_config") or {}
    own = config.get("fewshot_split") or listed.get("split")
    if own is None and listed.get("samples") is not None:
        return "samples of the task's own", tested
    return own or config.get("training_split") or config.get("validation_split") or tested, tested


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in values.items() if isinstance(value, int | float)}
