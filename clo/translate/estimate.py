"""What a translation that is not made yet will cost, for ``plan=true``: rows of likely lengths, and hours."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from clo.config import TranslationConfig
from clo.config.parse import RunConfig
from clo.data.instructions import instructions
from clo.data.rows import Row, read_rows
from clo.data.splits import Splits, joined, translated_splits
from clo.translate.ensure import rows_needed, rows_path

LONGER = 1.5
"""Length of a translation as a share of its original's; assumed (fertility of the languages here: 1.0 to 2.2)."""
BYTES_PER_TOKEN = 4.0
"""UTF-8 bytes of English per token of a translator; assumed."""
ASSUMED_SHARE = 0.05
"""Share of the device's peak that batched beam search reaches; assumed, decoding waits for memory."""


def planned_splits(run: RunConfig) -> Splits:
    """The rows of a run whose data are translations: those on disk, else the English ones with stretched copies.

    Raises:
        UserError: the examples cannot be read, or are too few.
    """
    assert run.data.source is not None
    where = run.data.source.path or run.data.source.dataset
    paths = [rows_path(one.data, one.lang, run.cache_dir) for one in run.alone()]
    rows = joined([_planned(one) for one in run.alone()])
    return translated_splits(
        rows, run.data, " and ".join(map(str, paths)) if all(p.is_file() for p in paths) else where
    )


def _planned(run: RunConfig) -> list[Row]:
    """The rows of one target."""
    path, data = rows_path(run.data, run.lang, run.cache_dir), run.data
    languages = run.lang.source, run.lang.code
    if path.is_file():
        found = read_rows(path, *languages)
        if len(found) >= run.data_size + 2 * data.held_out:
            return found
    assert data.source is not None
    examples, _ = instructions(data.source, lambda texts: [True] * len(texts), data.bad_rows == "skip")
    return [
        Row(
            example.id,
            {languages[0]: example.prompt, languages[1]: _stretched(example.prompt)},
            {languages[0]: example.response, languages[1]: _stretched(example.response)},
            rejected={}
            if example.rejected is None
            else {languages[0]: example.rejected, languages[1]: _stretched(example.rejected)},
        )
        for example in islice(examples, rows_needed(run.data_size, data.held_out))
    ]


def _stretched(text: str) -> str:
    return (text + " " + text)[: round(LONGER * len(text))]


def _of(language: str, texts: dict[str, str]) -> list[str]:
    return [texts[language]] if language in texts else []


def translation_hours(
    translation: TranslationConfig, source: str, rows: Sequence[Row], peak: float | None
) -> float | None:
    """Hours of translating these rows; none where the translator or the device is not known.

    Args:
        translation: the translator.
        source: code of the language it translates from.
        rows: all rows that a run needs, with texts in that language.
        peak: FLOP/s of the device.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    if translation.engine == "chat" or peak is None:
        return None
    try:
        shape = AutoConfig.from_pretrained(translation.model, revision=translation.revision)
        with torch.device("meta"):
            model = AutoModelForSeq2SeqLM.from_config(shape)
    except (OSError, ValueError):
        return None
    encoder = sum(p.numel() for p in model.get_encoder().parameters())
    decoder = sum(p.numel() for p in model.parameters()) - encoder
    texts = [text for row in rows for side in (row.prompts, row.responses, row.rejected) for text in _of(source, side)]
    tokens = sum(len(text.encode()) for text in texts) / BYTES_PER_TOKEN
    work = 2.0 * tokens * (encoder + LONGER * translation.beams * decoder)
    return work / (ASSUMED_SHARE * peak) / 3600
