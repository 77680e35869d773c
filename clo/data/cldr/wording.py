"""The sentences around the names: one YAML file per language in ``wording/``."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from clo.data.cldr import names
from clo.data.cldr.facts import RELATIONS
from clo.data.cldr.splits import Fact
from clo.errors import UserError

FOLDER = Path(__file__).parent / "wording"
QUESTIONS, FRAMES, ANSWERS = 3, 2, 4
"""Questions per relation and frames around a question (their product is the number of prompts per closed fact), and
answers per relation, each of which says the same."""


@dataclass(frozen=True, slots=True)
class Wording:
    """Templates of one language: ``{s}`` subject, ``{o}`` object, ``{q}`` question."""

    questions: dict[str, list[str]]
    answers: dict[str, list[str]]
    frames: list[str]
    short_styles: list[str] = field(default_factory=list)
    territory_prefix: dict[str, str] = field(default_factory=dict)


def available() -> list[str]:
    """Return the codes of the languages that have a wording file."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@lru_cache(maxsize=32)
def load_wording(language: str) -> Wording:
    """Read and check the wording of one language.

    Raises:
        UserError: There is no such file, or a template lacks a place for a name.
    """
    path = FOLDER / f"{language}.yaml"
    if not path.is_file():
        raise UserError(f"data=cldr has no wording for language {language!r}: use one of {available()} or write {path}")
    raw: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    relations: dict[str, Any] = raw.get("relations", {})
    if set(relations) != set(RELATIONS):
        raise UserError(f"{path}: relations must be exactly {sorted(RELATIONS)}, not {sorted(relations)}")
    wording = Wording(
        questions={key: [names.clean(text) for text in value["questions"]] for key, value in relations.items()},
        answers={key: [names.clean(text) for text in value["answers"]] for key, value in relations.items()},
        frames=[names.clean(text) for text in raw["frames"]],
        short_styles=[names.clean(text) for text in raw.get("short_styles", [])],
        territory_prefix={code: text for text, codes in raw.get("territory_prefix", {}).items() for code in codes},
    )
    _check(wording, path)
    return wording


def _check(wording: Wording, path: Path) -> None:
    if len(wording.frames) != FRAMES or any("{q}" not in text for text in wording.frames):
        raise UserError(f"{path}: frames must be {FRAMES} texts that contain {{q}}")
    for relation, questions in wording.questions.items():
        if len(set(questions)) != QUESTIONS or any(text.count("{s}") != 1 for text in questions):
            raise UserError(f"{path}: {relation}.questions must be {QUESTIONS} different texts with {{s}} once")
        answers = wording.answers[relation]
        fit = [t.count("{s}") == t.count("{o}") == 1 and not t.startswith(("{s}", "{o}")) for t in answers]
        if len(set(answers)) != ANSWERS or not all(fit):
            raise UserError(
                f"{path}: {relation}.answers must be {ANSWERS} different texts that contain {{s}} and {{o}} once and "
                "begin with neither"
            )


def surface(kind: str, key: str, language: str) -> str:
    """Return a name as it stands inside a sentence, with its article where the language wants one."""
    found = names.name(kind, key, language)
    if found is None:
        raise UserError(f"CLDR has no usable {kind} name of {key!r} in {language!r}")
    has_article = kind in ("territory", "continent")
    return load_wording(language).territory_prefix.get(key, "") + found if has_article else found


def question(fact: Fact, form: int, language: str) -> str:
    """Return the prompt of a fact; forms count questions first, then frames."""
    wording = load_wording(language)
    subject = surface(RELATIONS[fact.relation][0], fact.subject, language)
    bare = wording.questions[fact.relation][form % QUESTIONS].format(s=subject)
    return wording.frames[form // QUESTIONS % FRAMES].format(q=bare)


def answer(fact: Fact, language: str, which: int = 0) -> str:
    """Return one of the full sentences that answer with a fact."""
    subject_kind, object_kind = RELATIONS[fact.relation]
    return (
        load_wording(language)
        .answers[fact.relation][which]
        .format(s=surface(subject_kind, fact.subject, language), o=surface(object_kind, fact.object, language))
    )


def gold(fact: Fact, language: str) -> str:
    """Return the bare name of the object, which every right answer contains."""
    return str(names.name(RELATIONS[fact.relation][1], fact.object, language))


def exists(fact: Fact, language: str) -> bool:
    """Tell whether both names of a fact are known in a language."""
    subject_kind, object_kind = RELATIONS[fact.relation]
    subject = names.name(subject_kind, fact.subject, language)
    return subject is not None and names.name(object_kind, fact.object, language) is not None
