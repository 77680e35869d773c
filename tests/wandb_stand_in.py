"""A W&B server for ``wandb sweep`` and ``wandb agent``, on this machine: it keeps sweeps and hands out configurations.

Runs themselves go on offline (WANDB_MODE=offline): what they log is in their folders. An agent is told to end when
there is nothing left to hand out.
"""

from __future__ import annotations

import itertools
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import yaml

VIEWER = {"id": "v", "entity": "me", "username": "me", "email": "me@here", "flags": "{}", "teams": {"edges": []}}
NOW = "2026-01-01T00:00:00"


class StandIn:
    """Grid sweeps alone; configurations in the order of the sweep's file."""

    def __init__(self) -> None:
        self.config = ""
        self.waiting: list[dict[str, Any]] = []
        self.given: dict[str, list[dict[str, Any]]] = {}
        """Agent -> configurations that it was given."""
        self.lock = Lock()

    def __enter__(self) -> StandIn:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                data = stand_in.answer(json.loads(body)) if self.path == "/graphql" else {}
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps({"data": data}).encode())

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Data of one GraphQL request."""
        query, said = asked["query"], asked.get("variables") or {}
        with self.lock:
            if "upsertSweep(" in query:
                return {"upsertSweep": {"sweep": self._made(said), "configValidationWarnings": []}}
            if "createAgent(" in query:
                name = f"agent{len(self.given)}"
                self.given[name] = []
                return {"createAgent": {"agent": {"id": name}}}
            if "agentHeartbeat(" in query:
                commands = [] if json.loads(said["runState"]) else [self._next(said["id"])]
                return {"agentHeartbeat": {"agent": {"id": said["id"]}, "commands": json.dumps(commands)}}
            if "sweep(sweepName" in query:
                return {"project": {"sweep": self._sweep()}}
        return {"viewer": VIEWER}

    def _made(self, said: dict[str, Any]) -> dict[str, Any]:
        self.config = said["config"]
        axes = {key: one["values"] for key, one in yaml.safe_load(self.config)["parameters"].items()}
        self.waiting = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
        return {"name": "abcd1234", "project": {"name": "clo", "entity": {"name": "me"}}}

    def _next(self, agent: str) -> dict[str, Any]:
        if not self.waiting:
            return {"type": "exit"}
        given = self.waiting.pop(0)
        self.given[agent].append(given)
        number = sum(map(len, self.given.values()))
        args = {key: {"value": value} for key, value in given.items()}
        return {
            "type": "run",
            "run_id": f"run{number}",
            "program": yaml.safe_load(self.config)["program"],
            "args": args,
        }

    def _sweep(self) -> dict[str, Any]:
        nothing = dict.fromkeys(("updatedAt", "bestLoss", "controller", "scheduler"))
        facts = {"id": "s", "name": "abcd1234", "method": "grid", "state": "RUNNING", "description": "", **nothing}
        times = {"createdAt": NOW, "heartbeatAt": NOW, "earlyStopJobRunning": False}
        return {**facts, **times, "config": self.config, "runs": {"edges": []}}
