"""Tasks of a mixture: where the rows of each come from, and what its answers are scored by.

Nothing heavy is imported here. "assumed" in a file of ``conf/task`` marks what was not verified at its source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import inf
from pathlib import Path
from typing import NamedTuple

from clo.config.choices import Metric
from clo.config.sources import SourceConfig
from clo.errors import UserError, check, plain_name

EMBEDDED = ("facts", "maths", "summaries")
"""Tasks that come with this package."""
_SLICE = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<start>\d*):(?P<stop>\d*)\])?")


class Slice(NamedTuple):
    """Rows of a source's split in one language."""

    place: str
    """The source's name of the split."""
    start: int
    """The first row."""
    stop: int | None
    """The row behind the last one; None where that is the end."""


@dataclass
class TaskColumns:
    """Which columns of a table hold what."""

    prompt: str = "prompt"
    """Text of the question, or a chat whose first turn it is; ``context+question`` joins columns by an empty line."""
    response: str = "response"
    """Reference response, or the same chat; where a record has none there, its gold text is the reference. Of a list of
    texts the first counts, and ``answers.text`` is a column within a column, here and for ``gold``."""
    gold: str | None = None
    """Number or short text that a right answer has; without one, ``number`` reads the last of the reference."""
    id: str | None = None
    """Id of a record; null: its number among those of its language."""
    language: str | None = None
    """Language of a record, where a table has several; two columns are joined by ``+``, as in ``language+script``."""


