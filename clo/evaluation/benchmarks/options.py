"""How benchmarks are asked, and whether their rows are at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clo.errors import UserError, check
from clo.evaluation.benchmarks.rows import READERS
from clo.evaluation.benchmarks.sources import HUB, local_file, records_of_file, records_of_hub
from clo.evaluation.benchmarks.tasks import SCORINGS, Task, task_of


@dataclass(frozen=True)
class BenchmarkOptions:
    """How benchmarks are asked."""

    data: str | None = None
    """Folder of ``<benchmark>/<lang>.jsonl`` (or .parquet, .csv); None is the Hugging Face hub."""
    shots: int = 0
    """Examples before each question, the first rows of the test split itself."""
    scoring: Sequence[str] = ("letters",)
    """How options are scored: ``letters``, ``answers`` or both."""
    limit: int | None = None
    """Ask the first rows only."""
    template: bool = False
    """Render prompts as the model's chat turns; False is plain text."""
    max_tokens: int = 16384
    """Token budget of a forward pass or a generation batch."""
    max_new_tokens: int = 64
    """Longest generated answer, in tokens."""
    revision: str | None = None
    """Commit, tag or branch of the hub's data set; None is its newest."""


def label_of(scoring: str, options: BenchmarkOptions) -> str:
    """Name of a result in files: the scoring, and how it was asked where that is not the plain way."""
    parts = [f"{options.shots}shots"] if options.shots else []
    parts += ["chat"] if options.template else []
    parts += [] if options.limit is None else [f"first{options.limit}"]
    return "-".join([scoring, *parts])


@dataclass(frozen=True)
class BenchmarkSide:
    """A benchmark in one language."""

    task: Task
    lang: str
    rows: Sequence[Any]
    """`ChoiceRow` or `AnswerRow`, as the task's kind wants."""


def check_options(names: Sequence[str], options: BenchmarkOptions) -> None:
    """Refuse unknown benchmarks and options that cannot be, before anything is loaded.

    Raises:
        UserError: with the first that is wrong.
    """
    for name in names:
        task_of(name)
    check(len(set(names)) == len(names), "benchmarks.names", "a list without doubles", list(names))
    check(bool(options.scoring), "benchmarks.scoring", f"a list of {', '.join(SCORINGS)}", list(options.scoring))
    for scoring in options.scoring:
        check(scoring in SCORINGS, "benchmarks.scoring", f"a list of {', '.join(SCORINGS)}", scoring)
    check(options.shots >= 0, "benchmarks.shots", "a number from 0", options.shots)
    for key in ("limit", "max_tokens", "max_new_tokens"):
        value = getattr(options, key)
        check(value is None or value > 0, f"benchmarks.{key}", "a number above 0", value)
    if options.data is not None and not Path(options.data).is_dir():
        raise UserError(f"benchmarks.data={options.data} is no folder; it holds <benchmark>/<lang>.jsonl")


def lacking(task: Task, lang: str, options: BenchmarkOptions) -> str | None:
    """Why a benchmark cannot be asked in a language, or None."""
    if options.data is not None:
        if local_file(Path(options.data), task.name, lang) is not None:
            return None
        if lang not in task.languages:
            return f"{task.name} has no language {lang!r}; it has {', '.join(task.languages)}"
        return f"{options.data} has no {task.name}/{lang}.jsonl (or .parquet, .csv)"
    configs = [code for source in HUB.get(task.name, ()) for code in source.configs]
    if not configs:
        return (
            f"{task.name} is read from local files only; set benchmarks.data to a folder with {task.name}/{lang}.jsonl"
        )
    return None if lang in configs else f"{task.name} has no language {lang!r}; it has {', '.join(configs)}"


def read_benchmark(task: Task, lang: str, options: BenchmarkOptions) -> BenchmarkSide:
    """A benchmark with all its rows in a language (from the hub: those that are asked and shown).

    Raises:
        UserError: they are not there or wrong, see `records_of_file`, `records_of_hub` and the readers.
    """
    if options.data is not None:
        path = local_file(Path(options.data), task.name, lang) or Path(options.data) / task.name / f"{lang}.jsonl"
        return BenchmarkSide(task, lang, READERS[task.kind](records_of_file(path)))
    needed = None if options.limit is None else max(options.limit, options.shots + 1)
    return BenchmarkSide(task, lang, READERS[task.kind](records_of_hub(task.name, lang, options.revision, needed)))
