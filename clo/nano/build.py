"""Build an embedded start model: ``python -m clo.nano.build [NAME] [--out DIR] [--seed 0] [--steps N] [--again]``.

Needs no network, no other weights and one core: tokenizer, pretraining, measurements and model card, in one go.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from clo.nano import weights_of
from clo.nano.starts import STARTS


def build(
    folder: Path,
    name: str = "nano",
    seed: int = 0,
    steps: int | None = None,
    say: Callable[[str], None] = print,
    device: str = "cpu",
) -> None:
    """Write tokenizer, weights and card of a start model into ``folder``; :func:`ask` measures it.

    The same seed, steps and library versions on the same kind of processor give the same weights, also where the same
    call goes on with a build that was killed.

    Args:
        folder: where to.
        name: one of :data:`clo.nano.starts.STARTS`.
        seed: of the first weights and the order of the text.
        steps: of pretraining; None takes those of the table.
        say: is told how it goes.
        device: that it is trained on, ``cpu`` or ``cuda``.
    """
    import torch
    from transformers import AutoTokenizer, GenerationConfig
    from transformers.utils import logging

    from clo.nano.card import write_card
    from clo.nano.pretrain import new_model, pretrain
    from clo.nano.tokenizer import build_tokenizer

    start = STARTS[name] if steps is None else replace(STARTS[name], steps=steps)
    kept = folder / f"pretraining-{name}-{seed}-{start.steps}.pt"
    logging.disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    build_tokenizer(folder, start.corpus.tokenizer_texts())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(seed)
    model = new_model(tokenizer, start).to(device)  # type: ignore[arg-type]
    parameters = sum(weight.numel() for weight in model.parameters())
    size = f"{start.steps} steps of {start.rows * start.length:,} tokens"
    say(f"{parameters:,} parameters, {len(tokenizer):,} tokens, {size}")
    seconds = pretrain(model, tokenizer, start, seed, say, kept)
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, max_new_tokens=64
    )
    save(model.to("cpu"), folder)
    facts: dict[str, Any] = {"parameters": parameters, "steps": start.steps, "seed": seed}
    facts["pretraining_seconds"] = round(seconds)
    facts["made_on"] = f"one {torch.cuda.get_device_name()}" if device == "cuda" else "one core of a CPU"
    (folder / "measured.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    write_card(folder, name, facts)
    say(f"written to {folder}")


def ask(folder: Path, name: str) -> None:
    """Measure the weights in a folder and write their ``measured.json`` and their card.

    Args:
        folder: what :func:`build` has written.
        name: one of :data:`clo.nano.starts.STARTS`.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from clo.nano.card import write_card
    from clo.nano.measure import measure
    from clo.nano.measure_tasks import measure_tasks

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    found = measure(model, tokenizer) if name == "nano" else measure_tasks(model, tokenizer)
    file = folder / "measured.json"
    facts = json.loads(file.read_text(encoding="utf-8")) | found
    file.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    write_card(folder, name, facts)


def save(model: Any, folder: Path) -> None:
    """Write the weights, rounded to bfloat16: three start models then fit a small package.

    The configuration says float32, so the rounded numbers are computed with as float32.
    """
    import torch

    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # it is written for its owner only, a package needs it readable
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["dtype"] = "float32"
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(prog="python -m clo.nano.build", description="Build an embedded start model.")
    parser.add_argument("name", nargs="?", default="nano", choices=STARTS, help="which one (default nano)")
    parser.add_argument("--out", type=Path, help="folder to write (default: the embedded one of that name and seed)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and corpus (default 0)")
    default = ", ".join(f"{name} {start.steps}" for name, start in STARTS.items())
    parser.add_argument("--steps", type=int, help=f"steps (default: {default})")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="what trains it (default cpu)")
    parser.add_argument("--again", action="store_true", help="only measure what is built, and write its card again")
    asked = parser.parse_args()
    if asked.steps is not None and asked.steps < 1:
        parser.error(f"--steps is {asked.steps}, it must be at least 1")
    if asked.device == "cuda" and not asked.again:
        import torch

        if not torch.cuda.is_available():
            parser.error(
                "--device cuda needs a GPU, and none is visible; leave it out, and a core of the CPU trains it"
            )
    folder = asked.out or weights_of(asked.seed, asked.name)
    if asked.again:
        ask(folder, asked.name)
        return
    say = partial(print, flush=True)
    build(folder, asked.name, asked.seed, asked.steps, say, asked.device)
    say("measuring on held-out questions ...")
    ask(folder, asked.name)


if __name__ == "__main__":
    main()