@dataclass
class TaskConfig:
    """One task. ``{lang}`` in a path or a configuration is the code of a language, ``{name}`` the source's own name."""

    name: str = ""
    """Its name in ``tasks``, rows and results; that of its file in conf/task."""
    kind: str = "table"
    """``embedded`` (facts, maths, summaries: all languages of the package, parallel) or ``table``."""
    metric: Metric = Metric.chrf
    """``object``, ``number``, ``rouge`` or ``chrf`` (clo/evaluation/tasks.py); `clo judge` comes afterwards."""
    path: str | None = None
    """table: local file (.jsonl, .json, .csv, .tsv, .parquet), also with ``{split}``; null takes ``dataset``."""
    dataset: str | None = None
    """table: dataset of the hub; it is streamed."""
    config: str | None = None
    """table: configuration of the hub dataset."""
    revision: str | None = None
    """table: revision of the hub dataset."""
    splits: dict[str, str | None] = field(default_factory=dict)
    """table: ``train``, ``dev``, ``test`` -> the source's split, a slice of its rows in each language (as in
    ``train[100:300]``), or null for none; empty: they have these names."""
    tested_by: str | None = None
    """table: another task of ``task=`` whose test rows are asked in place of its own, by this one's metric."""
    columns: TaskColumns = field(default_factory=TaskColumns)
    """table: where prompts and responses stand."""
    languages: dict[str, str] = field(default_factory=dict)
    """table: code of a language -> the source's own name of it, or several with ``|``; empty: its code."""
    parallel: bool = False
    """table: rows of one id, or without ids of one number, say the same in all languages, and share their id."""
    instruction: dict[str, str] = field(default_factory=dict)
    """table: code of a language -> text around the prompt, with ``{text}`` in it; empty: the prompt."""
    max_new_tokens: int | None = None
    """Longest answer, tokens; null is ``evaluation.max_new_tokens``."""
    licence: str = "unknown"
    """Licence of the rows, for the data card."""

    def __post_init__(self) -> None:
        plain_name("tasks.<name>.name", self.name)
        check(self.kind in ("embedded", "table"), self.key("kind"), "embedded or table", self.kind)
        ok = self.max_new_tokens is None or self.max_new_tokens >= 1
        check(ok, self.key("max_new_tokens"), "a count of tokens of at least 1, or null", self.max_new_tokens)
        for code, text in self.instruction.items():
            asked = "a text with {text} in it once"
            check(text.count("{text}") == 1, self.key(f"instruction.{code}"), asked, repr(text))
        if self.kind == "embedded":
            check(
                self.name in EMBEDDED, self.key("name"), f"one of {', '.join(EMBEDDED)}, which are embedded", self.name
            )
            return
        if not (self.path or self.dataset):
            raise UserError(f"the task {self.name} needs {self.key('path')}=<file> or {self.key('dataset')}=<hub name>")
        place = self.path or f"{self.dataset} {self.config}"
        if self.columns.language is None and "{" not in place.replace("{split}", "") and len(self.languages) != 1:
            raise UserError(
                f"nothing tells the languages of the task {self.name} apart: set {self.key('columns.language')}, or "
                f"write {{lang}} in {self.key('path' if self.path else 'config')}"
            )
        self._check_slices()

    def _check_slices(self) -> None:
        """Refuse rows in two splits; a file that is one for all splits has them all."""
        slices = {name: self.split(name) for name, written in self.splits.items() if written is not None}
        for (first, one), (second, other) in combinations(slices.items(), 2):
            same = one.place == other.place or bool(self.path and "{split}" not in self.path)
            if same and one.start < (other.stop or inf) and other.start < (one.stop or inf):
                raise UserError(
                    f"{self.key('splits')} takes the same rows for {first} and {second}; give them slices that do not "
                    f"overlap, such as {one.place}[:100] and {one.place}[100:], or set one of them to null"
                )

    def key(self, setting: str) -> str:
        """A setting of this task, for messages."""
        return f"tasks.{self.name}.{setting}"

    def split(self, name: str) -> Slice:
        """The part of the source that is a split.

        Raises:
            UserError: there is none, or its slice cannot be read.
        """
        written = self.splits.get(name)
        if written is None and self.splits:
            has = ", ".join(one for one, place in self.splits.items() if place is not None)
            raise UserError(
                f"the task {self.name} has no split {name!r}; it has {has}: set {self.key(f'splits.{name}')}"
            )
        found = _SLICE.fullmatch(written or name)
        if found is None:
            raise UserError(f"{self.key(f'splits.{name}')} is a split or a slice, as in train[100:300], got {written}")
        start, stop = int(found["start"] or 0), int(found["stop"]) if found["stop"] else None
        if stop is not None and stop <= start:
            raise UserError(f"{self.key(f'splits.{name}')}={written} has no rows; its end must be behind its beginning")
        return Slice(found["name"], start, stop)

    def has(self, lang: str) -> bool:
        """Whether it exists in a language, as far as its settings say."""
        return (not self.languages or lang in self.languages) and (not self.instruction or lang in self.instruction)

    def named(self, lang: str) -> list[str]:
        """The source's own names of a language.

        Raises:
            UserError: it does not have it.
        """
        if self.languages and lang not in self.languages:
            raise UserError(f"the task {self.name} has no language {lang!r}; it has {', '.join(self.languages)}")
        return self.languages.get(lang, lang).split("|")

    def asked(self, text: str, lang: str) -> str:
        """A prompt: the text with what the task writes around it in a language.

        Raises:
            UserError: the task has a wording, but none in this language.
        """
        if not self.instruction:
            return text
        if lang not in self.instruction:
            raise UserError(
                f"the task {self.name} has no wording in {lang!r}; set {self.key(f'instruction.{lang}')} to a text "
                "with {text} in it"
            )
        return self.instruction[lang].replace("{text}", text)

    def filled(self, text: str, lang: str, split: str = "") -> str:
        """A path or a configuration with its places filled."""
        for name, value in (("lang", lang), ("name", self.named(lang)[0]), ("split", split)):
            text = text.replace(f"{{{name}}}", value)
        return text

    def files(self, codes: Sequence[str]) -> Iterator[Path]:
        """Local files of its rows in some languages, those that are there."""
        for split in ("train", "dev", "test"):
            for code in codes if self.path is not None and (not self.splits or self.splits.get(split)) else ():
                file = Path(self.filled(self.path or "", code, self.split(split).place))
                if file.is_file():
                    yield file

    def source(self, lang: str, split: str) -> SourceConfig:
        """The dataset of the hub in a language; ``split`` is the source's."""
        config = None if self.config is None else self.filled(self.config, lang)
        return _TaskSource(
            "table", dataset=self.dataset or "", config=config, split=split, revision=self.revision, task=self.name
        )


@dataclass
class _TaskSource(SourceConfig):
    task: str = ""
    """Its name, for messages."""

    def key(self) -> str:
        return f"tasks.{self.task}"


def check_tasks(tasks: Mapping[str, TaskConfig]) -> None:
    """Refuse a task under another name than its own, and one whose test rows nobody has."""
    for name, task in tasks.items():
        check(name == task.name, f"tasks.{name}.name", f"the name of its task, {name}", task.name)
        if task.tested_by is not None and task.tested_by not in tasks:
            raise UserError(
                f"{task.key('tested_by')}={task.tested_by} is no task of this run; choose it too, as in "
                f"task=[{name},{task.tested_by}], or set {task.key('tested_by')}=null and {task.key('splits.test')}"
            )


def with_testers(tasks: Mapping[str, TaskConfig], names: Sequence[str]) -> dict[str, TaskConfig]:
    """The named tasks, and those whose test rows they are asked on."""
    testers = {task.tested_by for name, task in tasks.items() if name in names}
    return {name: task for name, task in tasks.items() if name in names or name in testers}
