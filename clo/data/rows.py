"""Parallel rows: the same instruction example in several languages, read from files and validated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clo.data.bad_rows import BadRows
from clo.data.tables import id_of, records
from clo.data.texts import visible
from clo.errors import UserError


@dataclass(frozen=True, slots=True)
class Row:
    """One example, prompt and response in every language it exists in."""

    id: str
    prompts: dict[str, str]
    """Language code -> prompt text."""
    responses: dict[str, str]
    """Language code -> response text."""
    gold: dict[str, str] = field(default_factory=dict)
    """Language code -> the short content that a right response contains; empty where unknown."""
    group: str = ""
    """Evaluation group (``seen``, ``unseen``), empty where there are none."""
    task: str = ""
    """Task of the row in a mixture (``facts``, ``maths``, …); empty where there is one kind of rows."""
    rejected: dict[str, str] = field(default_factory=dict)
    """Language code -> the worse response of a quality pair; empty where the row holds none."""
    where: str = field(default="", compare=False)
    """File and line of its first record, for messages."""

    def texts(self, lang: str) -> tuple[str | None, str | None]:
        """Prompt and response in a language, None where it has none."""
        return self.prompts.get(lang), self.responses.get(lang)

    def only(self, languages: Sequence[str]) -> Row:
        """The example in those of the languages that it has."""
        prompts, responses, gold, rejected = (
            {code: text for code, text in of.items() if code in languages}
            for of in (self.prompts, self.responses, self.gold, self.rejected)
        )
        return replace(self, prompts=prompts, responses=responses, gold=gold, rejected=rejected)


def read_rows(
    path: str | Path,
    source: str,
    target: str,
    key: str = "data.train",
    bad: BadRows | None = None,
    further: Sequence[str] = (),
) -> list[Row]:
    """Read parallel rows from a JSONL, JSON, CSV, TSV or Parquet file, in file order.

    Two forms are read: long (``id, lang, prompt, response``, one line per language, joined on ``id``) and paired
    (``id, prompt_<source>, response_<source>, prompt, response, lang``, one line per example and target). Both may
    have a worse response beside each (``rejected``, ``rejected_<source>``), which :mod:`clo.data.pairs` checks where it
    is used.

    Args:
        path: the file.
        source: language code.
        target: language code.
        key: the setting that named it, for messages.
        bad: what becomes of rows that cannot be used; None stops at the first.
        further: other targets; where there are some, an example may lack any target.

    Raises:
        UserError: the file is missing, not UTF-8 or malformed; an id is missing, doubled or neither text nor whole
            number; a text is empty; an example lacks one of the two languages.
    """
    path, bad = Path(path), bad or BadRows()
    needed = (source,) if further else (source, target)
    rows: dict[str, Row] = {}
    refused: set[str] = set()
    for where, record in records(path, key, bad):
        before = bad.count
        with bad.row():
            _add(rows, where, record, source)
        if bad.count > before:
            refused.add(str(record.get("id")))
    for row in list(rows.values()):
        if row.id in refused and not {*needed} <= row.prompts.keys():  # counted already, by its other record
            del rows[row.id]
            continue
        with bad.row():
            _check_languages(row, needed, path, rows)
    if not rows:
        why = f": {bad.count:,} were refused, the first: {bad.first[0]}" if bad.count else ""
        raise UserError(f"{path} holds no rows{why}")
    return list(rows.values())


def _add(rows: dict[str, Row], where: str, record: dict[str, Any], source: str) -> None:
    row_id = id_of(record, where)
    if row_id is None:
        raise UserError(f"{where}: the field 'id' is missing or empty; give every example an id of its own")
    texts = list(_texts(where, record, source))
    row = rows.setdefault(row_id, Row(row_id, {}, {}, where=where))
    if len(texts) == 2 and texts[1][0] not in row.prompts and row.texts(source) == texts[0][1:]:
        del texts[0]  # a paired form with a line for each of several targets repeats the source
    for lang, prompt, response in texts:
        if lang in row.prompts:
            raise UserError(f"{where}: id {row.id!r} has {lang!r} twice; ids must be unique per language")
        row.prompts[lang], row.responses[lang] = prompt, response
        worse = record.get("rejected" if lang == record["lang"] else f"rejected_{lang}")
        if isinstance(worse, str) and visible(worse):
            row.rejected[lang] = worse


def _check_languages(row: Row, languages: Sequence[str], path: Path, rows: dict[str, Row]) -> None:
    for lang in languages:
        if lang not in row.prompts:
            del rows[row.id]
            has = ", ".join(sorted(row.prompts))[:80]
            raise UserError(
                f"{path}: id {row.id!r} has no {lang!r} text (it has {has}); add the translation or drop the id"
            )


def _texts(where: str, record: dict[str, Any], source: str) -> Iterator[tuple[str, str, str]]:
    """(language, prompt, response) of one record in either form, checked."""
    lang = record.get("lang")
    if not isinstance(lang, str) or not lang:
        raise UserError(f"{where}: the field 'lang' is missing; it names the language of 'prompt' and 'response'")
    fields = [(lang, "prompt", "response")]
    if f"prompt_{source}" in record:
        fields.insert(0, (source, f"prompt_{source}", f"response_{source}"))
    for code, *names in fields:
        for name in names:
            if not isinstance(record.get(name), str):
                raise UserError(f"{where}: the field {name!r} is missing or not a text")
            if not visible(record[name]):
                raise UserError(f"{where}: the field {name!r} is empty; fill it or drop the row")
        yield code, record[names[0]], record[names[1]]
