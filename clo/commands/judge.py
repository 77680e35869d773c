"""``clo judge``: win rate of one run against another, as a language model on a server sees it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clo.commands.command import Command
from clo.commands.options import option
from clo.errors import UserError

Side = Literal["target", "en"]


@dataclass(frozen=True)
class Options:
    """Keys."""

    run: Path = option("the finished run whose answers are judged", shape="<folder>")
    against: Path | None = option(
        "another run of the same test rows, or a JSON file of AlpacaEval's shape (matched by instruction)",
        None,
        "<folder or file>",
    )
    model: str | None = option("the judge's name at its server (or CLO_JUDGE_MODEL)", None, "<judge>")
    base_url: str | None = option(
        "an OpenAI-compatible server, such as http://localhost:8000/v1 (or OPENAI_BASE_URL)", None, "<url>"
    )
    budget: int | None = option("calls this command may make, tries again counted (default: any number)", None)
    parallel: int = option("calls at a time", 8)
    timeout: float = option("seconds a call may take", 120.0)
    max_tokens: int = option("tokens of a reply; more for a judge that thinks first", 16)
    answers: str | None = option("judge what `clo answer` wrote under this name, not the test answers", None, "<name>")
    sides: tuple[Side, ...] | None = option("sides to judge (default: all that both have)", None, "target,en")
    cache_dir: Path = option("replies are kept in its judge/ folder; what is there is not asked again", Path(".cache"))
    export: Path | None = option("instead: write the run's answers in AlpacaEval's shape", None, "<file>")
    side: Side | None = option("with export=: the side that is written (default: target)", None, "target|en")


def judge(asked: Options) -> None:
    """Judge, or export answers for another judge.

    Raises:
        UserError: the runs or the server cannot be used, or keys that do not go together.
    """
    if asked.export is not None:
        _export(asked, asked.export)
        return
    if asked.side is not None:
        raise UserError("side= goes with export=; a comparison takes sides=")
    if asked.against is None:
        raise UserError("against=<folder or JSON file> is missing; give what the run is compared with")
    from rich.console import Console

    from clo.judge.compare import judge_runs, table
    from clo.judge.endpoint import endpoint
    from clo.judge.pairs import Comparison

    comparison = Comparison(asked.run, asked.against, asked.sides, asked.answers)
    judge_model = endpoint(asked.model, asked.base_url, asked.timeout, asked.max_tokens)
    path, result = judge_runs(
        comparison, judge_model, budget=asked.budget, parallel=asked.parallel, cache_dir=asked.cache_dir
    )
    Console().print(table(result))
    print(f"{result['calls']} calls, {result['cached']} questions answered before; written to {path}")


def _export(asked: Options, to: Path) -> None:
    from clo.judge.pairs import export

    allowed = {"run", "export", "side", "answers"}
    plain = Options(run=asked.run)
    unused = [k for k, v in vars(asked).items() if k not in allowed and v != getattr(plain, k)]
    if unused:
        keys = ", ".join(f"{key}=" for key in unused)
        raise UserError(f"export= goes with run=, side= and answers= alone; leave out {keys}")
    print(f"{export(asked.run, to, asked.side or 'target', asked.answers)} answers in {to}")


COMMAND = Command(
    name="judge",
    summary="win rate of one run against another by a judge on any OpenAI-compatible server, in both orders",
    reads="the answers of both runs; the key from OPENAI_API_KEY alone",
    writes="<run>/judge-<against>.json and .jsonl, and the part `judged` of its results.json",
    example="judge run=outputs/runs/<run> against=outputs/runs/<other> model=<judge> base_url=http://localhost:8000/v1",
    run=judge,
    options=Options,
    stopped="the judgments so far are kept, the same command goes on",
)
