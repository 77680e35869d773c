"""English instruction data: examples from OpenAssistant, from the user's files, or from any dataset of the hub.

An example is a prompt and a response in the source language; translation makes parallel rows of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from clo.config.sources import SourceConfig
from clo.data.bad_rows import BadRows
from clo.data.instructions.example import Counts, Instruction
from clo.data.texts import key as same
from clo.data.texts import visible
from clo.errors import UserError

IsSource = Callable[[Sequence[str]], list[bool]]
"""Whether texts are in the source language; true where that cannot be decided."""


def instructions(config: SourceConfig, is_source: IsSource, skip: bool = False) -> tuple[Iterator[Instruction], Counts]:
    """The examples, best first, so that smaller sizes are prefixes of larger ones; the counts fill as they are read.

    Args:
        config: where they come from.
        is_source: tells texts in another language.
        skip: leave out and count records that cannot be used, instead of stopping at the first.

    Raises:
        UserError: the file is missing or malformed, the columns are not there, or ids are double or partly missing.
    """
    from clo.data.instructions.columns import identified, table_examples
    from clo.data.instructions.oasst import oasst_examples
    from clo.data.tables import hub_records, records

    counts, key = Counts(bad=BadRows(skip)), config.key()
    if config.path is None:
        found = hub_records(config, counts.bad)
    else:
        found = records(Path(config.path), f"{key}.path", counts.bad)
    if config.path is not None and config.kind == "table" and not skip:  # before hours of translating, not after
        deque(identified(records(Path(config.path), f"{key}.path"), BadRows()), maxlen=0)
    examples = (
        oasst_examples(config, found, counts) if config.kind == "oasst" else table_examples(config, found, counts)
    )
    return _clean(config, examples, is_source, counts), counts


def _clean(
    config: SourceConfig, examples: Iterator[Instruction], is_source: IsSource, counts: Counts
) -> Iterator[Instruction]:
    """Length, language and repetition."""
    seen: set[int] = set()
    for example in examples:
        lengths = [len(visible(text)) for text in example.texts()]
        if min(lengths) < config.min_characters or max(lengths) > config.max_characters:
            counts.drop(f"not {config.min_characters} to {config.max_characters} characters")
            continue
        if example.rejected is not None and same(example.rejected) == same(example.response):
            counts.drop("both responses of a quality pair are the same")
            continue
        if not all(is_source(["\n".join(example.texts())])):  # together: short texts mislead
            counts.drop("in another language")
            continue
        key = hash(" ".join(example.prompt.casefold().split()))
        if key in seen:
            counts.drop("prompt occurred before")
            continue
        seen.add(key)
        counts.kept += 1
        yield example
    if not counts.kept:
        raise UserError(f"no example is left of {config.path or config.dataset}: {'; '.join(counts.lines())}")
