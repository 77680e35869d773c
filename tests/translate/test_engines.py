"""Engines of real architectures, with random weights."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from clo.config.sources import TranslationConfig
from clo.errors import UserError
from clo.translate.cache import SentenceCache
from clo.translate.checks import Failed, fault
from clo.translate.engines import Seq2SeqEngine, batches, load_engine
from clo.translate.ladder import translate_sentences
from clo.translate.languages import M2M100, NLLB, engine_code


def test_languages_of_the_engines() -> None:
    for code in ("en", "zh", "de", "ko", "id", "sw", "yo"):
        assert code in M2M100 and code in NLLB
    assert engine_code("nllb", "sw") == "swh_Latn" and engine_code("chat", "tlh") == "tlh"
    with pytest.raises(UserError, match=r"has no language 'tlh'; it has af am ar"):
        engine_code("m2m100", "tlh")
    with pytest.raises(UserError, match=r"data.translation.engine=m2m100 has no language 'mi'; choose nllb$"):
        engine_code("m2m100", "mi")


def test_batches_are_sorted_and_bounded() -> None:
    lengths = [3, 9, 1, 9, 5, 20]
    groups = batches(lengths, 18)
    assert sorted(k for group in groups for k in group) == list(range(6))
    assert groups[0] == [5] and all(len(g) * max(lengths[k] for k in g) <= 18 for g in groups[1:])


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random models never end a sentence; here one is let end at its limit."""

    def ended(ids: list[Any], end: Any, _: Any) -> list[Any]:
        return ids[: ids.index(end)] if end in ids else ids

    monkeypatch.setattr("clo.translate.engines._ended", ended)


@pytest.mark.parametrize("backend", ["transformers", "ctranslate2"])
def test_a_cut_sentence_and_an_unknown_character_are_faults(m2m100: Path, tmp_path: Path, backend: str) -> None:
    """The ladder goes on with them, and the card counts what is left out for it."""
    folder = m2m100
    if backend == "ctranslate2":
        ctranslate2 = pytest.importorskip("ctranslate2", reason="pip install 'clo[ctranslate2]'")
        files = [p.name for p in m2m100.iterdir() if p.suffix != ".safetensors" and p.name != "config.json"]
        folder = tmp_path / "converted"
        ctranslate2.converters.TransformersConverter(str(m2m100), copy_files=files).convert(str(folder))
    engine = load_engine(TranslationConfig(model=str(folder), backend=backend, beams=1), "en", "sw", "cpu")
    endless, unknown = engine.translate(["this is sentence number 1", "this is 木 number 1"], 0)
    assert endless == Failed("the translation does not end")
    assert unknown == Failed("its source holds characters that the translator does not know")
    found = translate_sentences(["about cats", "about 木"], engine, SentenceCache(tmp_path, "x"), lambda _: "target")
    assert found["about 木"] == (None, unknown.why) and found["about cats"][0] is None  # more beams end it at once


def test_what_ends_and_has_no_gaps_is_a_translation() -> None:
    from clo.translate.engines import _ended

    assert _ended([5, 6, 2, 1, 1], 2, 3) == [5, 6] and _ended([2], 2, 3) == []
    assert _ended([5, 3, 6, 2], 2, 3) == Failed("the translator wrote an unknown token")
    assert _ended([5, 6, 7], 2, 3) == Failed("the translation does not end")


def test_m2m100_through_the_real_loading_code(m2m100: Path, ends: None) -> None:
    import torch

    config = TranslationConfig(model=str(m2m100), beams=1, max_tokens=200)
    engine = load_engine(config, "en", "sw", "cpu")
    assert isinstance(engine, Seq2SeqEngine)
    sentences = [f"this is sentence number {k}" + " about cats" * (k % 5) for k in range(12)]
    found = engine.translate(sentences, 0)
    alone = [engine.translate([sentence], 0)[0] for sentence in sentences]
    assert found == alone and len(found) == 12
    assert not any("__" in text for text in found)
    batch = engine.tokenizer([sentences[3]], return_tensors="pt")
    with torch.no_grad():
        ids = engine.model.generate(
            **batch, forced_bos_token_id=engine.tokenizer.get_lang_id("sw"), num_beams=1, do_sample=False,
            max_new_tokens=2 * batch["input_ids"].shape[1] + 16,
        )  # fmt: skip
    assert found[3] == engine.tokenizer.decode(ids[0][2:], skip_special_tokens=True).strip()
    assert isinstance(engine.translate(sentences[:2], 1), list)


