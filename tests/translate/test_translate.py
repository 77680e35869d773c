"""Translation: exact segments, checks, the ladder, a cache that survives a kill, engines of real architectures."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from called import program
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import Swahili

from clo.config.sources import TranslationConfig
from clo.data.instructions.example import Instruction
from clo.data.rows import read_rows
from clo.errors import UserError
from clo.translate.cache import SentenceCache
from clo.translate.checks import fault, repeats
from clo.translate.engines import Seq2SeqEngine, batches, load_engine
from clo.translate.ladder import translate_sentences
from clo.translate.languages import M2M100, NLLB, engine_code
from clo.translate.pipeline import Means, dropped_path, translate_examples
from clo.translate.segments import around_protected, numbers, pieces, protected

# Segments -----------------------------------------------------------------------------------------------------------

PARTS = st.sampled_from(
    ["Hello there.", " How are you? ", "\n", "\r\n", "```\ncode. Here\n```\n", "`x.y` is", "- item\n", "1. ", "## ",
     "$a+b$", "https://a.b/c.", "Dr. Who", "e.g. this", "你好。", "再见！好", "| a | b |", "\t", "...", "~~~", "{name}",
     "<b>", "3.14", "“Yes.” "]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(PARTS | st.text(max_size=12), max_size=12))
def test_joining_the_pieces_gives_the_text_back(parts: list[str]) -> None:
    text = "".join(parts)
    assert "".join(piece.text for piece in pieces(text)) == text
    for piece in pieces(text):
        if piece.translate:
            assert piece.text == piece.text.rstrip() and any(char.isalpha() for char in piece.text)
            assert "".join(p.text for p in around_protected(piece.text)) == piece.text


def test_what_is_a_sentence() -> None:
    text = "# Title\n1. Use `a.b` now. Then see https://x.y/z, e.g. Dr. Who's page.\n```\nNo. Not this.\n```\n"
    text += "42\nDone? Yes!"
    assert [p.text for p in pieces(text) if p.translate] == [
        "Title", "Use `a.b` now.", "Then see https://x.y/z, e.g. Dr. Who's page.", "Done?", "Yes!",
    ]  # fmt: skip
    kept = ["`a.b`", "$x$", "{n}", "me@b.co", "https://x.y/z"]
    assert protected("Use `a.b`, $x$ and {n} at me@b.co or https://x.y/z.") == kept
    assert numbers("1,000 and 2.5 of 7") == numbers("7 von 1.000 und 2,5") != numbers("1,000 and 2.6 of 7")


# Checks -------------------------------------------------------------------------------------------------------------

SOURCE = "The cat sat on the mat for 3 hours with `tool`."


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Paka alikaa kwenye mkeka kwa saa 3 na `tool`.", None),
        ("", "empty"),
        ("Paka alikaa kwenye mkeka kwa saa 3.", "code, formula, address or placeholder lost"),
        ("Paka alikaa kwenye mkeka kwa saa 4 na `tool`.", "numbers differ"),
        ("`tool` 3 " + "na paka na mkeka " * 6, "repeats itself"),
        (SOURCE, "not translated"),
        ("`tool` 3", None),
        ("`tool` 3 " + " ".join(a + b for a in "abcdefghijklm" for b in "nopqrstu"), "too short or too long"),
    ],
)
def test_faults(text: str, why: str | None) -> None:
    assert fault(SOURCE, text, lambda _: "target") == why


def test_language_of_a_translation() -> None:
    long = "A sentence that is long enough to tell which language it has been written in."
    assert fault(long, "Noch ein Satz ohne Sinn, aber lang.", lambda _: "other") == "in another language"
    assert fault(long, "Still English, other words though.", lambda _: "en") == "not translated"
    assert (
        fault("Yes, of course it is so.", "Naam, bila shaka ni hivyo.", lambda _: "other") is None
    )  # too short to tell
    assert repeats("我爱你们大家好" * 5) and not repeats("我爱你，你爱她，她爱他们大家")


# Ladder, cache, pipeline --------------------------------------------------------------------------------------------


class Fake:
    """Upper-cases; words tell it to misbehave."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, str]] = []

    def translate(self, sentences: Sequence[str], attempt: int) -> list[str]:
        self.asked += [(attempt, sentence) for sentence in sentences]
        return [self._one(sentence, attempt) for sentence in sentences]

    def _one(self, sentence: str, attempt: int) -> str:
        if "never" in sentence or ("later" in sentence and attempt == 0):
            return ""
        if "`" in sentence:
            return sentence.replace("`", "'")
        return f"[{sentence.upper()}]"


def target(_: str) -> str:
    return "target"


def test_the_ladder(tmp_path: Path) -> None:
    engine, cache = Fake(), SentenceCache(tmp_path, "fake")
    asked = ["one", "two later", "three never", "use `code` here", "one"]
    found = translate_sentences(asked, engine, cache, target)
    assert found["one"] == ("[ONE]", None) and found["two later"] == ("[TWO LATER]", None)
    assert found["three never"] == (None, "empty")
    assert found["use `code` here"] == ("[USE] `code` [HERE]", None)
    assert engine.asked.count((0, "one")) == 1 and (1, "one") not in engine.asked
    before = len(engine.asked)
    assert translate_sentences(asked, engine, SentenceCache(tmp_path, "fake"), target) == found
    assert len(engine.asked) == before  # nothing is asked again, not even what failed
    assert SentenceCache(tmp_path, "other settings").get("one") is None


