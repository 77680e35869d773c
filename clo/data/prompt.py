"""The one place where text becomes token ids.

The boundary between prompt and response is made by concatenating ids, never found by cutting a string: a tokenizer
may merge characters across the boundary, and then no cut is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clo.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Renderer:
    """Renders prompts and responses of one model.

    Args:
        tokenizer: the model's tokenizer.
        template: ``chat`` for the tokenizer's chat template, else a text with ``{prompt}`` in it.
        end_of_turn: token that ends a response; ``None`` is the end-of-sequence token.

    Raises:
        UserError: no chat template, no ``{prompt}``, or no such end token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: str, end_of_turn: str | None = None) -> None:
        if template == "chat" and not tokenizer.chat_template:
            raise UserError("the tokenizer has no chat template; set model.template to a text with {prompt} in it")
        if template != "chat" and template.count("{prompt}") != 1:
            raise UserError("model.template needs {prompt} exactly once (or the word chat)")
        end_id = tokenizer.eos_token_id if end_of_turn is None else tokenizer.convert_tokens_to_ids(end_of_turn)
        if not isinstance(end_id, int) or (end_of_turn is not None and end_id == tokenizer.unk_token_id):
            raise UserError(
                f"the tokenizer has no end-of-turn token {end_of_turn or ''}; set model.end_of_turn to one it has"
            )
        self.tokenizer, self.template = tokenizer, template
        self.end_id: int = end_id

    def prompt_ids(self, text: str) -> list[int]:
        """Token ids of a prompt, with exactly one beginning-of-sequence token where the model has one."""
        tok = self.tokenizer
        if self.template == "chat":
            turns = [{"role": "user", "content": text}]
            # Rendered to text, then encoded without added tokens: the template itself writes the BOS.
            rendered = tok.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
            ids = tok.encode(rendered, add_special_tokens=False)
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
