"""Several prompts at a time, every reply kept at once; and the function for answers that is made of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Server, completion, error, serving, until

from clo.errors import UserError
from clo.server.answers import answering
from clo.server.client import Client
from clo.server.endpoint import Endpoint, Purpose, Sampling, endpoint
from clo.server.faults import Stopped
from clo.server.reply import Reply
from clo.server.several import Asker

pytestmark = pytest.mark.usefixtures("client")

ORACLE = Purpose("oracle", "sayings", "be patient")
PLAIN = Sampling()


def place(server: Server, max_tokens: int = 16, model: str = "m") -> Endpoint:
    return endpoint(ORACLE, server.url, model, 5.0, max_tokens)


def echo(server: Server, request: dict[str, Any], number: int) -> Any:
    return f"you said {request['messages'][-1]['content']}"


def test_calls_are_parallel_up_to_a_limit() -> None:
    def slow(server: Server, request: dict[str, Any], number: int) -> Any:
        time.sleep(0.1)
        return echo(server, request, number)

    with serving(slow) as server:
        found = Asker(Client(place(server)), 3).replies([f"{k}" for k in range(9)] * 2, PLAIN)
    assert server.most == 3 and len(server.requests) == 9
    assert [reply.text for reply in found] == [f"you said {k}" for k in range(9)] * 2  # type: ignore[union-attr]


def test_every_reply_is_kept_at_once_and_found_again(tmp_path: Path) -> None:
    """The server breaks after seven replies; the next command asks for the other three, and the third for none."""

    def breaking(server: Server, request: dict[str, Any], number: int) -> Any:
        return echo(server, request, number) if number <= 7 else error(401, "enough")

    prompts = [f"p{k}" for k in range(10)]
    with serving(breaking) as server, pytest.raises(UserError, match="refuses the key"):
        Asker(Client(place(server)), 1, tmp_path).replies(prompts, PLAIN)
    assert len(server.requests) == 8  # the failure ends it, and no prompt is begun after it
    with serving(echo) as server:
        found = Asker(Client(place(server)), 2, tmp_path).replies(prompts, PLAIN)
        assert len(server.requests) == 3
        assert Asker(Client(place(server)), 2, tmp_path).replies(prompts, PLAIN) == found
        assert len(server.requests) == 3
        for other in (Sampling(0.3), Sampling(system="Be brief.")):  # another reply, another place
            Asker(Client(place(server)), 2, tmp_path).replies(prompts[:1], other)
        Asker(Client(place(server, model="n")), 2, tmp_path).replies(prompts[:1], PLAIN)
        Asker(Client(place(server, max_tokens=17)), 2, tmp_path).replies(prompts[:1], PLAIN)
        assert len(server.requests) == 7


def test_replies_without_text_are_not_kept_and_end_it_where_there_is_nothing_else(tmp_path: Path) -> None:
    prompts = [f"p{k}" for k in range(60)]
    with serving(lambda *_: (200, {}, completion(None))) as server:
        with pytest.raises(UserError, match=r"replies without text \(content is null, 20 times in a row\)"):
            Asker(Client(place(server)), 1, tmp_path).replies(prompts, PLAIN)
        assert len(server.requests) < 25
        assert not list(tmp_path.iterdir())

    def sometimes(server: Server, request: dict[str, Any], number: int) -> Any:
        return "text" if request["messages"][0]["content"] == "p0" else (200, {}, completion(None))

    with serving(sometimes) as server:
        found = Asker(Client(place(server)), 1, tmp_path).replies(prompts, PLAIN)
        assert [reply.text for reply in found] == ["text"] + [""] * 59  # type: ignore[union-attr]
        Asker(Client(place(server)), 1, tmp_path).replies(prompts, PLAIN)
        assert len(server.requests) == 60 + 59


def test_a_stop_begins_no_further_call() -> None:
    with serving(lambda *_: error(503, "busy", Retry_After="60")) as server:
        client, ended = Client(place(server)), []

        def ask() -> None:
            try:
                client.reply("x", PLAIN)
            except Stopped:
                ended.append(True)

        thread = threading.Thread(target=ask)
        thread.start()
        until(lambda: len(server.requests) == 1)
        client.stop.set()
        thread.join(5)
    assert ended == [True] and len(server.requests) == 1
    with pytest.raises(Stopped):
        client.reply("y", PLAIN)


def test_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def mixed(server: Server, request: dict[str, Any], number: int) -> Any:
        said = request["messages"][0]["content"]
        if "forbidden" in said:
            return error(400, "filtered")
        return (200, {}, completion("and so on", "length")) if "long" in said else said.upper()

    with serving(mixed) as server:
        ask = answering(server.url, "m", 40)
        assert ask(["one", "a long one"]) == [Reply("ONE"), Reply("and so on", cut=True)]
        assert {request["max_tokens"] for request in server.requests} == {40}
        with pytest.raises(
            UserError, match=r"refuses the prompt 'a forbidden one': HTTP 400 \(filtered\); leave it out"
        ):
            ask(["a forbidden one"])


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    yield
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("server_")], 5)
