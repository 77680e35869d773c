"""A model on a server as a translator: what is sent, replies that are none, a command that goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import KEY, Server, completion, error, serving

from clo.config.sources import TranslationConfig
from clo.data.instructions.example import Instruction
from clo.errors import UserError
from clo.translate.cache import SentenceCache
from clo.translate.chat import ChatEngine
from clo.translate.checks import Failed
from clo.translate.engines import Engine, load_engine
from clo.translate.ladder import translate_sentences
from clo.translate.pipeline import Means, dropped_path, translate_examples

pytestmark = pytest.mark.usefixtures("client")


def engine(server: Server, cache_dir: Path | None = None, **settings: Any) -> Engine:
    config = TranslationConfig(engine="chat", model="any", base_url=server.url, **settings)
    return load_engine(config, "en", "sw", "cpu", cache_dir)


def said(request: dict[str, Any]) -> str:
    return str(request["messages"][-1]["content"])


def shout(server: Server, request: dict[str, Any], number: int) -> Any:
    return f" [{said(request).upper()}] "


def target(_: str) -> str:
    return "target"


@pytest.mark.parametrize("limited", [0, 2])
def test_a_chat_server(limited: int) -> None:
    def answer(server: Server, request: dict[str, Any], number: int) -> Any:
        return error(429, "slow down") if number <= limited else shout(server, request, number)

    with serving(answer) as server:
        chat = engine(server, parallel=3)
        assert isinstance(chat, ChatEngine)
        assert chat.translate(["one", "two", "three"], 0) == ["[ONE]", "[TWO]", "[THREE]"]
        assert chat.translate(["four"], 1) == ["[FOUR]"]
    assert len(server.requests) == 4 + limited
    assert server.most <= 3 and server.keys == {f"Bearer {KEY}"}
    last = server.requests[-1]
    system, user = last.pop("messages")
    assert last == {"path": "/v1/chat/completions", "model": "any", "temperature": 0.3}
    assert server.requests[0]["temperature"] == 0
    assert system["role"] == "system" and "code en into the language with the code sw." in system["content"]
    assert user == {"role": "user", "content": "four"}


def test_replies_that_are_no_translations() -> None:
    """Cut, refused and without text: each a fault of its sentence, and no text of a translation."""

    def odd(server: Server, request: dict[str, Any], number: int) -> Any:
        if "forbidden" in said(request):
            return error(400, "filtered")
        if "long" in said(request):
            return 200, {}, completion("[HALF OF", "length")
        return (200, {}, completion(None)) if "null" in said(request) else shout(server, request, number)

    with serving(odd) as server:
        chat = engine(server, parallel=1)
        made = chat.translate(["one", "a long one", "a forbidden one", "a null one"], 0)
    assert made == ["[ONE]", Failed("cut off by the server"), Failed("refused by the server"), ""]


def test_the_ladder_goes_on_after_a_cut_reply(tmp_path: Path) -> None:
    """Cut once: a later attempt finds it. Cut always: its fault is kept, and nothing is asked again."""

    def cutting(server: Server, request: dict[str, Any], number: int) -> Any:
        text = said(request)
        cut = "always" in text or ("once" in text and request["temperature"] == 0) or ("`" in text)
        return (200, {}, completion("[HALF", "length")) if cut else shout(server, request, number)

    asked = ["cut once", "cut always", "fine", "with `code` here", "always with `code` here"]
    with serving(cutting) as server:
        found = translate_sentences(asked, engine(server), SentenceCache(tmp_path, "x"), target)
        before = len(server.requests)
        again = translate_sentences(asked, engine(server), SentenceCache(tmp_path, "x"), target)
        assert len(server.requests) == before and again == found
    assert found == {
        "cut once": ("[CUT ONCE]", None),
        "cut always": (None, "cut off by the server"),
        "fine": ("[FINE]", None),
        "with `code` here": ("[WITH] `code` [HERE]", None),
        "always with `code` here": (None, "cut off by the server"),
    }


def rows(path: Path, chat: Callable[[], Engine]) -> bytes:
    examples = [Instruction(f"e{k}", f"Question {k}? And more.", f"Answer {k}. And its end.") for k in range(12)]
    cache = SentenceCache(path.parent / "cache" / "sentences", "chat")
    translate_examples(examples, path, 12, Means(("en", "sw"), chat, cache, target))
    assert not dropped_path(path).exists()
    return path.read_bytes()


def test_a_command_that_was_stopped_goes_on_within_its_chunk(tmp_path: Path) -> None:
    """The server breaks amid the sentences translated together: every reply is kept, none is asked twice."""

    def breaking(server: Server, request: dict[str, Any], number: int) -> Any:
        return error(401, "enough") if number > 11 else shout(server, request, number)

    with serving(breaking) as server:
        with pytest.raises(UserError, match=r"the translator at .* refuses the key"):
            rows(tmp_path / "a" / "sw.jsonl", lambda: engine(server, tmp_path / "a" / "cache", parallel=2))
        done = {said(request) for request in server.requests[:11]}
    assert not (tmp_path / "a" / "sw.jsonl").exists()
    (kept,) = (tmp_path / "a" / "cache" / "translator").iterdir()
    with kept.open("a") as file:
        file.write('{"key": "torn')
    with serving(shout) as server:
        made = rows(tmp_path / "a" / "sw.jsonl", lambda: engine(server, tmp_path / "a" / "cache"))
        asked = [said(request) for request in server.requests]
        assert not done & set(asked) and len(asked) == len(set(asked)) == 26 - 11
        rows(tmp_path / "a" / "sw.jsonl", lambda: pytest.fail("nothing is left to translate"))
        assert rows(tmp_path / "b" / "sw.jsonl", lambda: engine(server)) == made