def test_broken_cache_lines_are_counted_and_made_again(tmp_path: Path) -> None:
    cache = SentenceCache(tmp_path, "x")
    cache.add([("a", "A", None), ("b", "B", None)])
    lines = cache.path.read_text().splitlines()
    cache.path.write_text("\n".join([lines[0], '{"source": "b", "te', "[]", '{"source": "torn']))
    again = SentenceCache(tmp_path, "x")
    assert again.get("a") == ("A", None) and again.get("b") is None and again.broken == 3
    again.add([("b", "B", None)])
    assert SentenceCache(tmp_path, "x").get("b") == ("B", None)


EXAMPLES = [
    Instruction(f"e{k}", f"Question {k}? And more.", f"Answer {k}.\n- `code` point" if k % 3 else "No never.")
    for k in range(40)
]


def make(path: Path, needed: int, engine: Any = None, examples: Sequence[Instruction] = EXAMPLES) -> Any:
    cache = SentenceCache(path.parent / "cache", "fake")
    return translate_examples(examples, path, needed, Means(("en", "sw"), lambda: engine or Fake(), cache, target))


def test_rows_grow_and_nest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clo.translate.pipeline.CHUNK", 7)
    path = tmp_path / "sw.jsonl"
    state = make(path, 10)
    assert state.rows == 10 and state.dropped == {"empty": 5}
    first = path.read_bytes()
    state = make(path, 20)
    assert path.read_bytes().startswith(first) and state.rows == 20
    rows = read_rows(path, "en", "sw")
    assert [row.id for row in rows] == [f"e{k}" for k in range(40) if k % 3][:20]
    assert rows[0].responses["sw"] == "[ANSWER 1.]\n- `code` [POINT]"
    assert {json.loads(line)["reason"] for line in dropped_path(path).read_text().splitlines()} == {"empty"}
    assert make(tmp_path / "b" / "sw.jsonl", 20).rows == 20
    assert (tmp_path / "b" / "sw.jsonl").read_bytes() == path.read_bytes()


def test_all_there_is(tmp_path: Path) -> None:
    state = make(tmp_path / "sw.jsonl", 1000)
    assert (state.rows, sum(state.dropped.values())) == (26, 14)
    untouched = Fake()
    assert make(tmp_path / "sw.jsonl", 26, untouched).rows == 26 and not untouched.asked


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_killed_and_made_again(moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine dies, a line is torn; the same call ends with the same file, and nothing is translated twice."""
    monkeypatch.setattr("clo.translate.pipeline.CHUNK", 7)

    class Dies(Fake):
        def translate(self, sentences: Sequence[str], attempt: int) -> list[str]:
            if len([1 for a, _ in self.asked if a == 0]) > 10 * moment:
                raise KeyboardInterrupt
            return super().translate(sentences, attempt)

    path = tmp_path / "sw.jsonl"
    dies = Dies()
    with pytest.raises(KeyboardInterrupt):
        make(path, 24, dies)
    for file in (path, dropped_path(path)):
        with file.open("a") as torn:
            torn.write('{"id": "e9", "pro')
    rest = Fake()
    make(path, 24, rest)
    make(tmp_path / "alone" / "sw.jsonl", 24)
    assert path.read_bytes() == (tmp_path / "alone" / "sw.jsonl").read_bytes()
    finished = {s for s in (s for a, s in dies.asked if a == 0) if "never" not in s and "`" not in s}
    assert not {s for _, s in rest.asked} & set(list(finished)[:5]) or moment == 1


# Engines ------------------------------------------------------------------------------------------------------------


def test_languages_of_the_engines() -> None:
    for code in ("en", "zh", "de", "ko", "id", "sw", "yo"):
        assert code in M2M100 and code in NLLB
    assert engine_code("nllb", "sw") == "swh_Latn" and engine_code("chat", "tlh") == "tlh"
    with pytest.raises(UserError, match=r"has no language 'tlh'; it has af am ar"):
        engine_code("m2m100", "tlh")


def test_batches_are_sorted_and_bounded() -> None:
    lengths = [3, 9, 1, 9, 5, 20]
    groups = batches(lengths, 18)
    assert sorted(k for group in groups for k in group) == list(range(6))
    assert groups[0] == [5] and all(len(g) * max(lengths[k] for k in g) <= 18 for g in groups[1:])


@pytest.fixture(scope="module")
def m2m100(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer M2M100 with a real sentencepiece tokenizer."""
    import sentencepiece
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration, M2M100Tokenizer

    folder = tmp_path_factory.mktemp("m2m100")
    text = folder / "text.txt"
    text.write_text(
        "\n".join(f"this is sentence number {k} about cats, dogs and houses in town {k * 7}" for k in range(400))
    )
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "spm"), vocab_size=120, bos_id=0, pad_id=1, eos_id=2, unk_id=3
    )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    vocabulary = {processor.id_to_piece(k): k for k in range(processor.get_piece_size())}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    files = (str(folder / "vocab.json"), str(folder / "spm.model"))
    languages = list(M2M100Tokenizer(*files).lang_code_to_token.values())
    tokenizer = M2M100Tokenizer(*files, additional_special_tokens=languages, src_lang="en")
    torch.manual_seed(0)
    config = M2M100Config(
        vocab_size=len(vocabulary) + 108, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=256,
        bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2,
    )  # fmt: skip
    model = M2M100ForConditionalGeneration(config)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder / "model"


