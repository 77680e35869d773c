"""The one place where text becomes token ids.

The boundary between prompt and response is made by concatenating ids, never found by cutting a string: a tokenizer
may merge characters across the boundary, and then no cut is right.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from clo.data.turns import PROBE, ChatTemplate, added_tokens
from clo.errors import UserError, cause

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Renderer:
    """Renders prompts and responses of one model.

    A control token spelt in a text stays text: it is split, never read as the token.

    Args:
        tokenizer: the model's tokenizer.
        template: ``chat`` for the tokenizer's chat template, else a text with ``{prompt}`` in it.
        end_of_turn: token that ends a response; ``None`` is the one that the chat template closes an answer with, for a
            text template the end-of-sequence token.
        settings: keyword arguments of the chat template.
        date: the day that the chat template writes, ``YYYY-MM-DD``.

    Raises:
        UserError: no chat template or one that fails, loses the prompt, writes today's date or closes an answer with no
            token; no ``{prompt}``; or no such end token.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: str,
        end_of_turn: str | None = None,
        settings: Mapping[str, Any] | None = None,
        date: str | None = None,
    ) -> None:
        if template == "chat" and not tokenizer.chat_template:
            raise UserError("the tokenizer has no chat template; set model.template to a text with {prompt} in it")
        if template != "chat" and template.count("{prompt}") != 1:
            raise UserError("model.template needs {prompt} exactly once (or the word chat)")
        self.tokenizer, self.template = tokenizer, template
        self.chat = ChatTemplate(tokenizer, settings or {}, date) if template == "chat" else None
        """The chat template, where it is used."""
        try:
            marks = self.chat.marks() if self.chat else []
            names = sorted({*added_tokens(tokenizer, special=True), *marks}, key=lambda name: (-len(name), name))
            self._control = re.compile("|".join(map(re.escape, names)) or r"(?!)")
            ids: Any = tokenizer.convert_tokens_to_ids(names)
            self._ids = set(ids) - {tokenizer.unk_token_id}
            self.end_id = _end_id(tokenizer, self.chat.end() if self.chat and end_of_turn is None else end_of_turn)
            self.prompt_ids(PROBE)
        except UserError:
            raise
        except Exception as error:  # a spoilt tokenizer loads, and fails here in ways of its own
            raise UserError(
                f"the tokenizer cannot encode a text ({cause(error)}); mend or download it again"
            ) from error

    def prompt_ids(self, text: str) -> list[int]:
        """Token ids of a prompt, which begin as the model's texts do: mostly with one beginning-of-sequence token."""
        tok = self.tokenizer
        rendered = self.template.replace("{prompt}", text) if self.chat is None else self.chat.ask(text)
        if self._control.search(text) is None:
            ids = tok.encode(rendered, add_special_tokens=False)
        else:
            ids = [id_ for part in self._around(rendered, text) for id_ in part]
        begun = ids[: len(self.beginning)] == self.beginning
        return list(ids) if begun else [*self.beginning, *ids]

    @cached_property
    def beginning(self) -> list[int]:
        """What the tokenizer writes before a text: ``<s>``, ``[gMASK] <sop>``; of a chat template's only a BOS."""
        tok = self.tokenizer
        plain, whole = (list(tok.encode(PROBE, add_special_tokens=special)) for special in (False, True))
        found = whole[: next((k for k in range(len(whole)) if whole[k : k + len(plain)] == plain), 0)]
        of_chat = found == [tok.bos_token_id] != [tok.eos_token_id]
        return found if self.chat is None or of_chat else []

    def response_ids(self, text: str) -> list[int]:
        """Token ids of a response, closed by the end-of-turn token."""
        return [*self._text_ids(text), self.end_id]

    def _around(self, rendered: str, text: str) -> tuple[list[int], list[int], list[int]]:
        """Token ids of what the template writes before a text that spells a control token, of the text, of the rest."""
        probe = self.template.replace("{prompt}", PROBE) if self.chat is None else self.chat.ask(PROBE)
        place = probe.find(PROBE)
        body = next((some for some in (text, text.strip()) if rendered.startswith(some, place)), None)
        if not body:
            raise UserError(
                f"a prompt spells a control token, and the chat template changes the text around it ({text[:40]!r}); "
                "drop the row, or write it otherwise"
            )
        outside = (rendered[:place], rendered[place + len(body) :])
        before, after = (list(self.tokenizer.encode(s, add_special_tokens=False)) if s else [] for s in outside)
        return before, self._text_ids(body), after

    def _text_ids(self, text: str) -> list[int]:
        """Token ids of a text alone, none of them a control token.

        Raises:
            UserError: the tokenizer cannot split one that is spelt in the text.
        """
        found = self._control.search(text)
        if found is None:
            return list(self.tokenizer.encode(text, add_special_tokens=False))
        ids = list(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))
        if self._ids.intersection(ids):
            raise UserError(
                f"a text holds the control token {found[0]!r}, which this tokenizer cannot read as text "
                f"({text[:40]!r}); drop the row, or write it otherwise"
            )
        return ids

    def said_of_ends(self, own: int | Sequence[int] | None) -> str | None:
        """One sentence where an answer ends with a token that neither the tokenizer nor the model ends with."""
        known = {self.tokenizer.eos_token_id, *([] if own is None else [own] if isinstance(own, int) else own)}
        if self.end_id in known:
            return None
        names = [str(self.tokenizer.convert_ids_to_tokens(id_)) for id_ in sorted(known - {None})]
        return (
            f"an answer ends with {self.tokenizer.convert_ids_to_tokens(self.end_id)}, as the template or "
            f"model.end_of_turn says; the start model's own settings end with {' or '.join(names) or 'nothing'}"
        )

    def ends(self, own: int | Sequence[int] | None) -> list[int]:
        """The token that ends a turn, then those control tokens that a model's own settings name beside it.

        A default of a configuration class may name an ordinary token: no answer ends at a word.
        """
        given = [] if own is None else [own] if isinstance(own, int) else own
        return list(dict.fromkeys([self.end_id, *(id_ for id_ in given if id_ in self._ids)]))

    @cached_property
    def _tokens(self) -> str:
        """Content hash of the tokenizer; padding and cutting, which a call may leave set, stand before what counts."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        whole = json.dumps(self.tokenizer.get_vocab(), sort_keys=True) if backend is None else backend.to_str()
        return hashlib.sha256(whole[max(0, whole.find('"added_tokens"')) :].encode()).hexdigest()[:32]

    def identity(self) -> dict[str, Any]:
        """What token ids depend on beside the text: the tokenizer, the template with its settings, the end token."""
        return {
            "tokenizer": self._tokens,
            "template": self.template if self.chat is None else self.chat.text,
            "special": [self.end_id, self.tokenizer.bos_token_id, self.tokenizer.eos_token_id],
        }


def _end_id(tokenizer: PreTrainedTokenizerBase, name: str | None) -> int:
    """Id of the token that ends a response."""
    end_id = tokenizer.eos_token_id if name is None else tokenizer.convert_tokens_to_ids(name)
    if isinstance(end_id, int) and (name is None or end_id != tokenizer.unk_token_id):
        return end_id
    if name is None:
        raise UserError(
            "the tokenizer has no end-of-sequence token; set model.end_of_turn to the token that ends a turn"
        )
    if not name.strip():
        raise UserError(f"model.end_of_turn={name!r} is blank; name a token that the tokenizer has, or leave it null")
    raise UserError(f"the tokenizer has no end-of-turn token {name}; set model.end_of_turn to one it has")
