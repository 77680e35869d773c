"""``clo evaluate``: a finished run again, or two runs against each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clo.commands.command import Command
from clo.commands.options import dotted, option
from clo.errors import UserError


@dataclass(frozen=True)
class Options:
    """Keys."""

    run: Path = option("a finished run: answers are generated and scored again from its model/", shape="<folder>")
    against: Path | None = option(
        "instead: win rate of run against another run of the same test rows, with ties and a 95 % interval",
        None,
        "<folder>",
    )
    max_tokens: int | None = option("tokens of a generation batch (default: the run's own)", None)
    evaluation: tuple[str, ...] = dotted(
        "evaluation.",
        "other values than the run's, such as evaluation.benchmarks.names=[belebele,mmmlu] "
        "evaluation.benchmarks.data=<folder>",
    )


def evaluate(asked: Options) -> None:
    """Evaluate again, or compare.

    Raises:
        UserError: no finished run, or a value that cannot be.
    """
    from clo.study.again import evaluate_again
    from clo.study.table import print_table, print_win_rates

    if asked.against is not None:
        if asked.evaluation or asked.max_tokens:
            raise UserError("against= compares answers that are there; leave out max_tokens= and evaluation.<key>=")
        print_win_rates(asked.run, asked.against)
        return
    changes = [*asked.evaluation]
    changes += [f"evaluation.max_tokens={asked.max_tokens}"] if asked.max_tokens else []
    evaluate_again(asked.run, changes)
    print_table([asked.run])


COMMAND = Command(
    name="evaluate",
    summary="answers, scores and benchmarks of a finished run made again; or win rates of two runs",
    reads="<run>/model, config.yaml, and the test rows; with against= the samples.jsonl of both",
    writes="<run>/samples.jsonl, results.json, benchmarks/; with against= a table on the terminal alone",
    example="evaluate run=outputs/runs/<run> evaluation.benchmarks.names=[belebele]\n"
    "evaluate run=outputs/runs/<run> against=outputs/runs/<other>",
    run=evaluate,
    options=Options,
    stopped="the run is as it was, the same command goes on",
)
