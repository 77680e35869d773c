"""The embedded start model: a tiny English-centric Llama with its tokenizer, and the program that builds both."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""An ordinary Hugging Face folder: ``AutoModelForCausalLM.from_pretrained(WEIGHTS)`` loads it."""