def test_ctranslate2_gives_the_same_sentences(m2m100: Path, tmp_path: Path, ends: None) -> None:
    """The same weights, converted as its own command converts them."""
    ctranslate2 = pytest.importorskip("ctranslate2", reason="pip install 'clo[ctranslate2]'")
    files = [p.name for p in m2m100.iterdir() if p.suffix != ".safetensors" and p.name != "config.json"]
    ctranslate2.converters.TransformersConverter(str(m2m100), copy_files=files).convert(str(tmp_path / "converted"))
    sentences = [f"this is sentence number {k}" + " about cats" * (k % 5) for k in range(12)]
    found: list[list[str]] = []
    for backend, folder in (("transformers", m2m100), ("ctranslate2", tmp_path / "converted")):
        config = TranslationConfig(model=str(folder), backend=backend, beams=1, max_tokens=200)
        found.append(load_engine(config, "en", "sw", "cpu").translate(sentences, 0))
    assert found[0] == found[1] and all(found[0])


def test_engines_that_cannot_be_had(m2m100: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no language 'xx'"):
        load_engine(TranslationConfig(model=str(m2m100)), "en", "xx", "cpu")
    with pytest.raises(UserError, match=r"cannot load data\.translation\.model="):
        load_engine(TranslationConfig(model=str(tmp_path / "nothing")), "en", "sw", "cpu")
    with pytest.raises(UserError, match=r"cannot load|no token"):
        load_engine(TranslationConfig(engine="nllb", model=str(m2m100)), "en", "sw", "cpu")
    with pytest.raises(UserError, match=r"ct2-transformers-converter|pip install ctranslate2"):
        load_engine(TranslationConfig(backend="ctranslate2", model=str(tmp_path)), "en", "sw", "cpu")


def test_nllb_through_the_real_loading_code(tmp_path: Path, ends: None) -> None:
    """A random model with NLLB's own tokenizer class: Hausa is reached through its code, and comes back alone."""
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

    from clo.translate.languages import TABLES

    pieces = ["<s>", "<pad>", "</s>", "<unk>", *"▁abcdefghijklmnopqrstuvwxyz0123456789"]
    tokenizer = NllbTokenizer(vocab={piece: k for k, piece in enumerate(pieces)}, merges=[], src_lang="eng_Latn")
    tokenizer.add_special_tokens({"additional_special_tokens": sorted(set(TABLES["nllb"].values()))})
    torch.manual_seed(0)
    config = M2M100Config(
        vocab_size=len(tokenizer), d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=256,
        bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2,
    )  # fmt: skip
    M2M100ForConditionalGeneration(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    engine = load_engine(TranslationConfig(engine="nllb", model=str(tmp_path), beams=2), "en", "ha", "cpu")
    assert isinstance(engine, Seq2SeqEngine)
    assert engine.target_id == engine.tokenizer.convert_tokens_to_ids("hau_Latn")
    sentences = ["cats and dogs", "a house"]
    found = engine.translate(sentences, 0)
    assert found == [engine.translate([sentence], 0)[0] for sentence in sentences]
    assert not any("_Latn" in text for text in found)


@pytest.mark.slow
def test_throughput_is_that_of_the_engines_own_generate(m2m100: Path, ends: None) -> None:
    """At least 90 % of batched generate on sorted sentences, with cutting, checks and the cache on top."""
    import torch

    torch.set_num_threads(1)
    engine = Seq2SeqEngine(TranslationConfig(model=str(m2m100), beams=1, max_tokens=2000), "en", "sw", "cpu")
    texts = [f"This is sentence number {k}" + " about cats and dogs" * (k % 9) + "." for k in range(300)]

    def own() -> None:
        encoded = sorted((engine.tokenizer(text).input_ids for text in texts), key=len, reverse=True)
        for group in batches([len(ids) for ids in encoded], 2000):
            batch = engine.tokenizer.pad({"input_ids": [encoded[k] for k in group]}, return_tensors="pt")
            engine.model.generate(
                **batch, forced_bos_token_id=engine.target_id, num_beams=1, do_sample=False,
                max_new_tokens=2 * batch["input_ids"].shape[1] + 16,
            )  # fmt: skip

    ratios = []
    for _ in range(3):
        began = time.process_time()
        own()
        middle = time.process_time()
        translated = engine.translate(texts, 0)
        [fault(text, made, lambda _: "target") for text, made in zip(texts, translated, strict=True)]
        ratios.append((middle - began) / (time.process_time() - middle))
    print(f"throughput against the engine's own generate: {sorted(ratios)[1]:.2f}")
    assert sorted(ratios)[1] >= 0.9


def test_settings_are_checked() -> None:
    for wrong in ({"engine": "deepl"}, {"beams": 0}, {"timeout": 0}, {"engine": "chat"}, {"backend": "onnx"}):
        with pytest.raises(UserError):
            TranslationConfig(**wrong)  # type: ignore[arg-type]
