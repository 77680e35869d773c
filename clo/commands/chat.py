"""``clo chat``: the start model and the trained model answer side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clo.commands.command import Command
from clo.commands.options import option
from clo.errors import UserError

if TYPE_CHECKING:
    from clo.study.chat import Chat


@dataclass(frozen=True)
class Options:
    """Keys."""

    run: Path = option("a finished run; its start model and its trained model answer", shape="<folder>")
    prompt: str | None = option("one prompt, in any language (default: the pipe's, or those that you type)", None)
    max_new_tokens: int = option("longest answer, tokens", 256)


def chat(asked: Options) -> None:
    """Answer one prompt (of ``prompt=`` or a pipe), or those that a person types until an empty line or Ctrl-D.

    Raises:
        UserError: no finished run, no prompt in the pipe, or one that is longer than the model's window.
    """
    import sys

    from clo.study.chat import open_chat, show

    prompt = asked.prompt if asked.prompt is not None or sys.stdin.isatty() else _piped()
    both = open_chat(asked.run, asked.max_new_tokens)
    if prompt is not None:
        show(both.answers(prompt))
    else:
        _talk(both)


def _piped() -> str:
    """All of standard input as one prompt."""
    import sys

    try:
        prompt = sys.stdin.buffer.read().decode("utf-8").strip()
    except UnicodeDecodeError:
        raise UserError("the prompt from the pipe is not UTF-8; convert it first, as with iconv") from None
    if not prompt:
        raise UserError("there is no prompt in the pipe; give prompt=<text>, or type it in a terminal")
    return prompt


def _talk(both: Chat) -> None:
    """A prompt that cannot be answered ends nothing here."""
    import sys

    from clo.study.chat import show

    print("A prompt in any language; an empty line or Ctrl-D ends.")
    for prompt in _typed():
        try:
            show(both.answers(prompt))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)


def _typed() -> Iterator[str]:
    """What a person types, line by line."""
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (input() then has the arrow keys and a history)
    while True:
        try:
            prompt = input("> ").strip()
        except EOFError:
            print()
            return
        if not prompt:
            return
        yield prompt


COMMAND = Command(
    name="chat",
    summary="talk to a run: its start and its trained model answer side by side",
    reads="<run>/model, the start model, and a prompt: prompt=, a pipe, or what you type",
    writes="nothing; both answers with their language are printed",
    example='chat run=outputs/runs/<run>\nchat run=outputs/runs/<run> prompt="Ni nchi gani yenye msimbo RU?"',
    run=chat,
    options=Options,
    stopped="of a chat nothing is kept",
)
