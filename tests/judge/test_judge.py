"""Win rates by a judge, against real HTTP servers on the loopback that behave well and badly."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from test_win_rate import sample, write

from clo.commands.judge import main
from clo.errors import UserError
from clo.judge import client, prompts
from clo.judge.compare import slug
from clo.judge.measure import length_controlled
from clo.judge.pairs import read_outputs
from clo.judge.prompts import Reply

pytest.importorskip("openai")
KEY = "sk-very-secret-0123456789"
Answer = Callable[["Server", dict[str, Any], int], Any]
"""answer(server, request, its number) -> text, (text, {token: probability}), (status, headers, bytes), None: drop."""


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
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers, "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silent."""


def completion(said: Any) -> bytes:
    text, top = said if isinstance(said, tuple) else (said, None)
    choice: dict[str, Any] = {
        "index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text},
    }  # fmt: skip
    if top is not None:
        entries = [{"token": token, "logprob": math.log(p), "bytes": None} for token, p in top.items()]
        choice["logprobs"] = {"content": [{**entries[0], "top_logprobs": entries}]}
    return json.dumps(
        {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
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


def about_language(request: dict[str, Any]) -> bool:
    return "yes or no" in request["messages"][0]["content"]


def shown(request: dict[str, Any]) -> list[str]:
    """The answers in a prompt, in their order."""
    return re.findall(r"<answer(?:_[AB])?>\n(.*?)\n</answer", request["messages"][0]["content"], re.DOTALL)


def fair(server: Server, request: dict[str, Any], number: int) -> Any:
    """Prefers the answer with more "good" in it; whatever says "foreign" is in the wrong language."""
    answers = shown(request)
    if about_language(request):
        return "no" if "foreign" in answers[0] else "Yes."
    a, b = (answer.count("good") for answer in answers)
    return "A" if a > b else " **B**" if b > a else "tie"


def always_a(server: Server, request: dict[str, Any], number: int) -> Any:
    return "yes" if about_language(request) else "A"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "CLO_JUDGE_MODEL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(client, "BACK_OFF", 0.01)


def runs(place: Path, *answers: tuple[str, str], side: str = "target") -> tuple[Path, Path]:
    """Two run folders with these pairs of answers."""
    a, b = ([sample(f"r{k}", side=side, prompt=f"prompt {k}", answer=pair[i]) for k, pair in enumerate(answers)] for i in (0, 1))  # fmt: skip  # noqa: E501
    return write(place / "run", a), write(place / "other", b)


PAIRS = (("good one", "poor"), ("good two", "poor foreign"), ("bad", "a good one"), ("so so", "equal so"))


def judge(place: Path, url: str, *more: str, code: int = 0) -> dict[str, Any]:
    """Run the command in this process and return its result, or with ``code`` its last words under ``error``."""
    arguments = [f"run={place}/run", f"against={place}/other", "model=m", f"base_url={url}", f"cache_dir={place}/cache"]
    if code:
        with pytest.raises(SystemExit) as end:
            main([*arguments, *more])
        assert isinstance(end.value.code, str) and "\n" not in end.value.code  # a text is exit code 1
        assert KEY not in end.value.code
        return {"error": end.value.code}
    main([*arguments, *more])
    return json.loads((place / "run" / "judge-other.json").read_text())


def cached_lines(place: Path) -> list[str]:
    (path,) = place.glob("cache/judge/*.jsonl")
    return [line for line in path.read_text().split("\n") if line]


def test_a_fair_judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs(tmp_path, *PAIRS)
    with serving(fair) as server:
        result = judge(tmp_path, server.url)
    target = result["sides"]["target"]
    assert (target["n"], target["wins"], target["ties"], target["losses"]) == (4, 2, 1, 1)
    assert target["win_rate"] == 0.625
    low, high = target["interval"]
    assert 0 <= low < 0.625 < high <= 1
    assert (target["position_bias"], target["disagreement"], target["log_probs"]) == (0.5, 0, 0)
    assert target["same_language"] == {"run": 1.0, "against": 0.75}
    assert (target["unparsed"], target["left_out"], target["equal"]) == (0, 0, 0)
    assert (result["calls"], result["cached"]) == (16, 0)
    assert result["judge"] == {
        "model": "m", "prompts": prompts.version(), "temperature": 0, "max_tokens": 16, "log_probs": False,
        "openai": __import__("openai").__version__,
    }  # fmt: skip
    quality = [request for request in server.requests if not about_language(request)]
    assert sorted(map(shown, quality)) == sorted([list(pair) for pair in PAIRS] + [[b, a] for a, b in PAIRS])
    for request in server.requests:
        assert request["path"] == "/v1/chat/completions"
        assert request["temperature"] == 0 and request["model"] == "m"
        assert request.get("top_logprobs") == (None if about_language(request) else 5)
    lines = [json.loads(line) for line in (tmp_path / "run" / "judge-other.jsonl").read_text().splitlines()]
    assert [line["preference"] for line in lines] == [1, 1, 0, 0.5]
    assert lines[2]["run_first"] == {"prefers_first": 0, "log_probs": False}
    assert lines[1]["language_against"] is False
    out = capsys.readouterr().out
    assert "0.625" in out and "2 / 1 / 1" in out and "16 calls" in out


def test_the_key_is_sent_and_shown_nowhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runs(tmp_path, *PAIRS)

    def telling(server: Server, request: dict[str, Any], number: int) -> Any:
        return (
            error(500, f"no luck with {KEY}")
            if number < 3
            else f"yes {KEY}"
            if number < 5
            else fair(server, request, 0)
        )

    with serving(telling) as server:
        judge(tmp_path, server.url, "parallel=1")
        assert server.keys == {f"Bearer {KEY}"}
    for refusal in (401, 403, 404, 400, 402):
        with serving(lambda *_: error(refusal, f"Incorrect API key provided: {KEY}")) as server:  # noqa: B023
            judge(tmp_path, server.url.replace("//", f"//user:{KEY}@"), "model=n", code=1)
    assert KEY not in "".join(capfd.readouterr())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 4 and not any(KEY.encode() in path.read_bytes() for path in files)


def test_a_judge_that_always_says_a(tmp_path: Path) -> None:
    runs(tmp_path, *PAIRS)
    with serving(always_a) as server:
        target = judge(tmp_path, server.url)["sides"]["target"]
    assert (target["win_rate"], target["ties"], target["interval"]) == (0.5, 4, [0.5, 0.5])
    assert (target["position_bias"], target["disagreement"]) == (1.0, 1.0)


def test_log_probabilities_soften_the_verdict(tmp_path: Path) -> None:
    runs(tmp_path, ("good", "poor"))

    def soft(server: Server, request: dict[str, Any], number: int) -> Any:
        if about_language(request):
            return "yes"
        assert request["logprobs"] is True
        return ("A", {"A": 0.6, " A": 0.2, "B": 0.1, "the": 0.05}) if number < 99 and shown(request)[0] == "good" else (
            "B", {"B": 0.5, "tie": 0.2, "A": 0.1})  # fmt: skip

    with serving(soft) as server:
        result = judge(tmp_path, server.url)
    target = result["sides"]["target"]
    assert result["judge"]["log_probs"] is True and target["log_probs"] == 1
    assert target["win_rate"] == pytest.approx((0.8 / 0.9 + 1 - 0.2 / 0.8) / 2)
    assert target["wins"] == 1


def test_reading_replies() -> None:
    for text, meant in {
        "A": "A", " b.": "B", "**Tie**": "tie", "<think>B or A?</think>\nA": "A", "A is better": None, "": None,
        "C": None, "A B": None,
    }.items():  # fmt: skip
        assert prompts.word("quality", text) == meant, text
    assert prompts.word("language", "YES!") == "yes" and prompts.word("language", "A") is None
    thinks = Reply("<think>…</think> A", {"<think>": math.log(0.98), "B": math.log(0.01)})
    assert prompts.preference(thinks) == (1.0, False)
    assert prompts.preference(Reply("prose", {"A": -0.1})) is None
    assert prompts.preference(Reply("A", {})) == (1.0, False)
    held = prompts.quality("{first} {x}", "{second}", "b")
    assert "{first} {x}" in held.text and "{second}" in held.text and held.text in held.reminded


@pytest.mark.parametrize("message", ["logprobs is not supported by this server", "bad request"])
def test_a_server_that_refuses_logprobs(message: str, tmp_path: Path) -> None:
    runs(tmp_path, *PAIRS)

    def refusing(server: Server, request: dict[str, Any], number: int) -> Any:
        return error(400, message) if "logprobs" in request else fair(server, request, number)

    with serving(refusing) as server:
        result = judge(tmp_path, server.url, "parallel=1")
    assert result["sides"]["target"]["win_rate"] == 0.625
    assert sum("logprobs" in request for request in server.requests) == 1  # remembered
    assert result["calls"] == len(server.requests) == 17


def test_a_server_that_wants_max_completion_tokens(tmp_path: Path) -> None:
    runs(tmp_path, *PAIRS)

    def modern(server: Server, request: dict[str, Any], number: int) -> Any:
        if "max_tokens" in request:
            return error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        return fair(server, request, number)

    with serving(modern) as server:
        result = judge(tmp_path, server.url, "parallel=1", "max_tokens=99")
    assert result["calls"] == 17
    assert all(request.get("max_completion_tokens") == 99 for request in server.requests[1:])


def test_one_refused_prompt_is_left_out(tmp_path: Path) -> None:
    runs(tmp_path, *PAIRS, *[(f"good {k}", f"poor {k}") for k in range(8)], ("so long", "poor 9"))

    def short(server: Server, request: dict[str, Any], number: int) -> Any:
        return error(400, "too long") if "so long" in str(request["messages"]) else fair(server, request, number)

    with serving(short) as server:
        result = judge(tmp_path, server.url, "parallel=1")
    target = result["sides"]["target"]
    assert (target["n"], target["left_out"], target["unparsed"], result["refused"]) == (12, 1, 3, 3)


def test_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate limit, a fault, garbage, a dropped connection and a slow reply: each once, then answers."""
    monkeypatch.setattr(client, "TRIES", 8)
    runs(tmp_path, ("good", "poor"))
    times: list[float] = []

    def shaky(server: Server, request: dict[str, Any], number: int) -> Any:
        times.append(time.monotonic())
        if number == 1:
            return error(429, "slow down", Retry_After="1")
        if number == 2:
            return error(503, "busy")
        if number == 3:
            return 200, {}, b"{ garbage"
        if number == 4:
            return None
        if number == 5:
            time.sleep(1.2)
        if number == 6:
            return 200, {"Content-Type": "text/html"}, b"<html>welcome</html>"
        if number == 7:
            return 200, {}, b'{"choices": []}'
        return fair(server, request, number)

    with serving(shaky) as server:
        result = judge(tmp_path, server.url, "parallel=1", "timeout=0.6")
    assert result["sides"]["target"]["win_rate"] == 1
    assert result["calls"] == len(server.requests) == 11
    assert 1 <= times[1] - times[0] < 2, "Retry-After is honoured"
    assert all(b - a < 1.5 for a, b in pairwise(times))


def test_retry_after_takes_seconds_and_dates() -> None:
    assert client._retry_after({"retry-after": "7"}) == 7
    future = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    wait = client._retry_after({"retry-after": future})
    assert wait is not None and 55 < wait < 61
    assert [client._retry_after(h) for h in ({}, {"retry-after": "soon"}, {"retry-after": "nan"})] == [None] * 3


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda *_: (200, {}, b"nonsense"), "no chat completions in JSON"),
        (lambda *_: None, "cannot be reached or drops the connection"),
        (lambda *_: error(503, "busy today"), r"HTTP 503 \(busy today\)"),
        (lambda *_: error(429, "slow", Retry_After="86400"), "asks to wait 86400 s"),
        (lambda *_: error(401, "wrong key"), r"refuses the key \(HTTP 401\); set OPENAI_API_KEY"),
        (lambda *_: error(404, "what?"), "has no model 'm' or is not the address"),
        (lambda *_: error(400, "never"), r"refuses: HTTP 400 \(never\)"),
    ],
)
def test_a_server_that_never_answers(answer: Answer, said: str, tmp_path: Path) -> None:
    runs(tmp_path, *PAIRS)
    with serving(answer) as server:
        message = judge(tmp_path, server.url, code=1)["error"]
    assert re.search(said, message) and message.startswith("error: "), message
    assert not list((tmp_path / "run").glob("judge-*"))


def test_spent_credit_is_not_tried_again(tmp_path: Path) -> None:
    runs(tmp_path, *PAIRS)
    body = json.dumps({"error": {"message": "no credit", "code": "insufficient_quota"}}).encode()
    with serving(lambda *_: (429, {}, body)) as server:
        assert "no credit" in judge(tmp_path, server.url, "parallel=1", code=1)["error"]
    assert len(server.requests) == 1


def test_a_slow_server_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TRIES", 2)
    runs(tmp_path, *PAIRS)
    with serving(lambda *_: time.sleep(1)) as server:
        assert "no reply within 0.2 s" in judge(tmp_path, server.url, "timeout=0.2", code=1)["error"]


def test_nobody_there(tmp_path: Path) -> None:
    runs(tmp_path, *PAIRS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    assert "cannot be reached" in judge(tmp_path, url, code=1)["error"]


def test_out_of_format_is_asked_once_more(tmp_path: Path) -> None:
    runs(tmp_path, *PAIRS)

    def chatty(server: Server, request: dict[str, Any], number: int) -> Any:
        reminded = "read by a program" in request["messages"][0]["content"]
        return fair(server, request, number) if reminded else "I think that the answers differ."

    with serving(chatty) as server:
        result = judge(tmp_path, server.url)
        again = judge(tmp_path, server.url)
    assert result["sides"]["target"]["win_rate"] == 0.625
    assert (result["calls"], again["calls"], result["sides"]["target"]["unparsed"]) == (32, 0, 0)


def test_a_few_replies_out_of_format_are_left_out(tmp_path: Path) -> None:
    runs(tmp_path, *PAIRS, *[(f"good {k}", f"poor {k}") for k in range(3)])

    def mostly(server: Server, request: dict[str, Any], number: int) -> Any:
        odd = not about_language(request) and shown(request) == ["good 0", "poor 0"]
        return "Hmm." if odd else fair(server, request, number)

    with serving(mostly) as server:
        result = judge(tmp_path, server.url)
    target = result["sides"]["target"]
    assert (target["n"], target["left_out"], target["unparsed"]) == (6, 1, 1)
    assert (target["wins"], target["ties"], target["losses"]) == (4, 1, 1)


@pytest.mark.parametrize("kind", ["quality", "language", "both"])
def test_a_judge_that_contradicts_its_format(kind: str, tmp_path: Path) -> None:
    runs(tmp_path, *PAIRS)

    def odd(server: Server, request: dict[str, Any], number: int) -> Any:
        this = "language" if about_language(request) else "quality"
        return "As an AI model" if kind in (this, "both") else fair(server, request, number)

    with serving(odd) as server:
        message = judge(tmp_path, server.url, code=1)["error"]
        assert "the judge 'm' contradicts its format: 8 of 8 replies" in message
        asked = len(server.requests)
        judge(tmp_path, server.url, code=1)
        assert len(server.requests) == asked  # the judgments are kept
    assert len(cached_lines(tmp_path)) == asked
    assert not list((tmp_path / "run").glob("judge-*"))


def test_a_judge_out_of_format_is_not_asked_to_the_end(tmp_path: Path) -> None:
    runs(tmp_path, *[(f"a {k}", f"b {k}") for k in range(60)])
    with serving(lambda *_: "well") as server:
        assert "50 of 50 replies" in judge(tmp_path, server.url, "parallel=2", code=1)["error"]
    assert len(server.requests) < 120 < 480


def test_the_budget_stops_and_the_next_command_goes_on(tmp_path: Path) -> None:
    runs(tmp_path, *PAIRS)
    with serving(fair) as server:
        message = judge(tmp_path, server.url, "budget=6", code=1)["error"]
        assert "the budget of 6 calls is spent and 3 of 4 pairs remain" in message or "4 of 4" in message
        assert len(server.requests) == 6 == len(cached_lines(tmp_path))
        assert not list((tmp_path / "run").glob("judge-*"))
        result = judge(tmp_path, server.url, "budget=10")
        assert len(server.requests) == 16 and (result["calls"], result["cached"]) == (10, 6)
        assert result["sides"]["target"]["win_rate"] == 0.625


def test_tries_again_are_part_of_the_budget(tmp_path: Path) -> None:
    runs(tmp_path, *PAIRS)
    with serving(lambda *_: error(503, "busy")) as server:
        assert "budget of 3 calls is spent" in judge(tmp_path, server.url, "budget=3", code=1)["error"]
    assert len(server.requests) == 3


def test_a_second_run_asks_nothing(tmp_path: Path) -> None:
    run, other = runs(tmp_path, *PAIRS)
    with serving(fair) as server:
        first = judge(tmp_path, server.url)
        lines = (run / "judge-other.jsonl").read_bytes()
        second = judge(tmp_path, server.url)
        assert len(server.requests) == 16 and (second["calls"], second["cached"]) == (0, 16)
        assert second["sides"] == first["sides"] and (run / "judge-other.jsonl").read_bytes() == lines
        swapped = [f"run={other}", f"against={run}", "model=m", f"base_url={server.url}", f"cache_dir={tmp_path}/cache"]
        main(swapped)  # the other way round is the same pairs in the same two orders
        assert len(server.requests) == 16
        mirrored = json.loads((other / "judge-run.json").read_text())["sides"]["target"]
        assert mirrored["win_rate"] == 1 - first["sides"]["target"]["win_rate"]
        judge(tmp_path, server.url, "model=another")
        assert len(server.requests) == 32  # another judge has judgments of its own


def test_broken_lines_of_the_cache_are_asked_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs(tmp_path, *PAIRS)
    with serving(fair) as server:
        first = judge(tmp_path, server.url)
        (path,) = tmp_path.glob("cache/judge/*.jsonl")
        lines = [line for line in path.read_text().split("\n") if line]
        bad = ["[]", '{"key": "k", "text": 1, "top": null}', "\x00\ufffd", lines[0][:-9]]
        path.write_text("\n".join([*lines[1:], *bad]))  # ends torn, without a line feed
        second = judge(tmp_path, server.url)
        assert (second["calls"], second["broken_cache_lines"]) == (1, 4)
        assert second["sides"] == first["sides"]
        assert "4 broken lines" in capsys.readouterr().err
        assert judge(tmp_path, server.url)["calls"] == 0


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_interrupted(sign: signal.Signals, tmp_path: Path) -> None:
    runs(tmp_path, *PAIRS)

    def slow(server: Server, request: dict[str, Any], number: int) -> Any:
        time.sleep(0.2)
        return fair(server, request, number)

    with serving(slow) as server:
        options = [f"run={tmp_path}/run", f"against={tmp_path}/other", "model=m", "parallel=2"]
        # A shell may start the tests with Ctrl-C ignored.
        start = (
            "import signal; signal.signal(2, signal.default_int_handler); from clo.commands.judge import main; main()"
        )
        command = [sys.executable, "-c", start, *options, f"base_url={server.url}", f"cache_dir={tmp_path}/cache"]
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        until(lambda: len(server.requests) >= 5)
        process.send_signal(sign)
        _, stderr = process.communicate(timeout=30)
        asked = len(server.requests)
        assert asked < 16
        if sign is signal.SIGINT:
            assert process.returncode == 1
            assert stderr.decode() == "stopped; the judgments so far are kept, the same command goes on\n"
            assert len(cached_lines(tmp_path)) == asked  # what was under way is kept, too
        else:
            assert process.returncode == -sign
            assert len(cached_lines(tmp_path)) >= asked - 2
        kept = len(cached_lines(tmp_path))
        assert judge(tmp_path, server.url)["calls"] == 16 - kept


def until(done: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_calls_are_parallel_up_to_a_limit(tmp_path: Path) -> None:
    runs(tmp_path, *PAIRS)

    def slow(server: Server, request: dict[str, Any], number: int) -> Any:
        time.sleep(0.1)
        return fair(server, request, number)

    with serving(slow) as server:
        judge(tmp_path, server.url, "parallel=3")
    assert server.most == 3


def test_empty_and_equal_answers_cost_no_comparison(tmp_path: Path) -> None:
    runs(tmp_path, ("", "poor"), ("x", " \n"), ("", ""), ("same", "same "), ("good", "poor"))
    with serving(fair) as server:
        result = judge(tmp_path, server.url)
    target = result["sides"]["target"]
    assert (target["wins"], target["ties"], target["losses"], target["equal"]) == (2, 2, 1, 1)
    assert target["empty"] == {"run": 2, "against": 2} and target["unparsed"] == 0
    # 2 orders of one pair; the language of x, same, good, poor to two prompts: one shared between equal answers
    assert result["calls"] == 2 + 6 - 1 + 0
    with serving(fair) as server:
        (tmp_path / "empty").mkdir()
        runs(tmp_path / "empty", ("", "poor"), ("", ""))
        sides = judge(tmp_path / "empty", server.url)["sides"]["target"]
    assert (sides["win_rate"], sides["position_bias"], sides["disagreement"], sides["log_probs"]) == (
        0.25,
        None,
        None,
        None,
    )


def test_sides(tmp_path: Path) -> None:
    both = [
        [
            sample("1", prompt="p", answer=x),
            sample("2", prompt="q", answer=x),
            sample("1", prompt="e", answer=x, side="en"),
        ]
        for x in ("good", "poor")
    ]
    write(tmp_path / "run", both[0])
    write(tmp_path / "other", both[1][1:])
    with serving(fair) as server:
        sides = judge(tmp_path, server.url)["sides"]
        assert {side: values["n"] for side, values in sides.items()} == {"target": 1, "en": 1}
        assert list(judge(tmp_path, server.url, "sides=en")["sides"]) == ["en"]
        assert "takes target or en, got 'fr'" in judge(tmp_path, server.url, "sides=en,fr", code=1)["error"]


def test_export_and_a_file_to_judge_against(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, other = runs(tmp_path, *PAIRS)
    main([f"run={other}", f"export={tmp_path}/sub/outputs.json"])
    assert "4 answers" in capsys.readouterr().out
    items = json.loads((tmp_path / "sub" / "outputs.json").read_text())
    assert items[0] == {"instruction": "prompt 0", "output": "poor", "generator": "other", "dataset": "clo"}
    with serving(fair) as server:
        from_folder = judge(tmp_path, server.url)
        judge(tmp_path, server.url, f"against={tmp_path}/sub/outputs.json")
    from_file = json.loads((run / "judge-outputs.json").read_text())
    assert from_file["sides"] == from_folder["sides"] and from_file["calls"] == 0
    for wrong, said in (
        ("side=en", "no answers on side 'en'"),
        ("side=x", "takes target or en"),
        ("model=m", "leave out model="),
        ("run=nowhere", "does not exist"),
    ):
        with pytest.raises(SystemExit, match=said):
            main([f"run={run}", f"export={tmp_path}/x.json", wrong])
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not readable as JSON"),
        ("{}", "item 1 lacks"),
        ('[{"instruction": "a", "output": null}]', "item 1 lacks"),
        ("[3]", "item 1 lacks"),
        ('[{"instruction": "a", "output": "b"}, {"instruction": "a ", "output": "c"}]', "item 2 has a second output"),
    ],
)
def test_wrong_files_to_judge_against(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "o.json").write_text(text)
    with pytest.raises(UserError, match=said):
        read_outputs(tmp_path / "o.json")


def test_runs_that_cannot_be_compared(tmp_path: Path) -> None:
    run, _ = runs(tmp_path, *PAIRS)
    write(tmp_path / "moved", [sample("r0", prompt="another")])
    write(tmp_path / "apart", [sample("x")])
    (tmp_path / "empty.json").write_text("[]")
    for name, said in (
        ("moved", "row 'r0' has another prompt"),
        ("apart", "share no prompt"),
        ("empty.json", "share no prompt"),
        ("nothing", "does not exist"),
    ):
        assert said in judge(tmp_path, "http://127.0.0.1:1/v1", f"against={tmp_path / name}", code=1)["error"]
    message = judge(tmp_path, "http://127.0.0.1:1/v1", "sides=target,en", code=1)["error"]
    assert "share no prompt on side 'en'" in message and str(run) in message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run=", "against=b"], "run=<folder> is missing"),
        (["run=a"], "against=<folder or JSON file> is missing"),
        (["run=a", "against=b"], "name is missing; give model=<name> or set CLO_JUDGE_MODEL"),
        (["run=a", "against=b", "model=m"], "address is missing; give base_url="),
        (["run=a", "against=b", "model=m", "base_url=localhost:8000"], "base_url is no http:// or https:// address"),
        (["run=a", "against=b", "model=m", "base_url=http://h:x/"], "base_url is no http"),
        (
            ["run=a", "against=b", "model=m", "base_url=https://judge.example/v1"],
            "the key is missing; set OPENAI_API_KEY",
        ),
        (["run=a", "against=b", "budget=0"], "budget=0 is not a whole number above 0"),
        (["run=a", "against=b", "side=en"], "side= goes with export="),
        (["run=a", "against=b", "api_key=sk-1"], "unknown argument 'api_key'; known are run=, "),
        (["run=a", "against=b", "model=m", "base_url=http://[::1]/v1", "timeout=never"], "timeout=never is not"),
        (["run=a", "against=b", "model=m", "base_url=http://[::1]/v1", "parallel=-1"], "parallel=-1 is not"),
    ],
)
def test_wrong_arguments(arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert str(end.value.code).startswith("error: ") and said in str(end.value.code)
    assert "\n" not in str(end.value.code) and "sk-1" not in str(end.value.code)


def test_the_environment_names_the_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(tmp_path, *PAIRS)
    monkeypatch.setenv("CLO_JUDGE_MODEL", "env-model")
    monkeypatch.delenv("OPENAI_API_KEY")
    with serving(fair) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        main([f"run={tmp_path}/run", f"against={tmp_path}/other", f"cache_dir={tmp_path}/cache"])
    assert server.keys == {"Bearer none"}  # a server on this machine needs no key
    assert {request["model"] for request in server.requests} == {"env-model"}


def test_openai_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(tmp_path, *PAIRS)
    monkeypatch.setitem(sys.modules, "openai", None)
    message = judge(tmp_path, "http://127.0.0.1:1/v1", code=1)["error"]
    assert message == "error: the judge needs the openai package; `pip install 'clo[judge]'`"


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    runs(tmp_path, *PAIRS)
    (tmp_path / "file").write_text("")
    with serving(fair) as server:
        message = judge(tmp_path, server.url, f"cache_dir={tmp_path}/file", code=1)["error"]
        assert "set cache_dir=" in message
        (tmp_path / "run" / "judge-other.json").mkdir()
        assert "cannot be written" in judge(tmp_path, server.url, code=1)["error"]


def test_slugs(tmp_path: Path) -> None:
    (tmp_path / "gpt 4.json").write_text("[]")
    assert slug(tmp_path / "gpt 4.json") == "gpt-4"
    assert slug(tmp_path / "sft-sw-400-s0-ab12") == "sft-sw-400-s0-ab12"
    assert slug(Path("/")) == "other"


def test_length_control() -> None:
    preferences = [1.0, 0.0, 0.7, 0.5, 1.0]
    assert length_controlled(preferences, [0] * 5) == pytest.approx(0.64)
    assert length_controlled(preferences, [10] * 5) == pytest.approx(0.64)  # no spread: nothing to control for
    assert length_controlled([1, 1], [5, -5]) == 1.0 and length_controlled([0.0], [9]) == 0.0
    # The longer answer wins four times in five, whoever wrote it: the plain 0.65 is length alone.
    outcomes, lengths = [1] * 120 + [0] * 30 + [1] * 10 + [0] * 40, [50] * 150 + [-50] * 50
    assert length_controlled(outcomes, lengths) == pytest.approx(0.5, abs=0.02)
    # Mostly the shorter answer, and winning where shorter, too: better than the plain 0.65.
    outcomes, lengths = [1] * 90 + [0] * 60 + [1] * 40 + [0] * 10, [-50] * 150 + [50] * 50
    rate = length_controlled(outcomes, lengths)
    assert rate == pytest.approx(0.71, abs=0.01)
    assert rate == pytest.approx(1 - length_controlled([1 - y for y in outcomes], [-d for d in lengths]))
    # Length separates wins from losses: the ridge keeps this finite.
    assert 0.6 < length_controlled([1, 1, 1, 0] * 50, [40, 50, 60, -50] * 50) < 0.7
    with pytest.raises(ValueError, match="shapes"):
        length_controlled([1], [1, 2])


def test_length_control_against_a_generic_optimizer() -> None:
    """The same likelihood minimised by torch's L-BFGS."""
    import numpy as np
    import torch

    rng = np.random.default_rng(0)
    d = rng.normal(20, 60, 300)
    y = (rng.random(300) < 1 / (1 + np.exp(-(0.4 + 1.3 * np.tanh(d / d.std()))))).astype(float)
    x, t = torch.tensor(np.tanh(d / d.std())), torch.tensor(y)
    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimizer.zero_grad()
        logits = w[0] + w[1] * x
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, t, reduction="sum") + w[1] ** 2 / 2
        loss.backward()
        return loss

    optimizer.step(closure)
    assert length_controlled(y, d) == pytest.approx(float(torch.sigmoid(w[0].detach())), abs=1e-6)


@pytest.mark.slow
def test_transformers_serve(tiny_folder: Path, tmp_path: Path) -> None:
    """A real server with a random model: it ends with a result, or in the sentence that it keeps to no format."""
    from transformers.utils.import_utils import is_serve_available

    if not is_serve_available():
        pytest.skip("transformers serve needs fastapi and uvicorn (pip install 'transformers[serving]')")
    runs(tmp_path, *PAIRS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).parent / "transformers"
    command = [str(program), "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until(lambda: process.poll() is None and healthy(port), 120)
            outcome = with_served_model(tmp_path, f"http://127.0.0.1:{port}/v1", str(tiny_folder))
        finally:
            process.terminate()
            process.wait(30)
    assert outcome == "finished" or "contradicts its format" in outcome, (tmp_path / "log").read_text()[-3000:]
    assert cached_lines(tmp_path)


def healthy(port: int) -> bool:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).status == 200
    except OSError:
        return False


def with_served_model(place: Path, url: str, model: str) -> str:
    try:
        judge(place, url, f"model={model}", "parallel=2", "max_tokens=4")
    except SystemExit as end:
        return str(end.code)
    return "finished"
