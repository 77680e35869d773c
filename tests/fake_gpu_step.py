"""One optimizer step of a model of any shape on the GPU of `fake_gpu`: a script that prints what it took, as JSON.

It goes through the stage's own engine, scorer and gradients; a question to the device raises, since no value is there.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

LLAMA_3_8B: dict[str, Any] = dict(
    hidden_size=4096, intermediate_size=14336, num_attention_heads=32, num_key_value_heads=8, vocab_size=128256,
    max_position_embeddings=8192, tie_word_embeddings=False,
)  # fmt: skip


def main(layers: int, checkpointing: bool = False, anchored: bool = False, asking: bool = False) -> None:
    """A step of two passes over 15 items each; the second has the gradients of the first beside it.

    ``asking`` adds a question to the device within the pass.
    """
    import torch
    from fake_gpu import ledger
    from torch._subclasses.fake_tensor import FakeTensorMode, is_fake, unset_fake_temporarily
    from transformers import AutoModelForCausalLM, LlamaConfig

    import clo.data.batch
    import clo.square.anchor
    from clo.config import OptimizerConfig, TuningConfig
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
        items = [item_of(k) for k in range(30)]
        model = apply_tuning(model, TuningConfig())
        if asking:
            model.model.norm.register_forward_hook(lambda _, __, out: out.sum().item())
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
        for item in items:
            wide = torch.zeros(len(item.responses[0]), 64)
            scorer.likely[item.key()] = Likely(wide.long(), wide)
        optimizer = adamw(engine.trained(), OptimizerConfig(), 1e-5)
        gradients = Gradients(engine, scorer, "0" * 64, 15 * TOKENS)
        parts: dict[str, int] = {}
        torch.cuda.is_available = torch.cuda.is_bf16_supported = lambda *_: True  # autocast asks
        stack = ExitStack()
        stack.enter_context(patch.object(Objective, "denominators", lambda *_: numbers))  # read by the host alone
        with stack, packed(model), training_layers(model, checkpointing, False), torch.autocast("cuda", torch.bfloat16):
            for parameter in engine.trained():
                parameter.grad = torch.zeros_like(parameter)
            with torch.autocast("cuda", enabled=False):
                optimizer.step()  # makes the moments
            engine.forget()
            torch.clear_autocast_cache()
            parts["static"] = book.held
            book.reset()
            ends = at_the_end_of_layers(model, book)
            gradients.of(items, objective, 1, False)
            assert len(ends) == 2
    print(
        json.dumps(
            {
                "static": parts["static"],
                "peak": book.peak,
                "forward": ends[0]["kernels"],
                "kept": ends[0]["held"] - parts["static"],
                "kernels": sum(book.kernels.values()),
                "names": dict(book.kernels),
                "tokens": 15 * TOKENS,
            }
        )
    )


def at_the_end_of_layers(model: Any, book: Any) -> list[dict[str, int]]:
    """Kernels that were launched and bytes that are held whenever a pass has gone through all layers."""
    found: list[dict[str, int]] = []

    def look(*_: Any) -> None:
        found.append({"kernels": sum(book.kernels.values()), "held": book.held})

    from clo.model.layers import base_model

    base_model(model).model.norm.register_forward_pre_hook(look)
    return found


LENGTHS = 112, 162, 56, 82
"""Mean tokens of prompts and responses, English and Swahili, in real instruction rows."""
TOKENS = 112 + 162 + 2 * (55 + 81)


def item_of(number: int) -> Any:
    """An item of mean lengths."""
    from clo.data.items import Item

    x_en, x_t, y_en, y_t = (tuple(range(1, n + 1)) for n in LENGTHS)
    return Item(f"i{number}", (x_en, x_t), (y_en, y_t))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
