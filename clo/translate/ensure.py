"""The translated rows that a run needs: found, or made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clo.config import DataConfig, LangConfig, ModelConfig
from clo.config.choices import Identify
from clo.config.parse import RunConfig, plain
from clo.config.sources import TranslationConfig
from clo.data.instructions import instructions
from clo.errors import UserError
from clo.storage.digest import files_digest, model_files
from clo.storage.progress import stage
from clo.storage.run_folder import RunFolder

SPARE = 0.05
"""Share of rows made beyond those needed: some will not fit the model's window."""


FORMAT = 2
"""Raise it when what is asked of a translation changes: kept ones are then made again."""


def translated_rows(run: RunConfig, say: Callable[[str], None] = print) -> Path:
    """The file of translated rows, with enough of them for the run's training, dev and test rows.

    Raises:
        UserError: the examples or the translator cannot be read, or no translation passes its checks.
    """
    from clo.evaluation.fidelity import LanguageIdentifier
    from clo.model.load import run_device
    from clo.translate.cache import SentenceCache
    from clo.translate.card import write_card
    from clo.translate.engines import load_engine
    from clo.translate.pipeline import Means, dropped_path, translate_examples

    source, translation = run.data.source, run.data.translation
    assert source is not None and translation is not None
    languages = (run.lang.source, run.lang.code)
    path = rows_path(run.data, run.lang, run.cache_dir)
    identifier = LanguageIdentifier.of(run.lang)
    examples, counts = instructions(
        source,
        lambda texts: [verdict in ("en", "undecided") for verdict in identifier.verdicts(texts)],
        run.data.bad_rows == "skip",
    )
    cache = SentenceCache(Path(run.cache_dir) / "sentences", [languages, *_translator(translation, run.lang)])
    means = Means(
        languages,
        lambda: load_engine(translation, *languages, run_device(run.trainer.accelerator), Path(run.cache_dir)),
        cache,
        lambda text: identifier.verdicts([text])[0],
        waits=lambda holder: say(f"waits for {holder}, which translates into {run.lang.code}"),
    )
    with stage(RunFolder(path.parent, main=False), f"translate {run.lang.code}") as tick:
        state = translate_examples(examples, path, rows_needed(run.data_size, run.data.held_out), means, tick)
    if not state.rows:
        why = "; ".join([*counts.lines(), *(f"{n:,} in translation: {why}" for why, n in state.dropped.most_common())])
        raise UserError(
            f"0 of {state.seen():,} examples are left after the translation ({why}); choose another "
            f"data.translation.model or engine: {dropped_path(path)} names every example with its fault"
        )
    if counts.read:
        card = write_card(path, run.data, languages, counts, state, _tokens(run.model))
        for line in (*counts.lines(), *(f"{n:,} dropped: {why}" for why, n in state.dropped.most_common())):
            say(f"  {line}")
        say(f"{state.rows:,} rows in {path}, described in {card}")
    return path


def _tokens(model: ModelConfig) -> Callable[[str], int] | None:
    """Length of a text in tokens of the model that will train; none where its tokenizer is not at hand yet."""
    from clo.model.load import load_tokenizer

    try:
        tokenizer = load_tokenizer(model)
    except UserError:
        return None
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def rows_needed(size: int, held_out: int) -> int:
    """Rows of dev, test and training, and some to spare."""
    return 2 * held_out + size + round(SPARE * size) + 8


def rows_path(data: DataConfig, lang: LangConfig, cache_dir: str) -> Path:
    """Where the translated rows lie: by the content of everything they depend on but the number of rows."""
    source, translation = data.source, data.translation
    assert source is not None and translation is not None
    later = {"pairs": False, "rejected": None}  # settings that came later: rows made without them are found again
    settings = {name: value for name, value in plain(source).items() if later.get(name, ...) != value}
    content = [settings, lang.source, *_translator(translation, lang)]
    if source.path is not None:
        local = Path(source.path)
        if not local.is_file():
            raise UserError(f"data.source.path={local} does not exist")
        with local.open("rb") as file:
            content.append(hashlib.file_digest(file, "sha256").hexdigest())
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    return Path(cache_dir) / "translations" / digest / f"{lang.code}.jsonl"


def _translator(translation: TranslationConfig, lang: LangConfig) -> list[Any]:
    """What a translation depends on beside its sentence: the engine with its files and settings, and the checks.

    How its language is told is among them where it is not by py3langid: it decides which translations are kept.
    """
    files = files_digest(model_files(Path(translation.model))) if translation.engine != "chat" else None
    told = [] if lang.identify is Identify.auto else [lang.identify.name]
    return [FORMAT, translation.identity(), files, *told]
