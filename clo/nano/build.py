"""Build an embedded start model: ``python -m clo.nano.build [--out DIR] [--seed 0] [--steps N]``.

Needs no network, no other weights and one core: tokenizer, pretraining, measurements and model card, in one go.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clo.nano import weights_of

STEPS = 4600


def build(
    folder: Path, seed: int = 0, steps: int = STEPS, say: Callable[[str], None] = print, measured: bool = True
) -> None:
    """Write tokenizer, weights, card and (unless told not to) measurements into ``folder``.

    The same seed, steps and library versions on the same kind of processor give the same weights.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
    from transformers.utils import logging

    from clo.nano.card import write_card
    from clo.nano.measure import measure
    from clo.nano.pretrain import LENGTH, ROWS, new_model, pretrain
    from clo.nano.tokenizer import build_tokenizer

    logging.disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    build_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(seed)
    model = new_model(tokenizer)
    parameters = sum(weight.numel() for weight in model.parameters())
    say(f"{parameters:,} parameters, {len(tokenizer):,} tokens, {steps} steps of {ROWS * LENGTH:,} tokens")
    seconds = pretrain(model, tokenizer, steps, seed, say)
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, max_new_tokens=64
    )
    save(model, folder)
    facts: dict[str, Any] = {"parameters": parameters, "steps": steps, "seed": seed}
    facts["pretraining_seconds"] = round(seconds)
    if measured:
        say("measuring on held-out questions ...")
        facts |= measure(AutoModelForCausalLM.from_pretrained(folder), tokenizer)
        (folder / "measured.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    write_card(folder, facts)
    say(f"written to {folder}")


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
    parser = argparse.ArgumentParser(prog="python -m clo.nano.build", description="Build the embedded start model.")
    parser.add_argument("--out", type=Path, help="folder to write (default: the embedded one of that seed)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and corpus (default 0)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"steps (default {STEPS}: about 25 minutes)")
    asked = parser.parse_args()
    if asked.steps < 1:
        parser.error(f"--steps is {asked.steps}, it must be at least 1")
    build(asked.out or weights_of(asked.seed), asked.seed, asked.steps, say=lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
