"""The sentences around numbers and lists: one YAML file per language in ``wording/``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from clo.data.cldr.names import clean
from clo.errors import UserError

FOLDER = Path(__file__).parent / "wording"
FORMS = ANSWERS = 2
"""Ways to ask and ways to answer, of every kind of problem and list."""
_SENTENCE_START = re.compile(r"(?:^|(?<=[.?!] ))[^\W\d_]")


@dataclass(frozen=True, slots=True)
class Counted:
    """So many things; a template's ``{a}`` prints ``counted``, Korean asks for ``{a.subject}`` or ``{a.object}``."""

    counted: str
    subject: str
    object: str

    def __str__(self) -> str:
        return self.counted


@dataclass(frozen=True, slots=True)
class Wording:
    """Templates of one language; what their places mean is said at the top of ``wording/en.yaml``."""

    things: dict[str, dict[str, str]]
    maths: dict[str, dict[str, list[str]]]
    summaries: dict[str, Any]

    def counted(self, thing: str, number: str) -> Counted:
        """So many of one thing."""
        forms = self.things[thing]
        plain = forms["counted"].format(n=number)
        subject, object_ = (forms.get(key, forms["counted"]).format(n=number) for key in ("subject", "object"))
        return Counted(plain, subject, object_)

    def listed(self, names: list[str]) -> str:
        """Names as an enumeration inside a sentence."""
        quoted = [self.summaries.get("quotes", "{n}").format(n=name) for name in names]
        head = self.summaries.get("comma", ", ").join(quoted[:-1])
        return head + self.summaries["conjunction"] + quoted[-1] if head else quoted[-1]


def available() -> list[str]:
    """Return the codes of the languages that have a wording file."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@lru_cache(maxsize=32)
def load_wording(language: str) -> Wording:
    """Read and check the wording of one language.

    Raises:
        UserError: There is no such file, or a kind of problem lacks a way to ask or to answer.
    """
    path = FOLDER / f"{language}.yaml"
    if not path.is_file():
        raise UserError(f"data=tasks has no wording of language {language!r}: use one of {available()} or write {path}")
    raw: dict[str, Any] = _cleaned(yaml.safe_load(path.read_text(encoding="utf-8")))
    wording = Wording(raw["things"], raw["maths"], raw["summaries"])
    for kind, said in wording.maths.items():
        if len(set(said["questions"])) != FORMS or len(set(said["answers"])) != ANSWERS:
            raise UserError(f"{path}: {kind} must have {FORMS} different questions and {ANSWERS} different answers")
        if any(text.count("{c}") != 1 for text in said["answers"]):
            raise UserError(f"{path}: {kind}.answers must each contain {{c}} once")
    return wording


def _cleaned(value: Any) -> Any:
    """Texts in composed form; the spaces at their ends join things, so they stay."""
    if isinstance(value, dict):
        return {key: _cleaned(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    text = str(value)
    return clean(f"|{text}|")[1:-1]


def capitalised(text: str) -> str:
    """The text with a capital at the beginning of each of its sentences."""
    return _SENTENCE_START.sub(lambda found: found[0].upper(), text)
