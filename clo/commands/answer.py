"""``clo answer``: open prompts answered by a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clo.commands.command import Command
from clo.commands.options import option
from clo.errors import UserError


@dataclass(frozen=True)
class Options:
    """Keys."""

    run: Path = option("a finished run; its model answers", shape="<folder>")
    prompts: Path = option(
        "JSONL, JSON, CSV, TSV or Parquet with prompt (or instruction), and where they exist id, lang, dataset",
        shape="<file>",
    )
    lang: str | None = option("language of prompts that name none: the run's target or source", None, "<code>")
    name: str | None = option("of the answers; `clo judge answers=<name>` compares them (default: the file's)", None)
    start: bool = option("the run's start model answers instead", False)
    limit: int | None = option("the first prompts only", None)
    max_new_tokens: int = option("longest answer, tokens", 512)
    max_tokens: int | None = option("tokens of a generation batch (default: the run's own)", None)
    base_url: str | None = option("a server that speaks OpenAI's protocol generates instead", None, "<url>")
    model: str | None = option("the name that the server gives to the run's model", None, "<name>")


def answer(asked: Options) -> None:
    """Answer the prompts, and say how many there are in which language.

    Raises:
        UserError: the run, the prompts or the server cannot be used.
    """
    from clo.study.answers import Asked, show
    from clo.study.answers import answer as answer_prompts

    if (asked.base_url is None) != (asked.model is None):
        raise UserError("a server needs both: base_url= and model=, the name it serves the run's model under")
    if asked.base_url is not None and asked.max_tokens is not None:
        raise UserError("max_tokens= has no effect with base_url=: the server makes its batches; leave max_tokens out")
    server = None if asked.base_url is None or asked.model is None else (asked.base_url, asked.model)
    show(
        answer_prompts(
            asked.run,
            Asked(
                prompts=asked.prompts,
                lang=asked.lang,
                name=asked.name,
                start=asked.start,
                limit=asked.limit,
                max_new_tokens=asked.max_new_tokens,
                max_tokens=asked.max_tokens,
                server=server,
            ),
        )
    )


COMMAND = Command(
    name="answer",
    summary="a run answers open prompts, for a judge to compare",
    reads="<run>/model, and the file of prompts",
    writes="<run>/answers-<name>.jsonl, some prompts at a time",
    example="answer run=outputs/runs/<run> prompts=questions.jsonl lang=sw",
    run=answer,
    options=Options,
    stopped="the answers so far are kept, the same command goes on",
)
