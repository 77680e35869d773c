"""``clo advise``: which mixture to train, by the finished runs of a study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clo.commands.command import Command
from clo.commands.options import option


@dataclass(frozen=True)
class Options:
    """Keys."""

    study: str = option("folder under output_dir with runs of mixtures, such as guide", shape="<name>")
    task: str = option("task that the model is for", shape="<task>")
    target: str = option("language that it is asked in, trained or not", shape="<code>")
    budget: int = option("rows that may be trained, of all tasks and languages together")
    model: str | None = option("one model of the study (default: an answer for each)", None, "<model>")
    output_dir: Path = option("where the studies are", Path("outputs"), "<folder>")


def advise(asked: Options) -> None:
    """Print an answer for each model; that the runs cannot tell is an answer.

    Raises:
        UserError: no such study, no run of a mixture in it, or a task, language or model that it does not have.
    """
    from clo.report.guide.advice import Wish, advice_lines
    from clo.report.guide.advice import advise as advise_on

    wish = Wish(asked.task, asked.target, asked.budget, asked.model)
    for one in advise_on(asked.study, asked.output_dir, wish):
        print("\n".join(advice_lines(one, wish)))


COMMAND = Command(
    name="advise",
    summary="which mixture of languages and tasks to train within a budget, from finished runs",
    reads="outputs/<study>/*/: results.json and tasks.csv of every finished run of a mixture",
    writes="nothing; prints the mixture of the best expected score, its interval, and whether the runs are sure of it",
    example="advise study=guide task=maths target=sw budget=3000",
    run=advise,
    options=Options,
)
