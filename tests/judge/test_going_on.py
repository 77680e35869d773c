"""Judging that stops and goes on: the budget, a second run, a broken cache, Ctrl-C and a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from called import program
from conftest import ROOT
from judged_runs import PAIRS, cached_lines, fair, judge, runs
from servers import Server, serving, until

pytestmark = pytest.mark.usefixtures("client")
main = program("judge")


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
        start = "import signal; signal.signal(2, signal.default_int_handler); from clo.commands.cli import main; main()"
        command = [
            sys.executable,
            "-c",
            start,
            "judge",
            *options,
            f"base_url={server.url}",
            f"cache_dir={tmp_path}/cache",
        ]
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        until(lambda: len(server.requests) >= 5)
        process.send_signal(sign)
        _, stderr = process.communicate(timeout=30)
        asked = len(server.requests)
        assert asked < 16
        if sign is signal.SIGINT:
            assert process.returncode == 130
            assert stderr.decode() == "stopped; the judgments so far are kept, the same command goes on\n"
            assert len(cached_lines(tmp_path)) == asked  # what was under way is kept, too
        else:
            assert process.returncode == -sign
            assert len(cached_lines(tmp_path)) >= asked - 2
        kept = len(cached_lines(tmp_path))
        assert judge(tmp_path, server.url)["calls"] == 16 - kept
