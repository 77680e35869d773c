"""Pretraining of a start model on one core: packing, optimizer, loop with progress."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from clo.nano.corpus import Document
from clo.nano.starts import Start
from clo.nano.tokenizer import ASSISTANT, END, MAX_POSITIONS, USER

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

Batch = tuple[torch.Tensor, torch.Tensor]
"""Ids and labels of a step, both int64 [rows, length]; see `batches`."""
APART = 1000
"""Between the seeds of a start model's streams."""
MUON_RATE, ADAM_RATE, WEIGHT_DECAY = 0.03, 8e-3, 0.05
KEPT = 200
"""Steps after which the state is kept."""
WARM_UP, DECAY = 100, 0.4
"""Warm-up steps, and the share of steps at the end over which the learning rate falls linearly to zero."""


def new_model(tokenizer: PreTrainedTokenizerBase, start: Start) -> LlamaForCausalLM:
    """Return the untrained model; weights depend on torch's seed."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=start.width,
        num_hidden_layers=start.layers,
        num_attention_heads=start.heads,
        num_key_value_heads=start.heads,
        intermediate_size=start.mlp,
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.05,
    )
    return LlamaForCausalLM(config)


class Encoder:
    """Turns documents into token ids, remembering every text it has seen (the corpus repeats itself)."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer, self._known = tokenizer.backend_tokenizer, dict[str, list[int]]()
        self._end, self._user, self._assistant = (
            int(str(tokenizer.convert_tokens_to_ids(token))) for token in (END, USER, ASSISTANT)
        )

    def text(self, text: str) -> list[int]:
        """Return the ids of one text without any special token."""
        if text not in self._known:
            self._known[text] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return self._known[text]

    def document(self, document: Document) -> list[int]:
        """Return the ids of a document, the end token included."""
        if document.answer is None:
            return [*self.text(document.text), self._end]
        return [self._user, *self.text(document.text), self._assistant, *self.text(document.answer), self._end]


def batches(encoder: Encoder, start: Start, seed: int) -> Iterator[Batch]:
    """Yield (ids, labels), both [rows, length]; labels are -100 behind the last whole document of a row."""
    stream = start.corpus.documents(seed, lambda document: len(encoder.document(document)))
    waiting: list[int] = []
    while True:
        ids = torch.zeros(start.rows, start.length, dtype=torch.long)
        labels = torch.full((start.rows, start.length), -100)
        for row in range(start.rows):
            filled = 0
            while True:
                waiting = waiting or encoder.document(next(stream))[: start.length]
                if filled + len(waiting) > start.length:
                    break
                piece = torch.tensor(waiting)
                ids[row, filled : filled + len(piece)] = labels[row, filled : filled + len(piece)] = piece
                filled, waiting = filled + len(waiting), []
        yield ids, labels


class Text(torch.utils.data.IterableDataset[Batch]):
    """The batches of a start model's streams in turn; in a loader with a worker for each, those of the worker's own."""

    def __init__(self, encoder: Encoder, start: Start, seed: int) -> None:
        self.encoder, self.start, self.seed = encoder, start, seed

    def __iter__(self) -> Iterator[Batch]:
        worker = torch.utils.data.get_worker_info()
        own = range(self.start.streams) if worker is None else [worker.id]
        streams = [batches(self.encoder, self.start, self.seed + APART * stream) for stream in own]
        return (next(stream) for stream in itertools.cycle(streams))


def made_ahead(text: Text, device: torch.device) -> Iterator[Batch]:
    """Yield the same batches; beside a GPU processes of their own make them, or it would wait for text."""
    if device.type == "cpu":
        return iter(text)
    return iter(
        torch.utils.data.DataLoader(
            text, batch_size=None, num_workers=text.start.streams, prefetch_factor=16, pin_memory=True
        )
    )


def _optimizers(model: torch.nn.Module) -> list[tuple[torch.optim.Optimizer, float]]:
    """Muon for the matrices inside the layers (it needs far fewer steps), AdamW for the embedding and the norms."""
    hidden = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and "embed" not in name]
    rest = [weight for name, weight in model.named_parameters() if weight.ndim != 2 or "embed" in name]
    return [
        (torch.optim.Muon(hidden, lr=MUON_RATE, weight_decay=WEIGHT_DECAY), MUON_RATE),
        (torch.optim.AdamW(rest, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0), ADAM_RATE),
    ]


def rate(step: int, steps: int) -> float:
    """Return the factor on the learning rate: linear up, flat, linear down."""
    warm_up, decay = min(WARM_UP, max(1, steps // 10)), max(1, round(steps * DECAY))
    return min((step + 1) / warm_up, 1.0, (steps - step) / decay)


def _resumed(kept: Path, model: torch.nn.Module, optimizers: list[tuple[torch.optim.Optimizer, float]]) -> Any:
    """Load a state; returns its step, its smoothed loss, and the seconds it took."""
    state = torch.load(kept, weights_only=True, map_location="cpu")
    model.load_state_dict(state["model"])
    for (optimizer, _), own in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(own)
    return state["step"], state["smooth"], state["seconds"]


def pretrain(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    start: Start,
    seed: int,
    say: Callable[[str], None],
    kept: Path | None = None,
) -> float:
    """Train ``model`` in place where it lies, on one thread of a CPU, and return the seconds it took.

    Args:
        model: untrained.
        tokenizer: of the corpus.
        start: what is built, and in how many steps.
        seed: of the corpus.
        say: is told how it goes.
        kept: file of the latest state, from which a broken training goes on to the same weights; gone at the end.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    with _precision("medium") if start.quick else contextlib.nullcontext():
        return _trained(model, tokenizer, start, seed, say, kept)


@contextlib.contextmanager
def _precision(precision: str) -> Iterator[None]:
    """How exactly float32 matrices are multiplied, in this process, until the end."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _trained(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    start: Start,
    seed: int,
    say: Callable[[str], None],
    kept: Path | None,
) -> float:
    """As `pretrain`, at the precision that is set."""
    steps = start.steps
    if start.quick:
        model.set_attn_implementation("eager")
    source = made_ahead(Text(Encoder(tokenizer), start, seed), model.device)
    optimizers, began = _optimizers(model), time.monotonic()
    smooth, first = 0.0, 0
    if kept is not None and kept.is_file():
        first, smooth, before = _resumed(kept, model, optimizers)
        began -= before
        for _ in range(first):
            next(source)
        say(f"goes on after step {first}")
    model.train()
    for step in range(first, steps):
        ids, labels = (part.to(model.device, non_blocking=True) for part in next(source))
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, base in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = base * rate(step, steps)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        smooth = loss.item() if step == 0 else 0.95 * smooth + 0.05 * loss.item()
        if step % 50 == 49 or step == steps - 1:
            used = time.monotonic() - began
            left = used / (step + 1) * (steps - step - 1)
            speed = start.rows * start.length * (step + 1) / used
            say(f"step {step + 1:5d}/{steps}  loss {smooth:.3f}  {speed:,.0f} tokens/s  {used:.0f} s, {left:.0f} to go")
        if kept is not None and step % KEPT == KEPT - 1:
            states = [optimizer.state_dict() for optimizer, _ in optimizers]
            whole = {"step": step + 1, "smooth": smooth, "seconds": time.monotonic() - began, "optimizers": states}
            torch.save(whole | {"model": model.state_dict()}, kept.with_suffix(".part"))
            os.replace(kept.with_suffix(".part"), kept)
    if kept is not None:
        kept.unlink(missing_ok=True)
    model.eval()
    return time.monotonic() - began
