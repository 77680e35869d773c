"""Batched greedy decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from clo.evaluation.answer_log import AnswerLog
from clo.evaluation.subject import Subject

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int], None]
"""Called with (done, total)."""


def generate(
    subject: Subject,
    prompt_ids: Sequence[Sequence[int]],
    max_new_tokens: int,
    max_tokens: int = 16384,
    progress: Progress | None = None,
    log: AnswerLog | None = None,
) -> list[str]:
    """The greedy continuation of every prompt, as text without prompt and special tokens, in the order given.

    Sampling and penalty settings that come with the checkpoint are not used: scores must not depend on them. Its end
    tokens are: an answer stops where servers stop that read them.

    Args:
        subject: answers; of its renderer only the tokenizer's ``decode`` and the tokens that end a turn are used,
            before which an answer stops.
        prompt_ids: token ids of each rendered prompt; none may be empty.
        max_new_tokens: longest answer, in tokens.
        max_tokens: budget of a batch, in tokens: prompts x (longest prompt + ``max_new_tokens``). A prompt
            that does not fit runs alone.
        progress: called after each batch.
        log: keeps every batch as it is made; what it has already is not made again.

    Raises:
        ValueError: a prompt is empty.
    """
    import torch

    if not all(prompt_ids):
        raise ValueError("every prompt must have at least one token")
    model, renderer = subject.model, subject.renderer
    known = {} if log is None else log.known()
    answers = [known.get(k, "") for k in range(len(prompt_ids))]
    done = 0
    ends = renderer.ends(getattr(model.generation_config, "eos_token_id", None))
    with torch.no_grad(), _plain(model):
        for batch in _batches([len(ids) for ids in prompt_ids], max_new_tokens, max_tokens):
            if not all(k in known for k in batch):
                asked = [prompt_ids[k] for k in batch]
                rows = _decode_batch(model, asked, ends, _room(model, asked, max_new_tokens))
                for k, row in zip(batch, rows, strict=True):
                    answers[k] = str(renderer.tokenizer.decode(row, skip_special_tokens=True)).strip()
                if log is not None:
                    log.add({k: answers[k] for k in batch})
            done += len(batch)
            if progress is not None:
                progress(done, len(prompt_ids))
    return answers


def _batches(lengths: Sequence[int], max_new_tokens: int, max_tokens: int) -> list[list[int]]:
    """Indices in batches of similar length under the budget, longest first: memory peaks at the start."""
    batches: list[list[int]] = []
    widest = 0
    for k in sorted(range(len(lengths)), key=lambda k: -lengths[k]):
        if batches and (len(batches[-1]) + 1) * (widest + max_new_tokens) <= max_tokens:
            batches[-1].append(k)
        else:
            batches.append([k])
            widest = lengths[k]
    return batches


def _room(model: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> int:
    """Tokens of the longest answer that the model's window leaves to these prompts.

    Raises:
        UserError: a prompt fills it, or holds a token that the model lacks.
    """
    from clo.model.layers import text_config
    from clo.model.window import check_readable, longest_of

    longest = longest_of(text_config(model))
    check_readable(model, ([*prompt, prompt[-1]] for prompt in prompts), "prompt of a batch")
    return max_new_tokens if longest is None else min(max_new_tokens, longest - max(map(len, prompts)))


def _decode_batch(
    model: Any, prompts: Sequence[Sequence[int]], ends: Sequence[int], max_new_tokens: int
) -> list[list[int]]:
    """New token ids of each prompt, up to and without the first end token."""
    import torch

    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), ends[0])
    # The mask comes from positions: the padding id is a real token (an end) that prompts may contain too.
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    device = _device(model)
    out = model.generate(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        generation_config=_greedy(ends, max_new_tokens),
    )
    new = out[:, width:].tolist()
    return [row[: next((k for k, token in enumerate(row) if token in ends), len(row))] for row in new]


def _greedy(ends: Sequence[int], max_new_tokens: int) -> Any:
    from transformers import GenerationConfig

    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        use_cache=True,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(ends),
        pad_token_id=ends[0],
    )


def _device(model: Any) -> torch.device:
    device: torch.device = next(model.parameters()).device
    return device


@contextmanager
def _plain(model: Any) -> Iterator[None]:
    """Evaluation mode with the checkpoint's own generation settings set aside, both put back afterwards.

    ``generate`` fills every setting that the caller leaves open from ``model.generation_config`` (for
    instance a repetition penalty, or a temperature that it then warns about); PEFT hands its own to the model
    inside.
    """
    from transformers import GenerationConfig

    holders = [model, *([model.get_base_model()] if hasattr(model, "get_base_model") else [])]
    kept = [holder.generation_config for holder in holders]
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    for holder in holders:
        holder.generation_config = GenerationConfig()
    try:
        yield
    finally:
        for holder, config in zip(holders, kept, strict=True):
            holder.generation_config = config
        for module, training in modes:
            module.training = training
