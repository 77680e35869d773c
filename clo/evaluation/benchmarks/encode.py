"""Texts of prompts and options become tokens as in lm-eval 0.4.13, so that log-probs equal that harness's.

Context and continuation are encoded together and cut after the tokens of the context alone; spaces at the end of the
context belong to the continuation; the tokenizer's own BOS comes first, and none where it writes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clo.data.prompt import Renderer
from clo.errors import UserError

Ids = list[int]


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and its continuations; the space between them belongs to the continuations."""

    id: str
    context: str
    continuations: tuple[str, ...]


def encode_plain(tokenizer: Any, questions: Sequence[Question]) -> list[list[tuple[Ids, Ids]]]:
    """(context, continuation) token ids of every option, as lm-eval's ``TemplateLM._encode_pair`` makes them.

    Args:
        tokenizer: of transformers; whether it writes a BOS is its own matter.
        questions: prompts that are not blank.

    Raises:
        UserError: a continuation has no token of its own.
    """
    prefix = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    mark = tokenizer.decode(prefix) if prefix is not None else ""
    bare = [q.context.rstrip() for q in questions]
    ends = [q.context[len(text) :] for q, text in zip(questions, bare, strict=True)]
    whole = [
        text + end + option for q, text, end in zip(questions, bare, ends, strict=True) for option in q.continuations
    ]
    contexts = _encode(tokenizer, bare, mark)
    wholes = iter(_encode(tokenizer, whole, mark))
    pairs = []
    for question, context in zip(questions, contexts, strict=True):
        pairs.append([(context, next(wholes)[len(context) :]) for _ in question.continuations])
        _refuse_empty(question, pairs[-1])
    return pairs


def _encode(tokenizer: Any, texts: Sequence[str], mark: str) -> list[Ids]:
    """Token ids of every text; one that begins with the BOS as text gets no second one."""
    found: list[Ids] = [[] for _ in texts]
    for marked in (False, True):
        chosen = [k for k, text in enumerate(texts) if bool(mark and text.startswith(mark)) == marked]
        if chosen:
            added = {"add_special_tokens": False} if marked else {}
            ids = tokenizer([texts[k] for k in chosen], return_attention_mask=False, verbose=False, **added)[
                "input_ids"
            ]
            for k, row in zip(chosen, ids, strict=True):
                found[k] = row
    return found


def encode_rendered(renderer: Renderer, questions: Sequence[Question]) -> list[list[tuple[Ids, Ids]]]:
    """(prompt, continuation) token ids with the context as a user's turn; continuations begin without a space.

    Raises:
        UserError: a continuation has no token.
    """
    pairs = []
    for question in questions:
        prompt = renderer.prompt_ids(question.context)
        options = [option.lstrip() for option in question.continuations]
        encoded = [renderer.tokenizer.encode(option, add_special_tokens=False) for option in options]
        pairs.append([(prompt, ids) for ids in encoded])
        _refuse_empty(question, pairs[-1])
    return pairs


def _refuse_empty(question: Question, pairs: Sequence[tuple[Ids, Ids]]) -> None:
    for (context, continuation), text in zip(pairs, question.continuations, strict=True):
        if not context or not continuation:
            raise UserError(
                f"row {question.id!r}: the tokenizer makes no token of the prompt or of the option {text!r:.60}; "
                "mend or drop the row"
            )


def window_of(model: Any, tokenizer: Any) -> int:
    """Longest input in tokens: the model's window, else the tokenizer's, else 2048 (as lm-eval does).

    Where longer inputs would change the scores of all others in their batch, it is the length up to which they do not.
    """
    from clo.model.layers import text_config
    from clo.model.window import longest_of

    found = longest_of(text_config(model))
    given = getattr(tokenizer, "model_max_length", None)
    return found or (int(given) if given and given < 10**9 else 2048)
