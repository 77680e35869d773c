"""Task files for lm-evaluation-harness made of local rows: it asks the very prompts that our own scorer asks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from clo.errors import UserError
from clo.evaluation.benchmarks.multiple_choice import questions_of
from clo.evaluation.benchmarks.options import BenchmarkOptions, lacking, read_benchmark
from clo.evaluation.benchmarks.tasks import task_of
from clo.storage.files import write_text
from clo.storage.jsonl import write_lines

FILE = """\
task: {task}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {rows}
test_split: test
output_type: multiple_choice
num_fewshot: 0
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - metric: acc
  - metric: acc_norm
metadata:
  version: 1
"""
"""Examples, where there are any, stand in the prompt already."""


def write_task_files(
    names: Sequence[str], languages: tuple[str, str], options: BenchmarkOptions, folder: Path
) -> list[str]:
    """Write one task per benchmark, language and scoring, and return the names of the tasks.

    Args:
        names: benchmarks with options to choose from.
        languages: codes of the source and the target language.
        options: where the rows are, and how they are asked.
        folder: gets ``<task>.yaml`` and ``<task>.jsonl``.

    Raises:
        UserError: a benchmark is unknown, has no options, or neither language.
    """
    tasks: list[str] = []
    for name in names:
        task = task_of(name)
        if task.kind != "choice":
            raise UserError(f"{name} has no options to choose from; the harness gets task files of choices only")
        reasons = {lang: lacking(task, lang, options) for lang in reversed(languages)}
        if all(reasons.values()):
            raise UserError(f"{name} has neither language: {'; '.join(str(reason) for reason in reasons.values())}")
        for lang in (lang for lang, reason in reasons.items() if reason is None):
            side = read_benchmark(task, lang, options)
            for scoring in options.scoring:
                questions = questions_of(side, scoring, options)
                own = f"clo_{name}_{lang}_{scoring}"
                path = (folder / f"{own}.jsonl").absolute()
                write_lines(
                    path,
                    (
                        {"prompt": q.context, "choices": [text[1:] for text in q.continuations], "answer": row.answer}
                        for q, row in zip(questions, side.rows, strict=False)
                    ),
                )
                write_text(folder / f"{own}.yaml", FILE.format(task=own, rows=json.dumps(str(path))))
                tasks.append(own)
    return tasks