def test_m2m100_through_the_real_loading_code(m2m100: Path) -> None:
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


def test_ctranslate2_gives_the_same_sentences(m2m100: Path, tmp_path: Path) -> None:
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


def test_nllb_through_the_real_loading_code(tmp_path: Path) -> None:
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
def test_throughput_is_that_of_the_engines_own_generate(m2m100: Path) -> None:
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
        [fault(text, made, target) for text, made in zip(texts, translated, strict=True)]
        ratios.append((middle - began) / (time.process_time() - middle))
    print(f"throughput against the engine's own generate: {sorted(ratios)[1]:.2f}")
    assert sorted(ratios)[1] >= 0.9


def test_settings_are_checked() -> None:
    for wrong in ({"engine": "deepl"}, {"beams": 0}, {"timeout": 0}, {"engine": "chat"}, {"backend": "onnx"}):
        with pytest.raises(UserError):
            TranslationConfig(**wrong)  # type: ignore[arg-type]


# Runs -----------------------------------------------------------------------------------------------------------------


translate = program("translate")


def test_a_run_translates_what_it_needs(
    tiny_folder: Path,
    m2m100: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first run translates, a larger one translates the rest, and so does the command ahead of a run."""
    from composed import run_of
    from warm_runs import tiny

    from clo.study.plan_table import show_plans
    from clo.study.run import run_cell
    from clo.translate.ensure import rows_path

    monkeypatch.setattr(Swahili, "made", 0)
    monkeypatch.setattr("clo.translate.engines.load_engine", lambda *_: Swahili())
    lines = [
        {"instruction": f"Please tell me about animal {k}.", "output": f"The animal {k} is a cat."} for k in range(90)
    ]
    (tmp_path / "english.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = ["data=table", f"data.source.path={tmp_path}/english.jsonl", "data.held_out=4"]
    run = run_of(*tiny(tiny_folder, tmp_path, *asked, "model.max_length=256"))
    planned = run_of(*tiny(tiny_folder, tmp_path, *asked, "model.max_length=256", "plan=true"))
    translator = f"data.translation.model={m2m100}"
    path = rows_path(run.data, run.lang, run.cache_dir)
    capsys.readouterr()
    assert show_plans([planned, run_of(*tiny(tiny_folder, tmp_path, *asked, "plan=true", translator))])
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("target texts count as 1.5 times") == 2  # two translators, two translations
    assert "time not known" in said and re.search(r"jsonl: \d+ s, once", said)
    assert not path.exists() and Swahili.made == 0
    run_cell(run)
    first = Swahili.made
    rows = read_rows(path, "en", "sw")
    assert len(rows) == 2 * 4 + 16 + 1 + 8 and first <= 2 * 90
    said = capsys.readouterr().out
    assert "rows in" in said and "kept" in said
    assert show_plans([planned]) and "target texts count" not in capsys.readouterr().out
    results = json.loads(next(tmp_path.glob("outputs/runs/*/results.json")).read_text())
    assert results["data"] == "table" and results["scores"]["target"]["all"]["n"] == 4
    run_cell(run_of(*tiny(tiny_folder, tmp_path, *asked, "model.max_length=256", "seed=1")))
    assert Swahili.made == first
    translate([*tiny(tiny_folder, tmp_path, *asked), "data_size=40"])
    assert len(read_rows(path, "en", "sw")) == 2 * 4 + 40 + 2 + 8
    card = path.with_suffix(".md").read_text()
    assert "| read | 90 |" in card and "| sw |" in card and "→ Hii ni" in card
    (fertility,) = (float(line.split("|")[-2]) for line in card.splitlines() if line.startswith("| sw |"))
    assert 0.1 < fertility < 1.5  # tokens of the tiny model per character


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["data=cldr"], "is parallel already"),
        (["data=table", "data.source.path=nowhere.jsonl"], "data.source.path=nowhere.jsonl does not exist"),
        (["data=table", "lang=xx"], "xx"),
        (["data=table", "data.translation.engine=deepl"], "data.translation.engine"),
        (["data=table", "data.source.nothing=1"], "nothing"),
    ],
)
def test_bad_commands(arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        translate([*arguments, f"cache_dir={tmp_path}/cache"])
    message = str(end.value.code)
    assert message.startswith("error: ") and says in message and "\n" not in message
    assert not list(tmp_path.glob("**/*.jsonl"))
