"""How long a text a model can read, and up to which length a score does not depend on what stands beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from clo.errors import UserError
from clo.model.layers import base_model, text_config

SWITCHING = ("longrope", "su", "dynamic")
"""Rotary embeddings that are others for the whole batch as soon as one sequence in it is longer than a limit."""


def window_of(config: Any) -> int | None:
    """Longest input in tokens by a model's configuration, None where it names none."""
    names = ("n_positions", "max_position_embeddings", "n_ctx")
    found = [getattr(config, name, None) for name in names]
    return next((int(value) for value in found if isinstance(value, int) and value > 0), None)


def steady_length(config: Any) -> int | None:
    """Tokens up to which positions mean the same in any company; None where that is the whole window."""
    limits = []
    for rope in _ropes(config):
        if rope.get("rope_type", rope.get("type")) in SWITCHING:
            own = rope.get("original_max_position_embeddings") or getattr(config, "original_max_position_embeddings", 0)
            limits.append(own or window_of(config))
    return min((int(limit) for limit in limits if limit), default=None)


def _ropes(config: Any) -> Iterator[dict[str, Any]]:
    """The settings of rotary embeddings, one or one per kind of layer."""
    for name in ("rope_parameters", "rope_scaling"):
        found = getattr(config, name, None)
        if isinstance(found, dict):
            yield found
            yield from (value for value in found.values() if isinstance(value, dict))


def longest_of(config: Any) -> int | None:
    """The longest text that may be scored or answered: within the window, and where positions stay what they are."""
    limits = [limit for limit in (window_of(config), steady_length(config)) if limit is not None]
    return min(limits, default=None)


def check_max_length(shown: str, config: Any, max_length: int) -> None:
    """Refuse a longest item that the model cannot read, or reads otherwise in other company.

    Raises:
        UserError: names the length that is safe.
    """
    window, steady = window_of(config), steady_length(config)
    if window is not None and max_length > window:
        safe = window if steady is None else min(window, steady)
        raise UserError(f"model.max_length={max_length} is over the window of {shown}; set it to at most {safe}")
    if steady is not None and max_length > steady:
        raise UserError(
            f"model.max_length={max_length}: beyond {steady} tokens the rotary embeddings of {shown} are others for "
            f"every text in the batch, so scores would depend on their company; set it to at most {steady}"
        )


def check_readable(model: Any, texts: Iterable[Sequence[int]], name: Callable[[int], str]) -> None:
    """Every token has an embedding, and no text is longer than the model reads.

    Args:
        model: reads them.
        texts: token ids, prompts with their responses.
        name: of the text at an index, for the message.

    Raises:
        UserError: names the first one and what is wrong.
    """
    embeddings = base_model(model).get_input_embeddings().num_embeddings
    longest = longest_of(text_config(model))
    for k, ids in enumerate(texts):
        if max(ids) >= embeddings:
            raise UserError(
                f"{name(k)} holds token {max(ids)}, but the model has {embeddings} embeddings; set model.path to "
                "a folder whose tokenizer belongs to it"
            )
        if longest is not None and len(ids) > longest:
            raise UserError(
                f"{name(k)} has {len(ids)} tokens, more than the {longest} that the model reads; shorten the "
                "text or take it out"
            )
