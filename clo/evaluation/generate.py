"""Batched decoding, greedy unless the subject draws its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from clo.evaluation.answer_log import Answer, AnswerLog
from clo.evaluation.sampling import Sampling
from clo.evaluation.subject import Subject

if TYPE_CHECKING:
    from clo.data.prompt import Renderer
    from clo.evaluation.decode import Limits, Said

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

KEPT = 4
"""Batches' worth of prompts that are answered, and kept, together: rows that leave make room within them."""
SHOWN = 16
"""Tokens of a prompt by which a message tells it from others."""


def generate(
    subject: Subject,
    prompt_ids: Sequence[Sequence[int]],
    max_new_tokens: int,
    max_tokens: int = 16384,
    progress: Progress | None = None,
    log: AnswerLog | None = None,
) -> list[Answer]:
    """The continuation of every prompt, as text without prompt and special tokens, in the order given.

    Sampling and penalty settings that come with the checkpoint are not used: scores must not depend on them. Its end
    tokens are: an answer stops where servers stop that read them. An answer that falls into a loop (`loops`) is not
    computed to its end but gone on with as the loop goes, up to the longest answer: the text is that of a server.
    Several ranks share the batches, which are those of one, so that no answer depends on their number.

    Args:
        subject: answers; of its renderer only the tokenizer's ``decode`` and the tokens that end a turn are used,
            before which an answer stops.
        prompt_ids: token ids of each rendered prompt; none may be empty.
        max_new_tokens: longest answer, in tokens.
        max_tokens: budget of a batch, in tokens: prompts x (longest prompt + ``max_new_tokens``). A prompt
            that does not fit runs alone.
        progress: called as answers end.
        log: keeps the answers as they are made, some at a time; what it has already is not made again.

    Raises:
        ValueError: a prompt is empty.
        UserError: a prompt fills the model's window, or holds a token that it lacks.
    """
    import torch

    from clo.evaluation.decode import Limits, decode, decodes
    from clo.model.window import check_readable

    if not all(prompt_ids):
        raise ValueError("every prompt must have at least one token")
    model, renderer = subject.model, subject.renderer
    check_readable(model, ([*ids, ids[-1]] for ids in prompt_ids), lambda k: _named(renderer, k, prompt_ids[k]))
    known = {} if log is None else log.known()
    done = 0
    ends = renderer.ends(getattr(model.generation_config, "eos_token_id", None))
    stepwise = decodes(model)
    whole = KEPT * max_tokens if stepwise else max_tokens
    with torch.no_grad(), _plain(model):
        groups = _batches([len(ids) for ids in prompt_ids], max_new_tokens, whole)
        own = {group[0] for group in subject.ranks.of(groups)}
        for group in groups:
            missing = group[0] in own and not all(k in known for k in group)
            if missing:
                asked = [prompt_ids[k] for k in group]
                rooms = _rooms(model, asked, max_new_tokens)
                limits = Limits(ends, rooms, max_tokens, subject.max_tokens, subject.sampling)
                tick = _shifted(progress, done, len(prompt_ids))
                said = decode(model, asked, limits, tick) if stepwise else _decode_batch(model, asked, limits)
                made = {
                    k: Answer(_text(renderer, one.ids), one.looped, len(one.ids) >= room)
                    for k, one, room in zip(group, said, rooms if stepwise else [min(rooms)] * len(rooms), strict=True)
                }
                known |= made
                if log is not None:
                    log.add(made)
            done += len(group)
            if progress is not None and not (missing and stepwise):  # which tells as rows end
                progress(done, len(prompt_ids))
    known = subject.ranks.together(known)
    return [known[k] for k in range(len(prompt_ids))]


def _named(renderer: Renderer, k: int, ids: Sequence[int]) -> str:
    return f"prompt {k + 1} ({_text(renderer, [*ids[:SHOWN]])!r} …)"


def _text(renderer: Renderer, ids: list[int]) -> str:
    return str(renderer.tokenizer.decode(ids, skip_special_tokens=True)).strip()


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


def _shifted(progress: Progress | None, before: int, total: int) -> Callable[[int], None] | None:
    return None if progress is None else lambda done: progress(before + done, total)


def _rooms(model: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[int]:
    """Tokens of the longest answer that the model's window leaves to each prompt."""
    from clo.model.layers import text_config
    from clo.model.window import longest_of

    longest = longest_of(text_config(model))
    return [max_new_tokens if longest is None else min(max_new_tokens, longest - len(prompt)) for prompt in prompts]


def _decode_batch(model: Any, prompts: Sequence[Sequence[int]], limits: Limits) -> list[Said]:
    """The answers by the model's own ``generate``, all prompts in one batch that lasts until its longest is done."""
    import torch

    from clo.evaluation.decode import Said
    from clo.evaluation.loops import looped

    width, ends = max(map(len, prompts)), limits.ends
    ids = torch.full((len(prompts), width), ends[0])
    # The mask comes from positions: the padding id is a real token (an end) that prompts may contain too.
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    device, how = next(model.parameters()).device, limits.sampling
    with torch.random.fork_rng(enabled=how is not None):
        if how is not None:
            torch.manual_seed(how.seed_of(prompts))
        out = model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            generation_config=_settings(ends, min(limits.rooms), how),
        )
    new = out[:, width:].tolist()
    said = [row[: next((k for k, token in enumerate(row) if token in ends), len(row))] for row in new]
    return [Said(row, how is None and looped(row)) for row in said]


def _settings(ends: Sequence[int], max_new_tokens: int, how: Sampling | None) -> Any:
    from transformers import GenerationConfig

    drawn = {"do_sample": False} if how is None else {"do_sample": True, "temperature": how.temperature, "top_k": 0}
    return GenerationConfig(
        **drawn,
        num_beams=1,
        use_cache=True,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(ends),
        pad_token_id=ends[0],
    )


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
