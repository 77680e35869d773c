"""A model on a server as a translator: one request per sentence, several at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clo.config.sources import TranslationConfig
from clo.server.client import Client
from clo.server.endpoint import Purpose, Sampling, endpoint
from clo.server.faults import Refused
from clo.server.reply import Reply
from clo.server.several import Asker
from clo.translate.checks import Failed

INSTRUCTION = (
    "Translate the user's text from the language with the code {source} into the language with the code {target}. "
    "Answer with the translation only. Leave code, formulas, addresses, numbers and placeholders as they are."
)
TRANSLATOR = Purpose(
    "translator",
    "sentences",
    "raise data.translation.timeout= or lower data.translation.parallel=",
    "data.translation.base_url",
    "data.translation.model",
)


class ChatEngine:
    """A model on any server that speaks OpenAI's protocol.

    Args:
        config: the translator.
        source: our code of the source language.
        target: that of the target language.
        cache_dir: every reply is kept in its ``translator`` folder the moment it comes, before the sentences that are
            translated together go to the cache of sentences; None keeps none.

    Raises:
        UserError: the address is none, or a remote server's key is missing.
    """

    def __init__(self, config: TranslationConfig, source: str, target: str, cache_dir: Path | None = None) -> None:
        self.instruction = INSTRUCTION.format(source=source, target=target)
        place = endpoint(TRANSLATOR, config.base_url, config.model, config.timeout)
        self.asker = Asker(Client(place), config.parallel, None if cache_dir is None else cache_dir / "translator")

    def translate(self, sentences: Sequence[str], attempt: int) -> list[str | Failed]:
        """At temperature 0 first, and with some chance in later attempts.

        Raises:
            UserError: the server fails; the replies so far are kept.
        """
        sampling = Sampling(0.0 if attempt == 0 else 0.3, self.instruction)
        return [_text(reply) for reply in self.asker.replies(sentences, sampling)]


def _text(reply: Reply | Refused) -> str | Failed:
    if isinstance(reply, Refused):
        return Failed("refused by the server")
    return Failed("cut off by the server") if reply.cut else reply.text.strip()
