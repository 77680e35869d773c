"""One optimizer step of a model of any shape on the GPU of `fake_gpu`: a script that prints what it took, as JSON.

It goes through the stage's own engine, scorer and gradients; a question to the device raises, since no value is there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

LLAMA_3_8B: dict[str, Any] = dict(
    hidden_size=4096, intermediate_size=14336, num_attention_heads=32, num_key_value_heads=8, vocab_size=128256,
    max_position_embeddings=8192, tie_word_embeddings=False,
)  # fmt: skip


def main(layers: int, tokens: int, checkpointing: bool = False, anchored: bool = False, lora: bool = False) -> None:
    import torch
    from fake_gpu import ledger
    from torch._subclasses.fake_tensor import FakeTensorMode, is_fake, unset_fake_temporarily
    from transformers import AutoModelForCausalLM, LlamaConfig

    import clo.data.batch
    import clo.square.anchor
    from clo.config import LoraConfig, OptimizerConfig, TuningConfig
    from clo.config.choices import Cells, Prompts, ReferenceMode
    from clo.model.tuning import apply_tuning
    from clo.square.anchor import Likely
    from clo.square.attention import packed
    from clo.square.objective import Objective
    from clo.square.scores import packs
    from clo.training.engine import Engine
    from clo.training.gradients import Gradients
    from clo.training.layers import training_layers
    from clo.training.optimizer import adamw
    from clo.training.terms import Scorer

    # A build for CPUs takes this apart on other devices, where a GPU has one kernel.
    torch.library.impl("aten::silu_backward", "CUDA")(lambda gradient, x: torch.empty_like(x))
    mode, book = FakeTensorMode(allow_non_fake_inputs=True), ledger()

    def to_device(tensor: Any, device: Any) -> Any:  # no pinned memory here
        return torch.empty_like(tensor, device=device) if is_fake(tensor) else shapes(tensor, device)

    def shapes(tensor: Any, device: Any) -> Any:
        with mode, book:
            return torch.empty(tensor.shape, dtype=tensor.dtype, device=device)

    def with_values(make: Any) -> Any:
        """What is worked out on the CPU before it goes to the device depends on values."""

        def made(*arguments: Any) -> Any:
            with unset_fake_temporarily():
                return make(*arguments)

        return made

    clo.data.batch.on_device = clo.square.anchor.on_device = clo.square.attention.on_device = to_device
    clo.square.attention._Places.of = staticmethod(with_values(clo.square.attention._Places.of))
    with mode, book:
        with torch.device("cuda"):
            config = LlamaConfig(**LLAMA_3_8B, num_hidden_layers=layers)
            model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
        items = items_of(tokens)
        tuning = TuningConfig(lora=LoraConfig(r=16, alpha=32.0) if lora else None)
        model = apply_tuning(model, tuning)
        with patch("clo.square.scores._agree", return_value=True):  # that compares values
            assert packs(model, items[0])
        objective = Objective(2, Cells.target, Prompts.both, 0.5, 0.1, anchor=1.0 if anchored else 0.0)
        numbers = with_values(objective.denominators)(items).tolist()
        trainer: Any = SimpleNamespace(
            global_rank=0, world_size=1, strategy=SimpleNamespace(root_device=torch.device("cuda", 0))
        )
        engine = Engine(model, trainer)
        scorer = Scorer(engine, ReferenceMode.cached, None)
        scorer.references = {item.key(): torch.zeros(2, 2) for item in items}
        likely = (
            Likely(torch.zeros(len(i.responses[0]), 64).long(), torch.zeros(len(i.responses[0]), 64)) for i in items
        )
        scorer.likely = dict(zip((item.key() for item in items), likely, strict=True))
        optimizer = adamw(engine.trained(), OptimizerConfig(), 1e-5)
        gradients = Gradients(engine, scorer, "0" * 64, 1 << 30)
        parts = {}
        torch.cuda.is_available = torch.cuda.is_bf16_supported = lambda *_: True  # autocast asks
        stack = ExitStack()
        stack.enter_context(patch.object(Objective, "denominators", lambda *_: numbers))  # read by the host alone
        with stack, packed(model), training_layers(model, checkpointing, False), torch.autocast("cuda", torch.bfloat16):
            for _ in range(2):
                gradients.of(items, objective, 1, False)
                with torch.autocast("cuda", enabled=False):
                    optimizer.step()
            engine.forget()
            torch.clear_autocast_cache()
            parts["static"] = book.held
            book.reset()
            with passes(model, book) as forward:
                gradients.of(items, objective, 1, False)
            parts["peak"] = book.peak
            parts["kernels"] = sum(book.kernels.values())
            parts["forward"] = forward["kernels"]
            parts["kept"] = forward["held"] - parts["static"]
            parts["names"] = dict(book.kernels)
    parts["tokens"] = sum(clo.data.batch.packed_tokens(item, objective.cells()) for item in items)
    parts["responses"] = sum(len(item.responses[j]) for item in items for _, j in objective.cells())
    print(json.dumps(parts))


@contextmanager
def passes(model: Any, book: Any) -> Iterator[dict[str, int]]:
    """What the last layer's end of the forward pass has launched and holds."""
    found: dict[str, int] = {}

    def look(*_: Any) -> None:
        found["kernels"], found["held"] = sum(book.kernels.values()), book.held

    hook = model.get_base_model().model if hasattr(model, "get_base_model") else model.model
    handle = hook.norm.register_forward_pre_hook(look)
    yield found
    handle.remove()


def items_of(tokens: int) -> list[Any]:
    """Items with the lengths of Swahili instructions, as many as fill ``tokens``."""
    from clo.data.batch import packed_tokens
    from clo.data.items import Item

    items: list[Any] = []
    filled = 0
    while True:
        k = len(items)
        lengths = 100 + 7 * (k % 9), 150 + 11 * (k % 7), 60 + 5 * (k % 11), 80 + 6 * (k % 5)
        ids = [tuple(range(1, n + 1)) for n in lengths]
        item = Item(f"i{k}", (ids[0], ids[1]), (ids[2], ids[3]))
        filled += packed_tokens(item, [(0, 0), (0, 1), (1, 0), (1, 1)])
        if filled > tokens:
            return items
        items.append(item)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
