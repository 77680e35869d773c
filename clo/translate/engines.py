"""Translators behind one function: sentences in, sentences out, in the order given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from clo.config.sources import TranslationConfig
from clo.errors import UserError
from clo.translate.chat import ChatEngine
from clo.translate.checks import Failed
from clo.translate.languages import engine_code


class Engine(Protocol):
    """A translator between two fixed languages."""

    def translate(self, sentences: Sequence[str], attempt: int) -> Sequence[str | Failed]:
        """Translate; a later attempt (from 0) tries harder."""


def load_engine(
    config: TranslationConfig, source: str, target: str, device: Any, cache_dir: Path | None = None
) -> Engine:
    """The configured engine.

    Args:
        config: the translator.
        source: our code of the source language.
        target: that of the target language.
        device: where a model here runs.
        cache_dir: where a server's replies are kept; None keeps none.

    Raises:
        UserError: it lacks a language, or cannot be loaded.
    """
    if config.engine == "chat":
        return ChatEngine(config, source, target, cache_dir)
    codes = engine_code(config.engine, source), engine_code(config.engine, target)
    if config.backend == "ctranslate2":
        return CTranslate2Engine(config, *codes, device)
    return Seq2SeqEngine(config, *codes, device)


def batches(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Indices in batches of similar length, the longest first, whose padded size stays within ``most`` tokens."""
    groups: list[list[int]] = []
    widest = 0
    for k in sorted(range(len(lengths)), key=lambda k: -lengths[k]):
        if groups and (len(groups[-1]) + 1) * widest <= most:
            groups[-1].append(k)
        else:
            groups.append([k])
            widest = lengths[k]
    return groups


class Seq2SeqEngine:
    """M2M100 or NLLB through transformers.

    Args:
        config: the translator.
        source: the engine's code of the source language.
        target: that of the target language.
        device: where it runs; on a GPU in bfloat16.
    """

    def __init__(self, config: TranslationConfig, source: str, target: str, device: Any) -> None:
        import torch
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        self.config, self.device = config, torch.device(device)
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(config.model, revision=config.revision, src_lang=source)
            model = AutoModelForSeq2SeqLM.from_pretrained(config.model, revision=config.revision, dtype=dtype)
        except (OSError, ValueError, KeyError) as error:
            cause = str(error).strip().splitlines()[0]
            raise UserError(
                f"cannot load data.translation.model={config.model} ({cause}); give a local folder or a hub id, and "
                "check the network"
            ) from error
        self.model: Any = model.eval().to(self.device)
        self.tokenizer.src_lang = source
        name = f"__{target}__" if config.engine == "m2m100" else target
        own = getattr(self.tokenizer, "lang_token_to_id", {})  # M2M100's numbers of its languages; NLLB has tokens only
        self.target_id = own.get(name, self.tokenizer.convert_tokens_to_ids(name))
        if not isinstance(self.target_id, int) or self.target_id == self.tokenizer.unk_token_id:
            raise UserError(f"the tokenizer of {config.model} has no token {name}; is it a {config.engine} model?")

    def translate(self, sentences: Sequence[str], attempt: int) -> list[str | Failed]:
        """Beam search; later attempts take more beams and forbid repeated phrases."""
        import torch

        beams = self.config.beams if attempt == 0 else max(5, self.config.beams + 1)
        encoded = [self.tokenizer(sentence).input_ids for sentence in sentences]
        unknown = self.tokenizer.unk_token_id
        out: list[str | Failed] = [UNKNOWN_SOURCE] * len(sentences)
        left = [k for k, ids in enumerate(encoded) if unknown not in ids]
        for part in batches([len(encoded[k]) for k in left], max(1, self.config.max_tokens // beams)):
            group = [left[k] for k in part]
            batch = self.tokenizer.pad({"input_ids": [encoded[k] for k in group]}, return_tensors="pt").to(self.device)
            longest = batch["input_ids"].shape[1]
            with torch.inference_mode():
                made = self.model.generate(
                    **batch,
                    forced_bos_token_id=self.target_id,
                    num_beams=beams,
                    do_sample=False,
                    max_new_tokens=2 * longest + 16,
                    no_repeat_ngram_size=4 if attempt else 0,
                )
            for k, ids in zip(group, made.tolist(), strict=True):
                # The start and language tokens go by position: some tokenizers do not know them as special. A sentence
                # must end at its own limit, not at that of the longest beside it.
                own = _ended(ids[2 : 2 * len(encoded[k]) + 16], self.tokenizer.eos_token_id, unknown)
                out[k] = own if isinstance(own, Failed) else _decoded(self.tokenizer, own)
        return out


UNKNOWN_SOURCE = Failed("its source holds characters that the translator does not know")
UNKNOWN_OUTPUT = Failed("the translator wrote an unknown token")
ENDLESS = Failed("the translation does not end")


def _ended(ids: list[Any], end: Any, unknown: Any) -> list[Any] | Failed:
    """What comes before the end token, of ids or of tokens; a cut sentence and one with gaps are none."""
    if end not in ids:
        return ENDLESS
    whole = ids[: ids.index(end)]
    return UNKNOWN_OUTPUT if unknown in whole else whole


def _decoded(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True)).strip()


class CTranslate2Engine:
    """A model converted with ``ct2-transformers-converter``: several times faster on a CPU, with int8 weights."""

    def __init__(self, config: TranslationConfig, source: str, target: str, device: Any) -> None:
        try:
            import ctranslate2
        except ImportError as error:
            raise UserError("data.translation.backend=ctranslate2 needs `pip install ctranslate2`") from error
        from transformers import AutoTokenizer

        self.config = config
        try:
            self.translator = ctranslate2.Translator(config.model, device=str(device).split(":")[0])
            self.tokenizer = AutoTokenizer.from_pretrained(config.model, src_lang=source)
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(
                f"data.translation.model={config.model} is not a folder that ct2-transformers-converter made with "
                f"--copy_files of the tokenizer ({str(error).splitlines()[0]})"
            ) from error
        self.tokenizer.src_lang = source
        self.prefix = f"__{target}__" if config.engine == "m2m100" else target

    def translate(self, sentences: Sequence[str], attempt: int) -> list[str | Failed]:
        """As the other engine does."""
        tokens = [self.tokenizer.convert_ids_to_tokens(self.tokenizer(s).input_ids) for s in sentences]
        unknown, end = self.tokenizer.unk_token, self.tokenizer.eos_token
        left = [k for k, sentence in enumerate(tokens) if unknown not in sentence]
        beams = self.config.beams if attempt == 0 else max(5, self.config.beams + 1)
        results = self.translator.translate_batch(
            [tokens[k] for k in left],
            target_prefix=[[self.prefix]] * len(left),
            beam_size=beams,
            batch_type="tokens",
            max_batch_size=self.config.max_tokens,
            max_decoding_length=2 * max((len(tokens[k]) for k in left), default=0) + 16,
            no_repeat_ngram_size=4 if attempt else 0,
            return_end_token=True,
        )
        out: list[str | Failed] = [UNKNOWN_SOURCE] * len(sentences)
        for k, result in zip(left, results, strict=True):
            own = _ended(result.hypotheses[0][1 : 2 * len(tokens[k]) + 15], end, unknown)
            if isinstance(own, Failed):
                out[k] = own
            else:
                out[k] = _decoded(self.tokenizer, list(self.tokenizer.convert_tokens_to_ids(own)))  # type: ignore[arg-type]
        return out
