"""HTTP servers on the loopback that speak OpenAI's protocol, well or badly, as they are told."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-very-secret-0123456789"
Answer = Callable[["Server", dict[str, Any], int], Any]
"""answer(server, request, its number) -> text, (text, {token: probability}), (status, headers, body), None: drop.

A body is bytes, or an iterator of bytes that are sent as they come; a status of 0 sends the bytes and nothing else.
"""


class Server(ThreadingHTTPServer):
    """An OpenAI-compatible server that answers as it is told."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.lock = threading.Lock()
        self.running = self.most = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, *_: Any) -> None:
        """A client that has gone away is part of these tests."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body in one packet: 40 ms faster

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.requests.append({**request, "path": self.path})
            server.keys.add(self.headers["Authorization"])
            number = len(server.requests)
            server.running += 1
            server.most = max(server.most, server.running)
        try:
            said = server.answer(server, request, number)
        finally:
            with server.lock:
                server.running -= 1
        if said is None:  # drop the connection
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        status, headers, body = said if isinstance(said, tuple) and len(said) == 3 else (200, {}, completion(said))
        if status == 0:
            self.wfile.write(body)
            self.close_connection = True
            return
        self.send_response(status)
        whole = isinstance(body, bytes)
        length = {"Content-Length": len(body)} if whole else {"Connection": "close"}
        for name, value in {"Content-Type": "application/json", **length, **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        for part in [body] if whole else body:
            self.wfile.write(part)
            self.wfile.flush()
        self.close_connection |= "Content-Length" in headers

    def log_message(self, *_: Any) -> None:
        """Silent."""


def completion(said: Any, ended: str = "stop", model: str = "") -> bytes:
    text, top = said if isinstance(said, tuple) else (said, None)
    choice: dict[str, Any] = {
        "index": 0, "finish_reason": ended, "message": {"role": "assistant", "content": text},
    }  # fmt: skip
    if top is not None:
        entries = [{"token": token, "logprob": math.log(p), "bytes": None} for token, p in top.items()]
        choice["logprobs"] = {"content": [{**entries[0], "top_logprobs": entries}]}
    return json.dumps(
        {"id": "c", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    ).encode()


def error(status: int, message: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, names, json.dumps({"error": {"message": message, "code": None}}).encode()


@contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    server = Server(answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def until(done: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


@dataclass(frozen=True)
class Bad:
    """A server that is of no use."""

    answer: Answer
    said: str
    """What its user is told, as a regular expression."""
    tried: bool = True
    """Whether it is asked more than once for a reply."""
    timeout: float = 20.0
    """Seconds that its user waits."""


def dripping(*_: Any) -> Any:
    def parts() -> Iterator[bytes]:
        for _ in range(100):
            time.sleep(0.02)
            yield b" "

    return 200, {}, parts()


def endless(*_: Any) -> Any:
    return 200, {}, (b"x" * 65536 for _ in range(4096))


def whole(value: Any) -> Answer:
    return lambda *_: (200, {}, json.dumps(value).encode())


def odd(body: bytes, kind: str = "application/json", **headers: Any) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda *_: (200, {"Content-Type": kind, **names}, body)


QUOTA = json.dumps({"error": {"message": "no credit", "code": "insufficient_quota"}}).encode()
BAD = {
    "drops": Bad(lambda *_: None, r"it drops the connection or cannot be reached \(\w+\); see .*base_url="),
    "slow": Bad(lambda *_: time.sleep(1), r"no reply within 0\.2 s; (raise|lower) ", timeout=0.2),
    "drips": Bad(dripping, r"no reply within 0\.5 s; (raise|lower) ", timeout=0.5),
    "endless": Bad(endless, "its reply does not end"),
    "torn": Bad(odd(b'{"choices": [', Content_Length=999), "it drops the connection"),
    "no HTTP": Bad(lambda *_: (0, {}, b"SSH-2.0-OpenSSH_9.6\r\n"), "it drops the connection"),
    "gzip": Bad(odd(b"no gzip at all", Content_Encoding="gzip"), "it drops the connection"),
    "redirects": Bad(lambda *_: (307, {"Location": "/v1/chat/completions"}, b""), "it drops the connection"),
    "400": Bad(lambda *_: error(400, "never"), r"answer as 'm': HTTP 400 \(never\); see .*model=", tried=False),
    "402": Bad(lambda *_: error(402, "pay"), r"refuses to answer as 'm': HTTP 402 \(pay\)", tried=False),
    "401": Bad(lambda *_: error(401, f"bad {KEY}"), r"the key \(HTTP 401\); set OPENAI_API_KEY", tried=False),
    "403": Bad(lambda *_: error(403, "no"), r"the key \(HTTP 403\); set OPENAI_API_KEY", tried=False),
    "404": Bad(lambda *_: error(404, "?"), r"no model 'm' or is not the address .*; see .*model=, ", tried=False),
    "429": Bad(lambda *_: error(429, "slow down"), r"HTTP 429 \(slow down\); (raise|lower) "),
    "429 tomorrow": Bad(lambda *_: error(429, "no", Retry_After="86400"), "asks to wait 86400 s, HTTP 429", False),
    "429 no credit": Bad(lambda *_: (429, {}, QUOTA), r"HTTP 429 \(no credit\)", tried=False),
    "500": Bad(lambda *_: error(500, f"with {KEY}"), r"HTTP 500 \(with \*\*\*\); see the server's log"),
    "500 in words": Bad(lambda *_: (500, {}, b'{"error": "out of\\n memory"}'), r"HTTP 500 \(out of memory\)"),
    "503": Bad(lambda *_: error(503, "busy today"), r"HTTP 503 \(busy today\); see the server's log"),
    "502 page": Bad(lambda *_: (502, {"Content-Type": "text/html"}, b"<html>"), r"HTTP 502 \(no reason given\)"),
    "garbage": Bad(odd(b"nonsense"), "its reply is no JSON; see .*base_url="),
    "bytes": Bad(odd(b"\xff\xfe\x00"), "its reply is no JSON"),
    "nothing": Bad(odd(b""), "its reply is no JSON"),
    "deep": Bad(odd(b"[" * 100_000), "its reply is no JSON"),
    "page": Bad(odd(b"<!doctype html><p>welcome", "text/html"), "it replies with a web page; see .*base_url="),
    "stream": Bad(odd(b'data: {"choices": []}\n\n', "text/event-stream"), "it streams its reply"),
    "list": Bad(whole([1]), "JSON but no chat completion"),
    "no choices": Bad(whole({"choices": []}), "its reply has no choices;"),
    "null choices": Bad(whole({"choices": None}), "its reply has no choices;"),
    "error in 200": Bad(whole({"error": {"message": f"over {KEY}"}}), r"no choices but an error: over \*\*\*;"),
    "no message": Bad(whole({"choices": [{"text": "x"}]}), "a choice without a message"),
    "choice of text": Bad(whole({"choices": ["x"]}), "a choice without a message"),
    "content in parts": Bad(whole({"choices": [{"message": {"content": [{"text": "A"}]}}]}), "content is no text"),
    "null content": Bad(lambda *_: (200, {}, completion(None)), "contradicts its format|replies without text"),
}
"""Every server that is of no use, whoever asks it and whatever for."""
