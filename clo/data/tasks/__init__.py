"""Embedded parallel rows of three tasks in seven languages: facts, maths and summaries; no download.

Facts and all names come from Unicode CLDR through babel (Unicode licence), numbers from arithmetic; the sentences are
our own, and no native speaker has read them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clo.data.cldr import answer_of
from clo.data.cldr import wording as facts_wording
from clo.data.cldr.facts import CORE_LANGUAGES
from clo.data.rows import Row
from clo.data.tasks import facts, maths, summaries
from clo.data.tasks.wording import load_wording
from clo.errors import UserError

TASKS = ("facts", "maths", "summaries")
LANGUAGES = CORE_LANGUAGES
SPLITS = ("train", "dev", "test")
EVALUATED = {"dev": 100, "test": 200}
"""Rows of every task."""


def task_rows(task: str, split: str, languages: Sequence[str]) -> list[Row]:
    """Return the rows of one split of one task in the given languages, in a fixed order.

    Ids and order do not depend on the languages, and every prefix has the same blend of kinds. Dev and test hold 100
    and 200 rows. No prompt stands in two splits; what maths and facts ask in dev and test, train does not say in other
    words.

    Args:
        task: one of ``TASKS``.
        split: ``train``, ``dev`` or ``test``.
        languages: codes out of ``LANGUAGES``.

    Raises:
        UserError: unknown task, split or language.
    """
    if task not in TASKS:
        raise UserError(f"data=tasks has no task {task!r}: use one of {list(TASKS)}")
    if split not in SPLITS:
        raise UserError(f"data=tasks has no split {split!r}: use one of {list(SPLITS)}")
    codes = list(dict.fromkeys(languages))
    for code in codes:
        load_wording(code)
    first = {"dev": 0, "test": EVALUATED["dev"], "train": sum(EVALUATED.values())}[split]
    made = _ROWS[task](split, codes)
    return [Row(f"{task}.{first + place:05d}", *texts, task=task) for place, texts in enumerate(made)]


def mixed_rows(split: str, languages: Sequence[str]) -> list[Row]:
    """Return the rows of all tasks, in turn by their shares, so that every prefix holds the tasks alike."""
    rows = [row for task in TASKS for row in task_rows(task, split, languages)]
    places = {task: 0 for task in TASKS}
    counts = {task: sum(row.task == task for row in rows) for task in TASKS}
    ranked = []
    for row in rows:
        ranked.append(((places[row.task] + 0.5) / counts[row.task], TASKS.index(row.task), row))
        places[row.task] += 1
    return [row for _, _, row in sorted(ranked, key=lambda entry: entry[:2])]


Texts = tuple[dict[str, str], dict[str, str], dict[str, str]]
"""Prompts, responses and gold of a row, by language."""


def _facts(split: str, codes: list[str]) -> list[Texts]:
    return [
        (
            {code: facts_wording.question(fact, form, code) for code in codes},
            {code: facts_wording.answer(fact, code, answer_of(fact, form)) for code in codes},
            {code: facts_wording.gold(fact, code) for code in codes},
        )
        for fact, form in facts.plan(split)
    ]


def _maths(split: str, codes: list[str]) -> list[Texts]:
    return [
        (
            {code: maths.question(one, code) for code in codes},
            {code: maths.answer(one, code, maths.answer_of(one)) for code in codes},
            {code: maths.gold(one, code) for code in codes},
        )
        for one in maths.plan(split)
    ]


def _summaries(split: str, codes: list[str]) -> list[Texts]:
    return [
        (
            {code: summaries.question(one, code) for code in codes},
            {code: summaries.answer(one, code, one.form) for code in codes},
            dict.fromkeys(codes, ""),
        )
        for one in summaries.plan(split)
    ]


_ROWS: dict[str, Callable[[str, list[str]], list[Texts]]] = {"facts": _facts, "maths": _maths, "summaries": _summaries}
