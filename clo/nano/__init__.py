"""The embedded start model: a tiny English-centric Llama with its tokenizer, and the program that builds both.

Enters: CLDR rows and a seed. Leaves: an ordinary Hugging Face folder, and a card of what was measured on it. Never
here: anything that a run needs; runs see a folder of weights like any other.
"""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""An ordinary Hugging Face folder: ``AutoModelForCausalLM.from_pretrained(WEIGHTS)`` loads it."""
SEEDS = 3
"""Start models in the package: nano, nano-1 and nano-2, each from first weights and an order of text of its own."""


def weights_of(seed: int, name: str = "nano") -> Path:
    """The folder of the start model of a name from one seed."""
    family = "weights" if name == "nano" else f"weights-{name}"
    return WEIGHTS.with_name(f"{family}-{seed}" if seed else family)
