"""Where English examples come from and how they are translated; nothing heavy is imported here.

"assumed" marks a value that the CLO paper does not give.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from clo.errors import UserError, check


@dataclass
class SourceConfig:
    """Examples in the source language."""

    kind: str = "oasst"
    """``oasst`` (trees or the flat table of OpenAssistant) or ``table`` (any columns with a prompt and a response)."""
    path: str | None = None
    """Local file: JSONL, JSON, CSV, TSV (each also gzipped) or Parquet; null takes ``dataset`` from the hub."""
    dataset: str = "OpenAssistant/oasst2"
    """Hub dataset; the paper's release is unknown, oasst2 is assumed."""
    config: str | None = None
    """Configuration of the hub dataset."""
    split: str = "train"
    """Split of the hub dataset."""
    revision: str | None = None
    """Revision of the hub dataset."""
    prompt: str | None = None
    """Column of the prompt; null recognises the common names."""
    response: str | None = None
    """Column of the response; null recognises the common names."""
    pairs: bool = False
    """Quality pairs: a worse response beside each response, translated with it (docs/pairs.md)."""
    rejected: str | None = None
    """table, pairs: column of the worse response; null recognises the common names."""
    deeper_turns: bool = True
    """oasst: also later questions of a thread, where they can be understood alone; assumed."""
    unranked_only_child: bool = True
    """oasst: a reply without rank counts where it has no siblings; assumed."""
    min_characters: int = 4
    """Shorter prompts and responses are left out; assumed."""
    max_characters: int = 4000
    """Longer prompts and responses are left out; assumed."""

    def __post_init__(self) -> None:
        key = self.key()
        check(self.kind in ("oasst", "table"), f"{key}.kind", "oasst or table", self.kind)
        ok = 1 <= self.min_characters <= self.max_characters
        check(ok, f"{key}.min_characters", "at least 1 and at most max_characters", self.min_characters)

    def key(self) -> str:
        """The group of settings that this is, for messages."""
        return "data.source"


@dataclass
class ReplayConfig(SourceConfig):
    """Examples in the source language that are replayed as they are; without file and dataset the embedded ones."""

    kind: str = "table"
    """As of `SourceConfig`."""
    dataset: str = ""
    """Hub dataset; none where this is empty."""

    def key(self) -> str:
        """The group of settings that this is, for messages."""
        return "data.replay"

    def is_given(self) -> bool:
        """Whether a file or a dataset is named."""
        return bool(self.path or self.dataset)


ENGINES = ("m2m100", "nllb", "chat")


@dataclass
class TranslationConfig:
    """The translator: M2M100-1.2B as in the paper, unless told otherwise."""

    engine: str = field(default="m2m100", metadata={"values": ENGINES})
    """``m2m100``, ``nllb`` (both through transformers) or ``chat`` (a model on an OpenAI-compatible server)."""
    model: str = "facebook/m2m100_1.2B"
    """Hub id or local folder; for ``chat`` the server's name of the model."""
    revision: str | None = None
    """Hub revision."""
    backend: str = "transformers"
    """``transformers``, or ``ctranslate2`` with ``model`` a converted folder."""
    beams: int = 4
    """Beams of the first attempt; assumed."""
    max_tokens: int = 8192
    """Tokens of a batch: sentences times the longest of them, times the beams."""
    base_url: str = "http://localhost:8000/v1"
    """chat: address of the server; the key comes from OPENAI_API_KEY and is written nowhere."""
    parallel: int = 8
    """chat: requests at a time."""
    timeout: float = 60.0
    """chat: seconds to wait for an answer."""

    def __post_init__(self) -> None:
        check(self.engine in ENGINES, "data.translation.engine", f"one of {', '.join(ENGINES)}", self.engine)
        backends = ("transformers", "ctranslate2")
        check(self.backend in backends, "data.translation.backend", " or ".join(backends), self.backend)
        for name in ("beams", "max_tokens", "parallel"):
            check(getattr(self, name) >= 1, f"data.translation.{name}", "a count of at least 1", getattr(self, name))
        check(self.timeout > 0, "data.translation.timeout", "seconds, above 0", self.timeout)
        if self.engine == "chat" and self.model == TranslationConfig.model:
            raise UserError("data.translation.engine=chat needs data.translation.model, the server's name of the model")

    def identity(self) -> dict[str, object]:
        """What decides a translation; addresses, batches and speed do not."""
        return {k: getattr(self, k) for k in ("engine", "model", "revision", "backend", "beams")}
