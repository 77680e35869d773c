"""``python -m clo.judge run=<folder> against=<folder> model=<judge>``: win rate by a judge, in both orders."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clo.errors import UserError
from clo.judge.endpoint import endpoint, whole_number

USAGE = """usage: python -m clo.judge run=<folder> against=<folder> model=<judge> [key=value ...]
       python -m clo.judge run=<folder> export=<file> [side=target]

  run=<folder>      the finished run whose answers are judged
  against=<folder>  another run of the same test rows, or a JSON file of AlpacaEval's shape (matched by instruction)
  model=<judge>     the judge's name at its server (or CLO_JUDGE_MODEL)
  base_url=<url>    an OpenAI-compatible server, such as http://localhost:8000/v1 (or OPENAI_BASE_URL)
  budget=<calls>    calls this command may make, tries again counted (default: any number)
  parallel=8        calls at a time
  timeout=120       seconds a call may take
  max_tokens=16     tokens of a reply; more for a judge that thinks first
  answers=<name>    judge what python -m clo.commands.answer wrote under this name, not the test answers
  sides=target,en   sides to judge (default: all that both have)
  cache_dir=.cache  every reply is kept in its judge/ folder; what is there is not asked again
  export=<file>     instead: write the run's answers in AlpacaEval's shape

  The key is read from OPENAI_API_KEY alone. Safe to stop: replies are kept as they come, and the same command goes on.
  Written beside the run's other results: judge-<against>.json and judge-<against>.jsonl."""

KEYS = (
    "run", "against", "model", "base_url", "budget", "parallel", "timeout", "max_tokens", "sides", "cache_dir",
    "export", "side", "answers",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or {"-h", "--help"} & set(arguments):
        print(USAGE)
        sys.exit(0 if arguments else 1)
    try:
        options = _options(arguments)
        if "export" in options:
            _export(options)
        else:
            _judge(options)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the judgments so far are kept, the same command goes on")


def _options(arguments: Sequence[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or key not in KEYS:
            raise UserError(f"unknown argument {key!r}; known are {', '.join(f'{known}=' for known in KEYS)}")
        options[key] = value
    if not options.get("run"):
        raise UserError("run=<folder> is missing; give a folder under outputs/")
    if not options.get("against") and "export" not in options:
        raise UserError("against=<folder or JSON file> is missing; give what the run is compared with")
    return options


def _side(word: str, key: str) -> Any:
    from clo.judge.pairs import SIDES

    if word not in SIDES:
        raise UserError(f"{key}= takes {' or '.join(SIDES)}, got {word!r}")
    return word


def _export(options: dict[str, str]) -> None:
    from clo.judge.pairs import export

    unused = sorted(set(options) - {"run", "export", "side", "answers"})
    if unused:
        raise UserError(
            f"export= goes with run=, side= and answers= alone; leave out {', '.join(f'{key}=' for key in unused)}"
        )
    if not options["export"]:
        raise UserError("export= names no file; give one, such as export=outputs.json")
    count = export(
        Path(options["run"]),
        Path(options["export"]),
        _side(options.get("side", "target"), "side"),
        options.get("answers"),
    )
    print(f"{count} answers in {options['export']}")


def _judge(options: dict[str, str]) -> None:
    from clo.judge.compare import judge_runs, table
    from clo.judge.pairs import Comparison

    if "side" in options:
        raise UserError("side= goes with export=; a comparison takes sides=")
    sides = [_side(word.strip(), "sides") for word in options["sides"].split(",")] if "sides" in options else None
    budget = whole_number(options, "budget", 1) if "budget" in options else None
    path, result = judge_runs(
        Comparison(Path(options["run"]), Path(options["against"]), sides, options.get("answers")),
        endpoint(options),
        budget=budget,
        parallel=whole_number(options, "parallel", 8),
        cache_dir=Path(options.get("cache_dir") or ".cache"),
    )
    from rich.console import Console

    Console().print(table(result))
    print(f"{result['calls']} calls, {result['cached']} questions answered before; written to {path}")


if __name__ == "__main__":
    main()
