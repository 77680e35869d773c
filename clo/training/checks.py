"""Self-checks of every run: facts that must hold before the first step and after the last."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clo.data.items import Item
from clo.data.turns import PROBE
from clo.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from clo.data.prompt import Renderer


def check_places(logger: str, cache_dir: str) -> None:
    """What a run writes to besides its folder is there, before anything is computed.

    Raises:
        UserError: the cache cannot be written, or logger=wandb without wandb.
    """
    try:
        Path(cache_dir).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache_dir).close()
    except OSError as error:
        raise UserError(f"cannot write cache_dir={cache_dir} ({error.strerror}); set a writable place") from error
    if logger == "wandb" and find_spec("wandb") is None:
        raise UserError("logger=wandb needs wandb; `pip install wandb` or use logger=csv")


def check_items(items: Sequence[Item], renderer: Renderer) -> None:
    """Nothing empty, one BOS per prompt and none in a response, the end-of-turn token closes every response.

    A chat template may write the BOS at every turn (SmolLM's ``<|im_start|>``), but not twice at the beginning.

    Raises:
        UserError: the model's template or tokenizer breaks one of these.
    """
    bos, end = renderer.tokenizer.bos_token_id, renderer.end_id
    most = 1 if renderer.chat is None else max(1, renderer.prompt_ids(PROBE).count(bos))
    for item in items:
        prompts = [ids for ids in item.prompts if ids is not None]
        responses = [ids for ids in item.responses if ids is not None]
        if not all(prompts) or min(map(len, responses)) < 2:
            raise UserError(f"item {item.id!r} has an empty prompt or response after tokenization; check its text")
        if (
            bos is not None
            and bos != end
            and any(ids.count(bos) > most or list(ids[:2]) == [bos, bos] for ids in prompts)
        ):
            raise UserError(f"item {item.id!r} has more than one beginning-of-sequence token; check model.template")
        for response in responses:
            if bos is not None and bos != end and bos in response:
                raise UserError(f"item {item.id!r} has more than one beginning-of-sequence token; check model.template")
            if response[-1] != end or end in response[:-1]:
                advice = "check model.end_of_turn, or the row if its text holds that token"
                raise UserError(f"item {item.id!r}: the end-of-turn token must close the response, once; {advice}")


def check_vocabulary(items: Sequence[Item], embeddings: int) -> None:
    """Every token has an embedding.

    Raises:
        UserError: the tokenizer belongs to another model.
    """
    top = max(max(ids) for item in items for ids in (*item.prompts, *item.responses) if ids)
    if top >= embeddings:
        raise UserError(
            f"the tokenizer gives token {top}, but the model has {embeddings} embeddings; "
            "set model.path to a folder whose tokenizer belongs to it"
        )


def check_finite(value: float, name: str, stage: str, step: int, lr: float) -> None:
    """Stop before a loss or gradient that is not a number reaches the weights."""
    if not math.isfinite(value):
        raise UserError(
            f"the {name} of stage {stage} is {value} at step {step}; lower method.lr={lr} or check the data"
        )


def frozen_key(model: Any) -> str:
    """Sums over the bits of the weights that must not change, each by its place, made where they lie.

    Any one changed value changes them. That is no content hash, which takes many times as long: nobody forges weights
    between the two ends of one training.
    """
    import torch

    with torch.no_grad():
        frozen = [(name, p.detach()) for name, p in sorted(model.named_parameters()) if not p.requires_grad]
        sums = [_bit_sum(tensor) for _, tensor in frozen]
    return " ".join(f"{name}:{int(total)}" for (name, _), total in zip(frozen, sums, strict=True))


CHUNK = 1 << 22
"""Values that are widened at a time."""


def _bit_sum(tensor: Tensor) -> Tensor:
    """Sum of bits times odd numbers that differ by place, modulo 2 ** 64; an int64 scalar on the tensor's device."""
    import torch

    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    bits = tensor.contiguous().flatten().view(kinds[tensor.element_size()])
    places = torch.arange(min(CHUNK, len(bits)), device=tensor.device) * 2 + 1
    total = torch.zeros((), dtype=torch.int64, device=tensor.device)
    for part in bits.split(CHUNK):
        total = total * 0x9E3779B1 + (part.to(torch.int64) * places[: len(part)]).sum()
    return total


def check_frozen(before: str, after: str) -> None:
    """The frozen weights are bit-equal to those at the start.

    Raises:
        RuntimeError: they are not; the run's claim "only X trained" would be false.
    """
    if before != after:
        raise RuntimeError("weights that should be frozen have changed during training")
