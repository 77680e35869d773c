"""Judging through real HTTP servers on the loopback: verdicts, formats, a key that shows nowhere."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from judged_runs import PAIRS, about_language, always_a, cached_lines, fair, judge, runs, shown
from servers import KEY, Server, error, serving, until

from clo.judge import prompts

pytestmark = pytest.mark.usefixtures("client")


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


def test_one_refused_prompt_is_left_out(tmp_path: Path) -> None:
    runs(tmp_path, *PAIRS, *[(f"good {k}", f"poor {k}") for k in range(8)], ("so long", "poor 9"))

    def short(server: Server, request: dict[str, Any], number: int) -> Any:
        return error(400, "too long") if "so long" in str(request["messages"]) else fair(server, request, number)

    with serving(short) as server:
        result = judge(tmp_path, server.url, "parallel=1")
    target = result["sides"]["target"]
    assert (target["n"], target["left_out"], target["unparsed"], result["refused"]) == (12, 1, 3, 3)


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
        assert "contradicts its format: 8 of 8 replies" in message
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
