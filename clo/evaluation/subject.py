"""The model under test: what every measurement here takes first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clo.data.prompt import Renderer


@dataclass(frozen=True)
class Subject:
    """A model with the renderer that its prompts are written by."""

    model: Any
    """A causal language model of transformers, or a PEFT model around one, on its device."""
    renderer: Renderer
    """Its tokenizer, prompt template and end-of-turn token."""
    max_tokens: int = 8192
    """Tokens of a forward pass that scores given texts."""
