"""One client: calls, tries, parameters a server does not know, the budget, several prompts at a time."""

from __future__ import annotations

import json
import logging
import shutil
import ssl
import subprocess
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from servers import KEY, Server, completion, error, serving

import clo.server.client
from clo.errors import UserError
from clo.server.client import Client
from clo.server.endpoint import Endpoint, Purpose, Sampling, endpoint
from clo.server.faults import BudgetSpent, Refused, retry_after
from clo.server.reply import Reply
from clo.server.several import Asker

pytestmark = pytest.mark.usefixtures("client")

ORACLE = Purpose("oracle", "sayings", "be patient", "oracle.base_url", "oracle.model")
PLAIN, SOFT = Sampling(), Sampling(top=5)


def place(server: Server, timeout: float = 5.0, max_tokens: int | None = 16, model: str = "m") -> Endpoint:
    return endpoint(ORACLE, server.url, model, timeout, max_tokens)


def echo(server: Server, request: dict[str, Any], number: int) -> Any:
    return f"you said {request['messages'][-1]['content']}"


def test_what_is_sent_and_what_comes_back() -> None:
    with serving(lambda *_: ("A", {"A": 0.75, "B": 0.25})) as server:
        client = Client(place(server))
        reply = client.reply("pick \ud83d", Sampling(0.3, "Be kind.", 5))
        client.close()
    assert reply.text == "A" and reply.top == {"A": pytest.approx(-0.2877, abs=1e-4), "B": pytest.approx(-1.386, 1e-3)}
    assert not reply.cut and not reply.silent
    (request,) = server.requests
    assert request == {
        "path": "/v1/chat/completions", "model": "m", "temperature": 0.3, "max_tokens": 16, "logprobs": True,
        "top_logprobs": 5,
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "pick ?"}],
    }  # fmt: skip
    assert server.keys == {f"Bearer {KEY}"}
    with serving(echo) as server:
        Client(place(server, max_tokens=None)).reply("hello", PLAIN)
    assert set(server.requests[0]) == {"path", "model", "temperature", "messages"}


def test_the_key_is_in_no_reply_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with serving(lambda *_: f"it is {KEY}") as server:
        found = place(server)
        assert Client(found).reply("tell", PLAIN).text == "it is ***"
    assert KEY not in repr(found) + caplog.text and server.url not in caplog.text


