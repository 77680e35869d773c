"""The one place where text becomes token ids.

The boundary between prompt and response is made by concatenating ids, never found by cutting a string: a tokenizer
may merge characters across the boundary, and then no cut is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clo.errors import UserError, cause

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


PROBE = "Zebras drink 7 cups"
"""Rendered once, to see whether the template says what it is given."""


class Renderer:
    """Renders prompts and responses of one model.

    Args:
        tokenizer: the model's tokenizer.
        template: ``chat`` for the tokenizer's chat template, else a text with ``{prompt}`` in it.
        end_of_turn: token that ends a response; ``None`` is the end-of-sequence token.

    Raises:
        UserError: no chat template or one that fails or loses the prompt, no ``{prompt}``, or no such end token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: str, end_of_turn: str | None = None) -> None:
        if template == "chat" and not tokenizer.chat_template:
            raise UserError("the tokenizer has no chat template; set model.template to a text with {prompt} in it")
        if template != "chat" and template.count("{prompt}") != 1:
            raise UserError("model.template needs {prompt} exactly once (or the word chat)")
        self.tokenizer, self.template = tokenizer, template
        self.end_id = _end_id(tokenizer, end_of_turn)
        if template == "chat" and PROBE not in self._rendered(PROBE):
            raise UserError(
                "the tokenizer's chat template loses the prompt (what it renders does not hold it); mend the template, "
                "or set model.template to a text with {prompt} in it"
            )
        try:
            self.prompt_ids(PROBE)
        except Exception as error:  # a spoilt tokenizer loads, and fails here in ways of its own
            raise UserError(
                f"the tokenizer cannot encode a text ({cause(error)}); mend or download it again"
            ) from error

    def _rendered(self, text: str) -> str:
        """A prompt as the chat template writes it; the template writes the BOS too."""
        turns = [{"role": "user", "content": text}]
        try:
            return str(self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))
        except Exception as error:  # a template is a program: it may fail in any way, or refuse with raise_exception
            line = getattr(error, "lineno", None)
            place = "" if line is None else f" at its line {line}"
            raise UserError(
                f"the tokenizer's chat template fails{place} ({cause(error)}); mend it, or set model.template to a "
                "text with {prompt} in it"
            ) from error

    def prompt_ids(self, text: str) -> list[int]:
        """Token ids of a prompt, with exactly one beginning-of-sequence token where the model has one."""
        tok = self.tokenizer
        if self.template == "chat":
            ids = tok.encode(self._rendered(text), add_special_tokens=False)
        else:
            ids = tok.encode(self.template.replace("{prompt}", text), add_special_tokens=False)
        bos = tok.bos_token_id
        writes_bos = bos is not None and bos != tok.eos_token_id and bos in tok.encode("", add_special_tokens=True)
        if writes_bos and ids[:1] != [bos]:
            ids = [bos, *ids]
        return list(ids)

    def response_ids(self, text: str) -> list[int]:
        """Token ids of a response, closed by the end-of-turn token."""
        return [*self.tokenizer.encode(text, add_special_tokens=False), self.end_id]


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
