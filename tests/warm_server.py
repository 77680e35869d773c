"""The process from which `warm_runs` forks its runs: torch is imported, and what never changes is read."""

from __future__ import annotations

import gc
import glob
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WRITE = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND
LIMIT = 600
"""Seconds after which a run is taken to hang."""


def _serve() -> None:
    for name in (
        "pytorch_lightning",
        "transformers",
        "clo.training.stages",
        "clo.study.scores",
        "clo.study.outcome",
        "clo.evaluation.evaluate",
    ):
        importlib.import_module(name)
    from transformers import AutoModelForCausalLM, LlamaForCausalLM  # noqa: F401

    _fill_caches()
    gc.collect()
    gc.freeze()  # what is here is neither looked through nor copied in a fork
    children: list[int] = []
    for line in sys.stdin:
        job = json.loads(line)
        if job.get("wait"):
            print(_end_of(children), flush=True)
            continue
        children = []
        for environment in job["nodes"]:
            children.append(os.fork())
            if children[-1] == 0:
                os.environ.update(environment)
                _child(job)
        print(children[0], flush=True)


def _end_of(children: list[int]) -> int:
    """The exit code of the first that failed, or 0; those that come after it are killed."""
    code = 0
    for child in children:
        if code:
            os.kill(child, signal.SIGKILL)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        code = code or ended
    return code


def _fill_caches() -> None:
    """What every run makes of files that never change: names of CLDR, tables of languages, grammars of Hydra."""
    from composed import run_of

    from clo.data.cldr import SPLITS, cldr_rows
    from clo.evaluation.fidelity import LanguageIdentifier

    run_of("lang=ko")
    LanguageIdentifier("sw")
    for split in SPLITS:
        for lang in ("sw", "ko"):
            cldr_rows(split, ["en", lang])


def _child(job: dict[str, Any]) -> None:
    signal.alarm(LIMIT)
    os.chdir(job["cwd"])
    for number, name, flags in ((0, os.devnull, os.O_RDONLY), (1, "stdout", WRITE)):
        os.dup2(os.open(name, flags), number)
    os.dup2(os.open("stderr", WRITE), 2)
    sys.argv = ["train.py", *job["arguments"]]

    def work() -> None:
        if job["missing"]:
            sys.modules[job["missing"]] = None  # type: ignore[assignment]
        if "-m" in job["arguments"]:
            importlib.import_module("clo.study.cell").CONTEXT = "fork"  # type: ignore[attr-defined]  # of this process
        for kill in [job["kill"]] if isinstance(job["kill"], dict) else job["kill"] or []:
            _arm(**kill)
        if job["before"]:
            module, _, name = job["before"].partition(":")
            getattr(importlib.import_module(module), name)()
        if job["command"] == "train_tiny":
            from train_tiny import main

            return main(*job["arguments"])
        from clo.commands.cli import command_of, run

        run(command_of(job["command"]), job["arguments"])

    _exit_after(work)


def _exit_after(work: Callable[[], None]) -> None:
    """End this process as a program whose main function is ``work`` would."""
    code = 1
    try:
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _arm(at: str, call: int, tear: list[str] | None = None, by: str = "SIGKILL", whom: str = "") -> None:
    """Replace a function by one that ends the process (or a cell's parent) at its ``call``-th call."""
    module, _, path = at.partition(":")
    owner = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original, calls, grid = getattr(owner, name), [0], os.getpid()

    def deadly(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == call and whom != "parent":
            if tear is not None:
                (path,) = glob.glob(tear[0], recursive=True)
                with open(path, "a", encoding="utf-8") as file:
                    file.write(tear[1])
            os.kill(os.getpid(), signal.Signals[by])
        elif calls[0] == call and os.getppid() == grid:
            os.kill(grid, signal.Signals[by])
        return original(*args, **kwargs)

    setattr(owner, name, deadly)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may start the tests with Ctrl-C ignored
    _serve()
