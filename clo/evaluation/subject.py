"""The model under test: what every measurement here takes first."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from clo.data.prompt import Renderer
from clo.evaluation.sampling import Sampling
from clo.storage.digest import digest_of
from clo.storage.ranks import Ranks


@dataclass(frozen=True)
class Subject:
    """A model with the renderer that its prompts are written by."""

    model: Any
    """A causal language model of transformers, or a PEFT model around one, on its device."""
    renderer: Renderer
    """Its tokenizer, prompt template and end-of-turn token."""
    max_tokens: int = 8192
    """Tokens of a forward pass that scores given texts."""
    sampling: Sampling | None = None
    """How its answers are drawn; none takes the likeliest token."""
    ranks: Ranks = Ranks()  # noqa: RUF009  # a frozen value
    """Those that hold the same model and share what is measured of it; all of them get all results."""

    def key(self, precision: str) -> str:
        """Content hash of all that its scores and answers depend on beside the texts: every cache goes by it.

        That is the weights, the configuration, the precision and the libraries (`weights_key`); the tokenizer, the
        prompt template with its settings and date, and the end of a turn (`Renderer.identity`).
        """
        from clo.square.reference import weights_key

        ends = self.renderer.ends(getattr(self.model.generation_config, "eos_token_id", None))
        return digest_of([weights_key(self.model, precision), self.renderer.identity(), ends, version("tokenizers")])
