"""The chat template of a tokenizer: with its settings written into it, and what it puts around an answer.

A template is a program. What it may read beside the messages (keyword arguments, the day) is written into its text, so
that training, evaluation and every server that loads an exported folder render the same.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clo.errors import UserError, cause

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROBE, ANSWER = "Zebras drink 7 cups", "Nine otters sang"
"""A question and an answer, rendered once to see what the template makes of them."""
_DAY = re.compile(r"""strftime_now\s*\(\s*(?:(['"])(?P<format>[^'"]*)\1\s*\))?""")
_MARK = "the-day-of-today"
MEND = "set model.template to a text with {prompt} in it"


class ChatTemplate:
    """A tokenizer's chat template.

    Args:
        tokenizer: has one.
        settings: keyword arguments of the template (``enable_thinking: false``).
        date: the day that it is to write, ``YYYY-MM-DD``; None where it writes none.

    Raises:
        UserError: it fails, loses the prompt, or writes the day of its rendering and ``date`` is None.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, settings: Mapping[str, Any], date: str | None) -> None:
        self._tokenizer = tokenizer
        try:
            source = str(tokenizer.get_chat_template())
        except ValueError as error:
            raise UserError(f"the tokenizer has no chat template ({cause(error)}); {MEND}") from error
        calls = list(_DAY.finditer(source))
        marked = _with(source, settings, dict.fromkeys(_formats(calls), _MARK))
        if calls and _MARK in self._render(marked, PROBE):
            if date is None:
                raise UserError(
                    "the tokenizer's chat template writes today's date, so that tomorrow's prompts would be others; "
                    "set model.date=YYYY-MM-DD to the day that it is to write for ever"
                )
            if any(call["format"] is None for call in calls):
                raise UserError(
                    f"the tokenizer's chat template computes the form of its date, so none can be set; {MEND}"
                )
            day = datetime.date.fromisoformat(date)
            source = _with(source, {}, {form: day.strftime(form) for form in _formats(calls)})
        self.text = _with(source, settings, {})
        """The template with all its settings in it."""
        if PROBE not in self.ask(PROBE):
            raise UserError(
                "the tokenizer's chat template loses the prompt (what it renders does not hold it); mend the template, "
                f"or {MEND}"
            )

    def ask(self, prompt: str) -> str:
        """A prompt, up to where its answer begins.

        Raises:
            UserError: the template fails.
        """
        return self._render(self.text, prompt)

    def end(self) -> str:
        """The token that closes an answer.

        Raises:
            UserError: the template closes it with no token, or begins it otherwise than it asks for it.
        """
        asked, whole = self.ask(PROBE), self._render(self.text, PROBE, ANSWER)
        place = whole.rfind(ANSWER)
        if place < 0:
            raise UserError(f"the tokenizer's chat template loses the answer; set model.end_of_turn, or {MEND}")
        before, after = whole[:place], whole[place + len(ANSWER) :].lstrip()
        if not before.startswith(asked.rstrip()) or before[len(asked.rstrip()) :].strip():
            raise UserError(
                f"the tokenizer's chat template asks for an answer with {asked[-40:]!r} but writes one after "
                f"{before[-40:]!r}: set what it knows with model.template_kwargs (such as "
                f"+model.template_kwargs.enable_thinking=false), or {MEND}"
            )
        found = max((token for token in added_tokens(self._tokenizer) if after.startswith(token)), key=len, default="")
        if not found:
            raise UserError(
                f"the tokenizer's chat template closes an answer with {after[:20]!r}, which begins with no token of "
                "its own; set model.end_of_turn to the token that ends a turn"
            )
        return found

    def marks(self) -> list[str]:
        """Tokens that the template writes around a prompt, also those that the tokenizer does not call special.

        Thoughts are no turns: an answer may hold some of its own.
        """
        asked = self.ask(PROBE)
        return [token for token in added_tokens(self._tokenizer) if token in asked and "think" not in token]

    def _render(self, template: str, prompt: str, answer: str | None = None) -> str:
        turns = [{"role": "user", "content": prompt}]
        if answer is not None:
            turns.append({"role": "assistant", "content": answer})
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    turns, chat_template=template, add_generation_prompt=answer is None, tokenize=False
                )
            )
        except Exception as error:  # a template is a program: it may fail in any way, or refuse with raise_exception
            line = getattr(error, "lineno", None)
            place = "" if line is None else f" at its line {line}"
            raise UserError(
                f"the tokenizer's chat template fails{place} ({cause(error)}); mend it, or {MEND}"
            ) from error


def added_tokens(tokenizer: PreTrainedTokenizerBase, special: bool = False) -> list[str]:
    """The tokens that are no part of the language: all of them, or those only that no text may become."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special or not special]
    return [token for token in dict.fromkeys([*added, *tokenizer.all_special_tokens]) if token.strip()]


def _formats(calls: list[re.Match[str]]) -> list[str]:
    return list(dict.fromkeys(call["format"] or "" for call in calls))


def _with(source: str, settings: Mapping[str, Any], days: Mapping[str, str]) -> str:
    """The template with variables and days set at its beginning; without any it stays as it is."""
    sets = [f"{{% set {name} = {_literal(value)} %}}" for name, value in sorted(settings.items())]
    if days:
        table = f"{_literal(dict(days))}.get(format, {_literal(next(iter(days.values())))})"
        sets.append(f"{{% macro strftime_now(format) %}}{{{{ {table} }}}}{{% endmacro %}}")
    return "".join(sets) + "{{ '' }}" + source if sets else source  # a break after a block would be eaten


def _literal(value: Any) -> str:
    """A value as Jinja writes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(str(k))}: {_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