def test_a_cut_reply_and_one_without_text_are_told() -> None:
    bodies = [completion("half of", "length"), completion(None, "length"), completion(""), completion("\ud83d")]
    with serving(lambda _, __, number: (200, {}, bodies[number - 1])) as server:
        client = Client(place(server))
        found = [client.reply("x", PLAIN) for _ in bodies]
    assert found == [
        Reply("half of", cut=True), Reply("", cut=True, silent=True), Reply(""), Reply("?"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "logprobs",
    [
        None, 3, {}, {"content": None}, {"content": []}, {"content": [{"top_logprobs": []}]},
        {"content": [{"top_logprobs": [{"token": "A"}]}]},
        {"content": [{"top_logprobs": [{"token": "A", "logprob": "x"}]}]},
        {"content": [{"top_logprobs": [{"token": "A", "logprob": float("nan")}]}]},
    ],
)  # fmt: skip
def test_odd_log_probabilities_count_as_none(logprobs: Any) -> None:
    choice = {"message": {"content": "A"}, "logprobs": logprobs}
    with serving(lambda *_: (200, {}, json.dumps({"choices": [choice]}).encode())) as server:
        assert Client(place(server)).reply("x", SOFT) == Reply("A")


@pytest.mark.parametrize("message", ["logprobs is not supported by this server", "bad request"])
def test_a_server_that_refuses_logprobs(message: str) -> None:
    def refusing(server: Server, request: dict[str, Any], number: int) -> Any:
        return error(400, message) if "logprobs" in request else "A"

    with serving(refusing) as server:
        client = Client(place(server))
        assert [client.reply(f"{k}", SOFT).text for k in range(4)] == ["A"] * 4
    assert sum("logprobs" in request for request in server.requests) == 1  # remembered
    assert client.calls == len(server.requests) == 5


def test_a_server_that_wants_max_completion_tokens() -> None:
    def modern(server: Server, request: dict[str, Any], number: int) -> Any:
        if "max_tokens" in request:
            return error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        return "A"

    with serving(modern) as server:
        client = Client(place(server, max_tokens=99))
        assert [client.reply(f"{k}", PLAIN).text for k in range(4)] == ["A"] * 4
    assert client.calls == 5
    assert all(request.get("max_completion_tokens") == 99 for request in server.requests[1:])


def test_one_refused_prompt() -> None:
    """Refused where the server takes others; where it takes none, the server is the fault."""

    def short(server: Server, request: dict[str, Any], number: int) -> Any:
        return error(400, f"too long, {KEY}") if "long" in str(request["messages"]) else "A"

    with serving(short) as server:
        client = Client(place(server))
        with pytest.raises(UserError, match=r"the oracle at .* refuses to answer as 'm': HTTP 400"):
            client.reply("long", PLAIN)
        client.reply("brief", PLAIN)
        with pytest.raises(Refused, match=r"^HTTP 400 \(too long, \*\*\*\)$"):
            client.reply("long", PLAIN)
        found = Asker(Client(place(server)), 1).replies(["brief", "long", "brief"], PLAIN)
    assert [str(reply) if isinstance(reply, Refused) else reply.text for reply in found] == [
        "A", "HTTP 400 (too long, ***)", "A",
    ]  # fmt: skip


def test_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate limit, a fault, garbage, a dropped connection, a slow reply, a page, no choices: each once."""
    monkeypatch.setattr(clo.server.client, "TRIES", 8)
    times: list[float] = []
    odd = {
        1: error(429, "slow down", Retry_After="1"), 2: error(503, "busy"), 3: (200, {}, b"{ garbage"), 4: None,
        6: (200, {"Content-Type": "text/html"}, b"<html>welcome</html>"), 7: (200, {}, b'{"choices": []}'),
    }  # fmt: skip

    def shaky(server: Server, request: dict[str, Any], number: int) -> Any:
        times.append(time.monotonic())
        if number == 5:
            time.sleep(1.2)
        return odd.get(number, "at last")

    with serving(shaky) as server:
        client = Client(place(server, timeout=0.6))
        assert client.reply("x", PLAIN).text == "at last"
    assert client.calls == len(server.requests) == 8
    assert 1 <= times[1] - times[0] < 2, "Retry-After is honoured"
    assert all(b - a < 1.5 for a, b in pairwise(times))


def test_retry_after_takes_seconds_and_dates() -> None:
    assert retry_after({"retry-after": "7"}) == 7
    future = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    wait = retry_after({"retry-after": future})
    assert wait is not None and 55 < wait < 61
    assert [retry_after(h) for h in ({}, {"retry-after": "soon"}, {"retry-after": "nan"})] == [None] * 3


def test_what_no_try_can_mend_is_asked_once() -> None:
    quota = json.dumps({"error": {"message": "no credit", "code": "insufficient_quota"}}).encode()
    for said in (error(401, "?"), error(404, "?"), (429, {}, quota), error(429, "no", Retry_After="86400")):
        with serving(lambda *_: said) as server, pytest.raises(UserError):  # noqa: B023
            Client(place(server)).reply("x", PLAIN)
        assert len(server.requests) == 1


def test_tries_again_are_part_of_the_budget() -> None:
    with serving(lambda *_: error(503, "busy")) as server:
        with pytest.raises(BudgetSpent):
            Client(place(server), budget=3).reply("x", PLAIN)
        assert len(server.requests) == 3
        with pytest.raises(UserError, match="budget of 5 calls to the oracle is spent; the sayings so far are kept"):
            Asker(Client(place(server), budget=5), 2).replies(["a", "b", "c"], PLAIN)
    assert len(server.requests) == 8


def test_another_model_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(lambda *_: (200, {}, completion("A", model=f"llama-7b {KEY}"))) as server:
        client = Client(place(server, model="qwen"))
        assert [client.reply(f"{k}", PLAIN).text for k in range(3)] == ["A"] * 3
    assert capsys.readouterr().err == (
        f"the oracle at {server.url} answers as 'llama-7b ***', not as 'qwen'; see oracle.model=\n"
    )
    for asked, told in (("gpt-4o", "gpt-4o-2024-08-06"), ("meta/Llama-3", "llama-3"), ("m", "")):
        with serving(lambda *_: (200, {}, completion("A", model=told))) as server:  # noqa: B023
            Client(place(server, model=asked)).reply("x", PLAIN)
    assert capsys.readouterr().err == ""


def test_a_certificate_that_nobody_signed(tmp_path: Path) -> None:
    """Told at once: no further try mends it."""
    program = shutil.which("openssl") or pytest.skip("needs openssl to make a certificate")
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    make = [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", *files]
    subprocess.run(make, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    with serving(lambda *_: "A") as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        found = endpoint(ORACLE, server.url.replace("http", "https"), "m", 5)
        with pytest.raises(
            UserError, match=r"the oracle at https://.* has a certificate that does not hold \(self.signed"
        ):
            Client(found).reply("x", PLAIN)
