"""A finished run to talk to: its start model and its trained model, loaded once, answer every prompt."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clo.errors import UserError
from clo.study.finished import finished_run, load_start, load_trained

if TYPE_CHECKING:
    from clo.evaluation.fidelity import LanguageIdentifier
    from clo.study.session import Session

NARROW = 72
"""Columns of a terminal below which the answers stand one under the other."""


@dataclass(frozen=True)
class Spoken:
    """One answer."""

    who: str
    """``start model`` or ``trained model``."""
    language: str
    """In words."""
    text: str


@dataclass(frozen=True)
class Chat:
    """Both models of a run."""

    session: Session
    identifier: LanguageIdentifier
    start: Any
    """The start model; None where the trained one is adapters on it, which are switched off instead."""
    trained: Any
    max_new_tokens: int

    def answers(self, prompt: str) -> list[Spoken]:
        """The start model's and the trained model's greedy answer.

        Raises:
            UserError: the prompt is no text, or longer than the model's window.
        """
        ids = self._ids(prompt)
        off: AbstractContextManager[Any] = self.trained.disable_adapter() if self.start is None else nullcontext()
        with off:
            first = self._answer(self.trained if self.start is None else self.start, ids)
        second = self._answer(self.trained, ids)
        languages = [self._language(code) for code in self.identifier.codes([first, second])]
        return [Spoken("start model", languages[0], first), Spoken("trained model", languages[1], second)]

    def _ids(self, prompt: str) -> list[int]:
        try:
            prompt.encode("utf-8")
        except UnicodeEncodeError:
            raise UserError("the prompt is not UTF-8; type it again, or set the terminal to UTF-8") from None
        ids, longest = self.session.renderer.prompt_ids(prompt), self.session.run.model.max_length
        if len(ids) >= longest:
            raise UserError(
                f"the prompt has {len(ids)} tokens, and model.max_length={longest} is the window: shorten it"
            )
        return list(ids)

    def _answer(self, model: Any, ids: Sequence[int]) -> str:
        from clo.evaluation.generate import generate

        with self.session.precision():
            (answer,) = generate(self.session.subject(model), [ids], self.max_new_tokens)
        return answer.text

    def _language(self, code: str) -> str:
        lang = self.session.run.lang
        names = {one.code: one.name for one in lang.targets()}
        names[lang.source] = "English" if lang.source == "en" else lang.source
        return {**names, "other": "another language"}.get(code, "language undecided")


def open_chat(place: Path, max_new_tokens: int) -> Chat:
    """Load both models of a finished run; adapters share their base with the start model.

    Args:
        place: the run's folder.
        max_new_tokens: longest answer, tokens.

    Raises:
        UserError: no finished run, or a model cannot be loaded.
    """
    from rich.console import Console

    from clo.evaluation.fidelity import LanguageIdentifier
    from clo.study.session import open_session

    folder, run = finished_run(place)
    identifier = LanguageIdentifier.of_all(run.lang)
    session = open_session(run, folder)
    with Console(stderr=True).status("loading the start model and the trained model"):
        trained = load_trained(run, place).to(session.device)
        start = None if hasattr(trained, "disable_adapter") else load_start(run, place).to(session.device)
    return Chat(session, identifier, start, trained, max_new_tokens)


def show(answers: Sequence[Spoken]) -> None:
    """Print the answers side by side, or one under the other on a narrow terminal; they are text, never markup."""
    from rich import box
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    heads = [Text(f"{one.who} · {one.language}", style="bold") for one in answers]
    bodies = [Text(_clean(one.text)) if one.text else Text("(empty)", style="dim") for one in answers]
    if console.width < NARROW:
        for head, body in zip(heads, bodies, strict=True):
            console.print(head, Padding(body, (0, 0, 1, 2)), sep="\n")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, expand=True)
    for head in heads:
        table.add_column(head, ratio=1, overflow="fold")
    table.add_row(*bodies)
    console.print(table)


def _clean(text: str) -> str:
    """What a model wrote, without control characters: they would steer the terminal."""
    kept = (c if c in "\n\t" or unicodedata.category(c) != "Cc" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return "".join(kept)
