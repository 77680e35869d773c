"""From examples to rows: the ladder, a cache that survives a kill, files that grow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clo.data.instructions.example import Instruction
from clo.data.rows import read_rows
from clo.translate.cache import SentenceCache
from clo.translate.ladder import translate_sentences
from clo.translate.pipeline import Means, dropped_path, translate_examples


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


def test_spoilt_instructions_are_left_out_unasked_and_counted(tmp_path: Path) -> None:
    engine = Fake()
    examples = [Instruction("a", "Translate 'cat' into French.", "chat"), Instruction("b", "Name a cat.", "Tom.")]
    state = make(tmp_path / "sw.jsonl", 5, engine, examples)
    assert state.rows == 1 and state.dropped == {"an instruction that a translation would spoil": 1}
    assert not [sentence for _, sentence in engine.asked if "French" in sentence or "chat" in sentence]
