"""The data card of a translated file: where it comes from, what was left out and why, lengths, examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from clo.config import DataConfig
from clo.data.card import count_table, length_table, short
from clo.data.instructions.example import Counts
from clo.storage.files import write_text
from clo.storage.jsonl import read_lines
from clo.translate.pipeline import Translated

EXAMPLES = 5
PARTS = ("prompt", "response", "rejected")


def write_card(
    path: Path,
    data: DataConfig,
    languages: tuple[str, str],
    counts: Counts,
    state: Translated,
    tokens: Callable[[str], int] | None,
) -> Path:
    """Write ``<path>.md``.

    Args:
        path: the rows.
        data: where the examples come from, and the translator.
        languages: codes of the source and the target language.
        counts: what the source's filters removed.
        state: what the file holds.
        tokens: length of a text in tokens of the model that will train; none leaves fertility out.
    """
    source, translation = data.source, data.translation
    assert source is not None and translation is not None
    first, target = languages
    rows = read_lines(path)
    texts = {
        first: [row[f"{part}_{first}"] for row in rows for part in PARTS if part in row],
        target: [row[part] for row in rows for part in PARTS if part in row],
    }
    lines = [
        f"# {first} to {target}",
        "",
        f"Examples: {source.path or source.dataset}. Translator: {translation.engine}, {translation.model}, "
        f"{translation.backend}, {translation.beams} beams.",
        "",
        f"{state.rows:,} rows.",
        "",
        *count_table("examples", _counts(counts, state)),
        "",
        *length_table(texts, tokens),
    ]
    lines += ["", "Examples:", ""]
    for row in rows[:EXAMPLES]:
        pairs = ((row[f"prompt_{first}"], row["prompt"]), (row[f"response_{first}"], row["response"]))
        lines += [f"- {short(a)} → {short(b)}" for a, b in pairs]
    refused = counts.bad.first
    lines += ["", "Refused, the first:", "", *(f"- {short(one)}" for one in refused)] if refused else []
    card = path.with_suffix(".md")
    write_text(card, "\n".join(lines) + "\n")
    return card


def _counts(counts: Counts, state: Translated) -> Iterator[tuple[str, int]]:
    yield "read", counts.read
    for reason, count in counts.removed.items():
        yield f"left out of the source: {reason}", count
    for reason, count in state.dropped.most_common():
        yield f"left out in translation: {reason}", count
    for what, count in counts.noted.items():
        yield f"kept without {what}", count
    for reason, count in counts.bad.reasons.most_common():
        yield f"refused by data.bad_rows=skip: {reason}", count
    yield "broken cache lines made again", state.broken_cache_lines
